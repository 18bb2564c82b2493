"""Are the grammar, the policies and the embedded model where `resources` says, in a checkout and from the
wheel?
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dsldec import resources

CHECKOUT = Path(__file__).parent.parent


def test_the_grammar_is_found():
    assert resources.grammar_file() == CHECKOUT / "grammar" / "policy.lark"
    assert resources.grammar_file().is_file()


def test_shipped_policies_are_sorted_names_of_files():
    names = resources.shipped_policies()
    assert "threshold" in names
    assert names == sorted(names)
    assert all(resources.policy_file(name).is_file() for name in names)


@pytest.mark.parametrize("name", ["treshold", "../policies/threshold", "threshold.policy", ""])
def test_other_names_are_not_shipped(name):
    with pytest.raises(LookupError, match="shipped"):
        resources.policy_file(name)


def test_the_embedded_model_is_an_ordinary_model_folder():
    found = {file.name for file in resources.embedded_model_folder().iterdir()}
    assert found >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    }


def output_of(*arguments: str, cwd: Path) -> str:
    ran = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_wheel_carries_all_of_it(tmp_path):
    output_of("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path), cwd=CHECKOUT)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # Not the extension for VS Code, which is a folder of the checkout.
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"dsldec"}
    assert (site / "dsldec" / "editors" / "pygments_lexer.py").is_file()
    assert not (site / "dsldec" / "editors" / "vscode").exists()

    bundled = {path.name for path in (site / "dsldec" / "tools" / "playing" / "assets").iterdir()}
    assert {"play.html", "play.js", "editor.js", "editor.licenses.txt"} <= bundled

    ask = (
        "from dsldec import resources as r; names = r.shipped_policies()\n"
        "print(r.grammar_file(), r.tables_file(), r.embedded_model_folder(), *map(r.policy_file, names), *map(r.cases_file, names))"
    )
    found = [Path(path) for path in output_of("-c", ask, cwd=site).split()]
    assert len(found) == 3 + 2 * len(resources.shipped_policies())
    assert all(path.is_relative_to(site / "dsldec") and path.exists() for path in found)
