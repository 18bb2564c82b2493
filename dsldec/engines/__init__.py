"""How do other engines host a policy? One file an engine. Not here: the decode loop of dsldec (`runtime`)."""
