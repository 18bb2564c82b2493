"""What a server's configuration and the parameters of a request may be, and what is refused in which words."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import dsldec
from dsldec.engines.sglang.served_policy import EXAMPLES, ServedPolicy, not_started

BARE = "policy bare(block: int = 8 in 1..64):\n  window blocks(block)\n  commit top(masked, 1, by=conf)\n"


def why_refused(config: Any, block_length: int = 8) -> str:
    with pytest.raises((dsldec.UsageError, dsldec.PolicyError)) as refused:
        ServedPolicy.of(config, block_length)
    return str(refused.value)


def test_a_policy_with_everything() -> None:
    config = {
        "policy": "threshold",
        "parameters": {"confidence": 0.8},
        "block_size": 4,
        "seed": 7,
        "backend": "eager",
    }
    served = ServedPolicy.of(config, 4)
    assert (served.policy.name, served.block_length, served.seed, served.backend) == (
        "threshold",
        4,
        7,
        "eager",
    )
    assert served.policy.parameters == {"confidence": 0.8, "block": 4}


def test_windows_are_the_blocks_of_the_engine_unless_a_parameter_says_so() -> None:
    assert ServedPolicy.of({"policy": "dico"}, 32).policy.parameters["block"] == 32
    half = ServedPolicy.of({"policy": "dico", "parameters": {"block": 16}}, 32)
    assert half.policy.parameters["block"] == 16


def test_a_policy_is_a_name_a_file_or_a_text(tmp_path: Path) -> None:
    file = tmp_path / "bare.policy"
    file.write_text(BARE)
    for policy in (BARE, str(file)):
        assert ServedPolicy.of({"policy": policy}, 8).policy.name == "bare"


@pytest.mark.parametrize(
    ("config", "code", "words"),
    [
        ({}, "E0456", "the configuration names no policy\n  = help: for example `policy: threshold`"),
        ({"polcy": "dico"}, "E0456", "names no policy, but has the key `'polcy'`"),
        ({"policy": "threshold", "parmeters": {}}, "E0456", "no key `'parmeters'`\n  = help: did you mean `parameters`?"),
        ({"policy": "threshold", "confidence": 0.8}, "E0456", "for example `parameters: {confidence: 0.8}`"),
        ({"policy": "threshold", "parameters": [1]}, "E0456", "`parameters` is a mapping of names to values"),
        ({"policy": 3}, "E0456", "`policy` is a name, a file or a text, not `3`"),
        ({"policy": "treshold"}, "E0401", "did you mean `threshold`?"),
        ({"policy": "/no/such.policy"}, "E0401", "cannot be read"),
        ({"policy": "/dev/zero.policy"}, "E0401", "cannot be read"),
        ({"policy": "threshold", "parameters": {"confidnce": 0.8}}, "E0403", "did you mean `confidence`?"),
        ({"policy": "threshold", "parameters": {"confidence": 8}}, "E0402", "lie between 0 and 1"),
        ({"policy": "threshold", "parameters": {"block": 3}}, "E0450", "write `block=8`"),
        ({"policy": "threshold", "seed": "x"}, "E0456", "`seed` is a whole number, not `'x'`"),
        ({"policy": "threshold", "backend": "reference"}, "E0456", "`backend` is `eager` or `inductor`"),
        ({"policy": "freedave"}, "E0450", "write `drafts=1`"),
        ({"policy": "policy p():\n  window all\n  commit top(masked, 1, by=conf)\n"}, "E0450", "`window all`"),
        ({"policy": "policy p():\n  window blocks(32)\n  commit masked and conf > 0.9\n"}, "E0301", "conf > 0.9"),
    ],
)  # fmt: skip
def test_a_wrong_configuration(config: dict[str, Any], code: str, words: str) -> None:
    why = why_refused(config)
    assert why.startswith(f"error[{code}]: ")
    assert words in why


@pytest.mark.parametrize("block_length", [0, "8", 2.5, True])
def test_a_wrong_block_length(block_length: Any) -> None:
    assert "`block_size` is a whole number of 1 or more" in why_refused({"policy": "dico"}, block_length)


def test_a_server_that_does_not_start_prints_the_diagnostic_alone(tmp_path: Path) -> None:
    program = tmp_path / "sglang"
    program.write_text(
        "from dsldec.engines.sglang.served_policy import ServedPolicy, not_started\n"
        "with not_started('sglang'):\n    ServedPolicy.of({'policy': 'treshold'}, 8)\n"
    )
    ended = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == why_refused({"policy": "treshold"}) + "\n"


def test_a_program_that_starts_an_engine_gets_an_exception() -> None:
    with pytest.raises(dsldec.UsageError, match="E0450"), not_started("sglang"):
        ServedPolicy.of({"policy": "freedave"}, 8)


def test_a_policy_file_that_is_too_large(tmp_path: Path) -> None:
    file = tmp_path / "large.policy"
    file.write_bytes(b"#" * (2 * 1024**2))
    assert why_refused({"policy": str(file)}).startswith("error[E0104]")


def test_the_parameters_of_a_request() -> None:
    served = ServedPolicy.of({"policy": "threshold"}, 8)
    assert served.own_parameters(None) == {}
    given = {"confidence": 1, "thinking_budget": 5, "__req__": object()}
    assert served.own_parameters(given) == {"confidence": 1}


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({"confidnce": 0.8}, "E0403", "did you mean `confidence`?"),
        ({"confidence": "high"}, "E0402", "`confidence` is of kind `prob`"),
        ({"confidence": 7.0}, "E0402", "lie between 0 and 1"),
        (
            {"block": 4},
            "E0450",
            "`block` is one for all requests of a batch\n  = help: set it for the server, `parameters: {block: 4}`",
        ),
        ([1], "E0456", "`custom_params` is a mapping"),
    ],
)
def test_a_wrong_parameter_of_a_request(given: Any, code: str, words: str) -> None:
    served = ServedPolicy.of({"policy": "threshold"}, 8)
    with pytest.raises((dsldec.UsageError, dsldec.PolicyError)) as refused:
        served.own_parameters(given)
    assert str(refused.value).startswith(f"error[{code}]")
    assert words in str(refused.value)


def test_the_configuration_of_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sglang.md").read_text()
    config = re.search(r"^`policy.yaml`:\n\n```text\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert config is not None
    served = ServedPolicy.of(yaml.safe_load(config[1]), 32)
    assert served.policy.parameters["confidence"] == 0.8
    keys = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert keys == list(EXAMPLES)
