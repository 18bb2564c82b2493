"""Search for policies: trees that are changed at random, checked, measured and selected."""
