"""Small networks that a policy reads with `learned`: their layers, their weights, and their files."""
