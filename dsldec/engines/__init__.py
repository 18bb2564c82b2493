"""Where other people's engines host a policy, one file an engine. Not here: the loop of our own (`runtime`)."""
