"""Loading a policy and binding its parameters: the results and the messages."""

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


TABLE = "policy t(f: table = 0.5):\n  window blocks(8)\n  commit top(masked, 1, by=conf - of(f, token))\n"


class Odd:
    """Calls itself an array, and raises whatever it is asked."""

    shape = (3,)

    def tolist(self) -> None:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("abc", "`abc` is not a list of numbers"),
        (b"abc", "a value of the type `bytes` is not a list of numbers"),
        ({0: 1.0}, "a value of the type `dict` is not a list of numbers"),
        ({0.5}, "a value of the type `set` is not a list of numbers"),
        (None, "a value of the type `NoneType` is not a list of numbers"),
        (Odd(), "a value of the type `Odd` is not a list of numbers"),
        (True, "`True` is not a number"),
        ([], "an empty table"),
        ((), "an empty table"),
        ([[0.5]], "a table whose entry for id 0 is not a number"),
        ([0.5, "0.5"], "a table whose entry for id 1 is not a number"),
        ([0.5, True], "a table whose entry for id 1 is not a number"),
        ([0.5, None], "a table whose entry for id 1 is not a number"),
        ([float("nan")], "a table whose entry for id 0 is not a finite number"),
        ([float("inf")], "a table whose entry for id 0 is not a finite number"),
        ([10**400], "a table whose entry for id 0 is not a finite number"),
        ([1j], "a table whose entry for id 0 is not a number"),
        (range(3), "a value of the type `range` is not a list of numbers"),
        ([0] * (2**22 + 1), "longer than the limit of"),
        (10**5000, "this is not a finite number"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value[:30],
)
def test_a_table_that_is_none(table: object, says: str) -> None:
    with pytest.raises(dsldec.PolicyError) as error:
        dsldec.load(TABLE, f=table)  # type: ignore[arg-type]
    assert codes(error) == ["E0402"]
    assert says in str(error.value)
    assert len(str(error.value)) < 300


def test_an_array_that_is_no_table() -> None:
    import numpy
    import torch

    for table in (
        numpy.array(["a"]),
        numpy.array([None], dtype=object),
        numpy.array([True]),
        numpy.array([[1.0]]),
        numpy.array([1j]),
        numpy.array([numpy.nan]),
        numpy.broadcast_to(numpy.float32(1), (2**40,)),
        torch.empty(3, device="meta"),
        torch.empty((), device="meta"),
        torch.ones(2, 2),
        torch.ones(3).to_sparse(),
        torch.empty(2**40, device="meta"),
    ):
        with pytest.raises(dsldec.PolicyError) as error:
            dsldec.load(TABLE, f=table)  # type: ignore[arg-type]
        assert codes(error) == ["E0402"]


def test_a_table_in_every_form() -> None:
    import array

    import numpy
    import torch

    numbers = (0.25, 1.0, -2.0)
    for table in (
        numbers,
        list(numbers),
        array.array("d", numbers),
        numpy.array(numbers),
        torch.tensor(numbers),
        [numpy.float32(one) for one in numbers],
    ):
        assert dsldec.load(TABLE, f=table).parameters["f"] == numbers  # type: ignore[arg-type]
    assert dsldec.load(TABLE, f=numpy.arange(3)).parameters["f"] == (0, 1, 2)  # type: ignore[arg-type]
    assert dsldec.load(TABLE, f=0.25).parameters["f"] == 0.25


@pytest.mark.parametrize(
    "policy", [5, None, b"threshold", ["threshold"], 10**5000, Odd()], ids=lambda value: type(value).__name__
)
def test_what_names_no_policy(policy: object) -> None:
    with pytest.raises(dsldec.UsageError, match="E0448") as error:
        dsldec.load(policy)  # type: ignore[arg-type]
    assert len(str(error.value)) < 300


def test_a_value_of_any_length_is_told_shortly() -> None:
    for given in (
        {"level": 10**5000},
        {"block": 10**5000},
        {"block": "9" * 5000},
        {"fast": Odd()},
        {"level": -(10**5000)},
    ):
        with pytest.raises(dsldec.PolicyError) as error:
            dsldec.load(TEXT, **given)  # type: ignore[arg-type]
        assert codes(error) == ["E0402"]
        assert len(str(error.value)) < 300
    with pytest.raises(
        dsldec.UsageError, match="`lookahead` must be a whole number from 1 to 1024, not a `int`"
    ):
        dsldec.load("threshold").drafts(10**5000)
    with pytest.raises(dsldec.PolicyError) as error:
        dsldec.load("x" * 100_000)
    assert len(str(error.value)) < 1000


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
        facts = dsldec.load(
            text.format(most) if most == "b" else text.format(most).replace("b: int = 2 in 2..9", "")
        ).facts
        assert facts.forwards_bound(8, {"a": 8, "b": 2}) >= 4


def test_bound_policies_share_their_compiled_step() -> None:
    policy = dsldec.load("threshold")
    first, second = (
        policy.compile("eager", mask_id=3),
        policy.bind(confidence=0.5).compile("eager", mask_id=3),
    )
    assert first.function is second.function
    assert first.params["confidence"] != second.params["confidence"]


def test_unknown_backend() -> None:
    with pytest.raises(dsldec.UsageError, match="did you mean `inductor`"):
        dsldec.load("threshold").compile("inducto", mask_id=3)


def test_a_program_prints_itself() -> None:
    printed = str(dsldec.load("threshold").program)
    assert printed.startswith("program threshold\n  confidence: prob = 0.9\n")
    assert "order(" in printed
