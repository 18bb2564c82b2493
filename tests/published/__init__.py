"""Published decoding rules, each as a policy and as a naive loop."""
