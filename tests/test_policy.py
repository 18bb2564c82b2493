"""Loading and binding: what works, and what is said when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsldec

TEXT = """
policy mine(level: prob = 0.9, block: int = 8 in 1..64, fast: bool = false):
  window blocks(block)
  commit masked and (conf > level or fast) at least 1 by conf
"""


def codes(error: pytest.ExceptionInfo[dsldec.PolicyError]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


def test_text_file_and_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.policy"
    file.write_text(TEXT)
    for policy in (dsldec.load(TEXT), dsldec.load(str(file)), dsldec.load(file)):
        assert policy.name == "mine"
        assert policy.parameters == {"level": 0.9, "block": 8, "fast": False}
    assert dsldec.load("static", tokens=3).parameters == {"tokens": 3, "block": 32}


def test_bind_checks_and_leaves_the_first_as_it_was() -> None:
    policy = dsldec.load(TEXT)
    other = policy.bind(level=0.5, fast=True)
    assert (policy.parameters["level"], other.parameters["level"]) == (0.9, 0.5)


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"level": 1.5}, "E0402", "not a probability"),
        ({"level": "high"}, "E0402", "not a number"),
        ({"block": 0}, "E0402", "lies in 1..64"),
        ({"block": 2.5}, "E0402", "not a whole number"),
        ({"fast": 1}, "E0402", "not `true` or `false`"),
        ({"block": 2**70}, "E0402", "too large"),
        ({"level": float("nan")}, "E0402", "not a probability"),
        ({"self": 1}, "E0403", "has no parameter `self`"),
        ({"levl": 0.5}, "E0403", "did you mean `level`?"),
    ],
)
def test_values_that_do_not_fit(given: dict[str, float], code: str, says: str) -> None:
    with pytest.raises(dsldec.PolicyError) as error:
        dsldec.load(TEXT, **given)
    assert codes(error) == [code]
    assert says in str(error.value)


def test_numbers_of_numpy_and_torch() -> None:
    import numpy
    import torch

    policy = dsldec.load(TEXT, level=numpy.float32(0.5), block=numpy.int64(4), fast=torch.tensor(True))
    assert policy.parameters == {"level": 0.5, "block": 4, "fast": True}


def test_a_file_saved_on_windows(tmp_path: Path) -> None:
    file = tmp_path / "mine.policy"
    file.write_bytes(b"\xef\xbb\xbf" + TEXT.lstrip().replace("\n", "\r\n").encode())
    assert dsldec.load(file).name == "mine"


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(dsldec.PolicyError, match="did you mean `threshold`"):
        dsldec.load("treshold")
    with pytest.raises(dsldec.PolicyError, match="no such file"):
        dsldec.load(str(tmp_path / "nothing.policy"))
    binary = tmp_path / "binary.policy"
    binary.write_bytes(b"policy \xff\xfe")
    with pytest.raises(dsldec.PolicyError, match="byte 7"):
        dsldec.load(str(binary))
    with pytest.raises(dsldec.PolicyError) as error:
        dsldec.load(str(tmp_path) + "/")
    assert codes(error) == ["E0401"]


def test_facts() -> None:
    facts = dsldec.load("static").facts
    assert facts.floor_per_step == "tokens"
    assert facts.static == ("block",)
    assert facts.dynamic == ("tokens",)
    assert facts.forwards_bound(100, {"tokens": 3, "block": 32}) == 3 * 11 + 2
    assert dsldec.load("threshold").facts.forwards_bound(100, {"confidence": 0.9, "block": 32}) == 100
    everything, _ = dsldec.check("policy p():\n  window blocks(10)\n  commit masked\n")
    assert everything is not None
    assert everything.facts.forwards_bound(25, {}) == 3
    # Of two counts the smaller decides, and which one that is depends on their values.
    text = "policy p(a: int = 8 in 1..8, b: int = 2 in 2..9):\n  window blocks(8)\n  commit top(masked, a, by=conf) at most {} by conf\n"
    for most in ("2", "b"):
        facts = dsldec.load(text.format(most) if most == "b" else text.format(most).replace("b: int = 2 in 2..9", "")).facts
        assert facts.forwards_bound(8, {"a": 8, "b": 2}) >= 4


def test_bound_policies_share_their_compiled_step() -> None:
    policy = dsldec.load("threshold")
    first, second = policy.compile("eager", mask_id=3), policy.bind(confidence=0.5).compile("eager", mask_id=3)
    assert first.function is second.function
    assert first.params["confidence"] != second.params["confidence"]


def test_unknown_backend() -> None:
    with pytest.raises(dsldec.UsageError, match="did you mean `inductor`"):
        dsldec.load("threshold").compile("inducto", mask_id=3)


def test_a_program_prints_itself() -> None:
    printed = str(dsldec.load("threshold").program)
    assert printed.startswith("program threshold\n  confidence: prob = 0.9\n")
    assert "order(" in printed
