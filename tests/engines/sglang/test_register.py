"""The plug-in where SGLang is not installed: it is not needed to import the package, and one line explains."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import logging, sys
logging.basicConfig()
sys.modules["sglang"] = None
import dsldec.engines.sglang as plugin
plugin.register()
print(sorted(name for name in sys.modules if name.startswith("sglang") and sys.modules[name]), "torch" in sys.modules)
"""


def test_without_sglang() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ended.stdout == "[] False\n"
    assert ended.stderr.count("\n") == 1
    assert "the algorithm DslDec is not registered" in ended.stderr
    assert "install `sglang>=0.5.23,<0.6`" in ended.stderr
