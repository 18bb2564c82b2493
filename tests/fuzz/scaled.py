SCALED = {"x": (lambda n: "policy p():\n  window all\n" + "  x = 1\n" * n, 2000)}
