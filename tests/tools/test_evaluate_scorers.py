"""Do the scorers read answers as defined, and are the intervals those of the literature?"""

from __future__ import annotations

import itertools
import math
import re
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsldec.diagnostics import UsageError
from dsldec.tools.evaluation import intervals
from dsldec.tools.evaluation.code_programs import programs
from dsldec.tools.evaluation.code_runner import CodeLimits
from dsldec.tools.evaluation.numbers import last_number
from dsldec.tools.evaluation.problems import Problem
from dsldec.tools.evaluation.scorers import Scorer, scorer_of
from dsldec.tools.prompts import Prompt


def problem(*answers: str) -> Problem:
    return Problem(Prompt(0, 0, "?"), answers)


def scorer(name: str) -> Scorer:
    return scorer_of(name, "a.jsonl", run_code=False, limits=CodeLimits())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 32.", 32),
        ("14+18=32", 32),
        ("14-18", 18),  # an operator
        ("it is -18", -18),
        ("(-3)", -3),
        ("\N{MINUS SIGN}7", -7),
        ("x = +4", 4),
        ("3 - 5", 5),
        ("1,234,567 people", 1234567),
        ("3, 4", 4),
        ("$1,234.50.", Fraction(2469, 2)),
        ("-$5", -5),
        (r"\$12", 12),
        (".5", Fraction(1, 2)),
        ("0.250", Fraction(1, 4)),
        ("1e3 or 1.5e-1", Fraction(3, 20)),
        ("1/2", Fraction(1, 2)),
        ("2 1/2 cups", Fraction(5, 2)),
        ("3 5/2", Fraction(5, 2)),
        ("18/3=6", 6),
        (r"\boxed{\frac{3}{4}}", Fraction(3, 4)),
        ("1/0", None),
        ("50 %", 50),
        ("2024-11-30", 30),
        ("1.2.3", 3),
        ("#### 32", 32),
        ("#### 32 apples, 5 each", 32),
        ("#### 1 and then #### 2", 2),
        ("so it is 7. ####", 7),
        ("4 #### none", 4),
        ("", None),
        ("none", None),
        ("7" * 5000, None),
        ("٣", None),  # only the digits 0 to 9
    ],
)
def test_the_number_of_a_text(text: str, number: Fraction | None) -> None:
    assert last_number(text) == number


WRITTEN = st.integers(-(10**7), 10**7).flatmap(
    lambda n: st.sampled_from([(f"{n}", Fraction(n)), (f"{n:,}", Fraction(n)), (f"{n / 8:.3f}", Fraction(n, 8)), (f"{n}.0", Fraction(n))])
)  # fmt: skip
WORDS = st.sampled_from([" and ", " = ", ": ", " (so ", ", then ", "\n", " x "])


@settings(max_examples=50)
@given(
    st.lists(st.tuples(WORDS, WRITTEN), min_size=1, max_size=5), st.sampled_from(["", ".", " apples", ")"])
)
def test_the_last_of_several_numbers_in_many_forms(parts: list, end: str) -> None:
    text = "".join(words + written for words, (written, _) in parts) + end
    assert last_number(text) == parts[-1][1][1]
    marked = f"{text}\n#### {parts[0][1][0]} and {parts[-1][1][0]}"
    assert last_number(marked) == parts[0][1][1]


@settings(max_examples=50)
@given(st.text("01 a#\n", max_size=40))
def test_a_text_of_digits_and_words_has_its_last_run_of_digits(text: str) -> None:
    """The slow definition, character by character."""

    def runs(part: str) -> list[int]:
        return [int(run) for run in "".join(one if one in "01" else " " for one in part).split()]

    marked = runs(text[text.rindex("####") + 4 :]) if "####" in text else []
    everything = runs(text)
    assert last_number(text) == (marked[0] if marked else everything[-1] if everything else None)


@pytest.mark.parametrize(
    ("name", "answers", "text", "score", "found"),
    [
        ("exact", ["yes"], " yes\n", 1.0, "yes"),
        ("exact", ["yes"], "Yes", 0.0, "Yes"),
        ("exact", ["no", "yes "], "yes", 1.0, "yes"),
        ("number", ["#### 1,000"], "it is 1000.00", 1.0, "1000"),
        ("number", ["eighteen", "18"], "18", 1.0, "18"),
        ("number", ["0.333"], "1/3", 0.0, "1/3"),
        ("number", ["5"], "five", 0.0, None),
        ("regex:answer is (\\w+)", ["b"], "the answer is b, not a: the answer is a", 1.0, "b"),
        ("regex:[a-d]", ["c"], "(c)", 1.0, "c"),
        ("regex:(x)?y", ["x"], "y", 0.0, ""),
        ("regex:z", ["x"], "y", 0.0, None),
    ],
)
def test_scores(name: str, answers: list[str], text: str, score: float, found: str | None) -> None:
    judged = scorer(name).judged(problem(*answers), text)
    assert (judged.score, judged.found) == (score, found)
    assert bool(judged.why) == (found is None)


@settings(max_examples=50)
@given(st.sampled_from([r"a+", r"(\d+) b", r"x|(y)", r"^(.*?)c"]), st.text("abcxy1 \n", max_size=12))
def test_a_pattern_matches_as_the_module_re_does(pattern: str, text: str) -> None:
    match = re.search(pattern, text)
    expected = (
        None if match is None else ((match[1] if re.compile(pattern).groups else match[0]) or "").strip()
    )
    assert scorer(f"regex:{pattern}").judged(problem("?"), text).found == expected


def test_a_pattern_with_exponential_time_ends() -> None:
    begin = time.monotonic()
    judged = scorer(r"regex:(a+)+$").judged(problem("a"), "a" * 5000 + "b")
    assert "not finished" in judged.why
    assert time.monotonic() - begin < 60  # without a limit: longer than the universe


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("regex:(", "E0422", "is no regular expression"),
        ("regex", "E0422", "lacks its pattern"),
        ("regex:", "E0422", "lacks its pattern"),
        ("numbr", "E0422", "did you mean `--scorer number`?"),
        ("sudoku", "E0422", "unknown scorer"),
        ("python", "E0481", "runs code that the model writes, which can damage this machine"),
    ],
)
def test_wrong_scorers(name: str, code: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        scorer(name)
    assert raised.value.diagnostic.code == code
    assert says in str(raised.value.diagnostic)


# Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3.
@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_wilson_interval_of_the_literature(right: int, count: int, low: float, high: float) -> None:
    assert intervals.wilson(right / count, count) == pytest.approx((low, high), abs=5e-5)


@settings(max_examples=50)
@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_limits_of_wilson_are_shares_that_the_test_just_accepts(counts: tuple[int, int]) -> None:
    """The definition: |share - limit| is 1.96 standard errors of the limit."""
    right, count = counts
    for limit in intervals.wilson(right / count, count):
        distance = abs(right / count - limit)
        assert distance == pytest.approx(intervals.Z * math.sqrt(limit * (1 - limit) / count), abs=1e-9)


def test_the_interval_of_a_paired_difference_of_the_literature() -> None:
    """Airway hyper-responsiveness before and after a transplantation, 21 children: Fagerland, Lydersen and
    Laake (2014), Recommended tests and confidence intervals for paired binomial proportions.
    """
    assert intervals.paired(1, 1, 7, 12) == pytest.approx((-0.507, -0.026), abs=5e-4)
    low, high = intervals.paired(1, 7, 1, 12)
    assert (-high, -low) == pytest.approx(intervals.paired(1, 1, 7, 12))


@settings(max_examples=50)
@given(*[st.integers(0, 40)] * 4)
def test_the_paired_interval_holds_the_difference(both: int, one: int, other: int, neither: int) -> None:
    low, high = intervals.paired(both, one, other, neither)
    if count := both + one + other + neither:
        assert -1 - 1e-9 <= low <= (one - other) / count <= high <= 1 + 1e-9
        assert high - low > 0


@settings(max_examples=50)
@given(st.integers(0, 9), st.integers(0, 9))
def test_mcnemar_counts_all_ways_to_share_the_pairs(one: int, other: int) -> None:
    ways = [sum(way) for way in itertools.product((0, 1), repeat=min(12, one + other))]
    if one + other <= 12:
        extreme = sum(abs(2 * way - one - other) >= abs(one - other) for way in ways)
        assert intervals.mcnemar(one, other) == pytest.approx(extreme / len(ways))


def test_mcnemar_of_thousands_of_pairs() -> None:
    assert intervals.mcnemar(3000, 3000) == 1.0
    assert 0 < intervals.mcnemar(2900, 3100) < 0.02


@settings(max_examples=50)
@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_choices_with_a_right_sample(counts: tuple[int, int, int]) -> None:
    samples, right, k = counts
    choices = [*itertools.combinations([True] * right + [False] * (samples - right), k)]
    assert intervals.pass_at_k(samples, right, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_the_bootstrap_is_repeatable_and_near_the_normal_interval() -> None:
    differences = [0.25, -0.5, 0.75, 0.0] * 50
    low, high = intervals.bootstrap(differences)
    assert (low, high) == intervals.bootstrap(differences)
    half = intervals.Z * (sum((one - 0.125) ** 2 for one in differences) / 200) ** 0.5 / 200**0.5
    assert (low, high) == pytest.approx((0.125 - half, 0.125 + half), abs=0.01)


DOUBLE = Problem(
    Prompt(0, 0, "Double a number."),
    test="assert double(2) == 4",
    entry_point="double",
    code='def double(x):\n    """Twice x."""\n',
)


@pytest.mark.parametrize(
    "answer",
    [
        "return 2 * x",  # the text of an answer is stripped
        "    return 2 * x",
        "y = x\n    return x + y",
        "y = x\nreturn x + y",
        "return 2 * x\n\n# a test\nprint(double(input()))",
        "return 2 * x\n\ndef other(: wrong",
        "def double(x):\n    return 2 * x",
        "Here it is:\n```python\ndef double(x):\n    return 2 * x\n```\nIt doubles.",
        "```\nreturn 2 * x\n```",
        "```python\nimport math\n```\nand\n```python\ndef double(x):\n    return 2 * x",
    ],
)
def test_a_program_is_made_of_each_kind_of_answer(answer: str) -> None:
    """The first program that compiles is right. Here it runs in this process: these are our own."""
    for program in programs(DOUBLE, answer):
        try:
            code = compile(program, "answer.py", "exec")
        except SyntaxError:
            continue
        exec(code, {})
        return
    pytest.fail("no program compiles")
