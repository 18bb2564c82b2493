"""Temperatures with a value per step: `logits temperature(x)`, `draw gumbel(x)` and `draw nucleus(x, ...)`.

The expected values come from a slow loop over plain numbers: divide, then softmax. Eager steps read large
vocabularies by tiles, compiled steps as one loop.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.noise import mixed_int
from dsldec.backends.vocabulary import FOR_DRAWS

MASK = 3
POLICY = """policy tempered(t: real = 0.7, warm: real = 0.9):
  window all
{head}  state c: prob each = 0 per sequence
  state e: nats each = 0 per sequence
  state m: prob each = 0 per sequence
  state l: logit each = 0 per sequence
  state p5: prob each = 0 per sequence
  state id: token each = 0 per sequence
  state best: token each = 0 per sequence
  set c = conf
  set e = entropy
  set m = margin
  set l = logit_margin
  set p5 = p(5)
  set id = token
  set best = likeliest
  commit top(masked, 1, by=conf)
"""


def stepped(
    head: str, logits: Tensor, backend: str, steps: list[int], **parameters: Any
) -> dict[str, Tensor]:
    """The states after one step of rows that have made these numbers of steps."""
    text = POLICY.format(head="".join(f"  {line}\n" for line in head.split("\n") if line))
    policy = dsldec.load(text, **parameters) if "t)" in text or parameters else dsldec.check(text)[0]
    assert policy is not None
    step = policy.compile(backend, mask_id=MASK)
    state = step.start(*logits.shape[:2], vocab_size=logits.shape[2])
    state["step"] = torch.tensor(steps)
    if "key" in state:
        state["key"] = torch.arange(len(steps)) + 100
    canvas = torch.full(logits.shape[:2], MASK)
    output = step(logits, canvas, torch.ones_like(canvas, dtype=torch.bool), state)
    found = {name.removeprefix("state_"): value for name, value in output.state.items()}
    return found | {"temperature": output.events.temperature}


def plain(scores: list[float], temperature: float) -> dict[str, float]:
    """Observations of one position, by their definitions in float64."""
    t = min(max(temperature, 0.001), 1e6) if temperature == temperature else 0.001
    cool = [score / t for score in scores]
    best = max(cool)
    weights = [math.exp(score - best) for score in cool]
    p = [weight / sum(weights) for weight in weights]
    ranked = sorted(cool, reverse=True)
    token = max((id_ for id_ in range(len(p)) if id_ != MASK), key=lambda id_: (cool[id_], -id_))
    return {
        "c": p[token],
        "e": -sum(x * math.log(x) for x in p if x),
        "m": (1 - math.exp(ranked[1] - ranked[0])) * max(p),
        "l": ranked[0] - ranked[1],
        "p5": p[5],
        "best": token,
    }


def assert_plain(found: dict[str, Tensor], logits: Tensor, temperatures: list[float]) -> None:
    for row, temperature in enumerate(temperatures):
        for at in range(logits.shape[1]):
            expected = plain(logits[row, at].double().tolist(), temperature)
            for name, value in expected.items():
                near = pytest.approx(value, rel=3e-5, abs=3e-5)
                assert found[name][row, at].item() == near, (name, row, at, temperature)


def random_logits(rows: int, positions: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(vocabulary)
    logits = 2 * torch.randn(rows, positions, vocabulary, generator=generator)
    logits[0, 0, 7] = -math.inf
    return logits.to(dtype)


@pytest.mark.parametrize(("backend", "vocabulary"), [("reference", 11), ("eager", 11), ("eager", 9001)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_temperature_that_changes_with_the_step(vocabulary: int, backend: str, dtype: torch.dtype) -> None:
    """One value for each row of a batch: rows may be at different steps."""
    rows = 4 if vocabulary < 100 else 2
    logits, steps = random_logits(rows, 2, vocabulary, dtype), [0, 5, 20, 48][:rows]
    found = stepped("logits temperature(0.8 - 0.4 * step / 48)", logits, backend, steps)
    expected = [0.8 - 0.4 * step / 48 for step in steps]
    assert_plain(found, logits, expected)
    assert found["temperature"].tolist() == pytest.approx(expected)
    assert torch.equal(found["id"], found["best"])


@pytest.mark.slow
def test_a_compiled_step() -> None:
    logits, steps = random_logits(3, 2, 9000), [0, 7, 30]
    found = stepped("logits temperature(max(0.1, t - step / 40))", logits, "inductor", steps)
    assert_plain(found, logits, [max(0.1, 0.7 - step / 40) for step in steps])


@pytest.mark.parametrize("backend", ["reference", "eager"])
@pytest.mark.parametrize("t", [0.0, -1.0, math.nan, 1e-9, 1e9, math.inf, 0.5])
def test_the_ends_of_a_temperature(backend: str, t: float) -> None:
    """Below 0.001, and without a value, it is 0.001; above a million it is a million. An id with the
    logit -inf has the probability 0 at each temperature.
    """
    logits = random_logits(2, 2, 12)
    head = {"nan": "0 * t / 0", "inf": "1 / (0 * t)"}.get(str(t), "t")
    how = {"t": t} if head == "t" else {}
    found = stepped(f"logits temperature({head})", logits, backend, [0, 0], **how)
    assert_plain(found, logits, [t, t])


@pytest.mark.parametrize("backend", ["reference", "eager"])
def test_transforms_apply_in_the_order_of_the_text(backend: str) -> None:
    logits = random_logits(1, 1, 12)
    first = stepped("logits bias(5, 3)\nlogits temperature(t)\nlogits ban(2)", logits, backend, [0])
    last = stepped("logits temperature(t)\nlogits bias(5, 3)\nlogits ban(2)", logits, backend, [0])
    scores = logits[0, 0].double().tolist()
    for found, more in ((first, 3 / 0.7), (last, 3)):
        changed = [score / 0.7 + more * (id_ == 5) for id_, score in enumerate(scores)]
        changed[2] = -math.inf
        assert found["p5"].item() == pytest.approx(plain(changed, 1.0)["p5"], rel=1e-5)


def test_temperatures_multiply() -> None:
    logits = random_logits(1, 2, 12)
    twice = stepped("logits temperature(t)\nlogits temperature(0.5 + step)", logits, "eager", [1])
    assert_plain(twice, logits, [0.7 * 1.5])
    assert twice["temperature"].tolist() == pytest.approx([0.7 * 1.5])


def test_without_the_line_no_temperature_is_reported() -> None:
    assert stepped("", random_logits(1, 1, 12), "eager", [0])["temperature"] is None


@pytest.mark.parametrize("backend", ["reference", "eager"])
@pytest.mark.parametrize(
    "draw", ["gumbel(max(0, 1.2 - 0.3 * step))", "nucleus(max(0, 1.2 - 0.3 * step), 0.9)"]
)
def test_draws_with_a_temperature_per_step(backend: str, draw: str) -> None:
    """By the Gumbel trick; at 0 the likeliest id. `likeliest` is the same as without a draw."""
    logits, steps = random_logits(4, 3, 9), [0, 1, 3, 4]
    found = stepped(f"draw {draw}", logits, backend, steps)
    for row, step in enumerate(steps):
        for at in range(3):
            scores, t = logits[row, at].double().tolist(), max(0.0, 1.2 - 0.3 * step)
            assert found["id"][row, at].item() == drawn(
                scores, t, mixed_int(100 + row, step, at, FOR_DRAWS), draw
            )
            assert found["best"][row, at].item() == plain(scores, 1.0)["best"]


def drawn(scores: list[float], t: float, place: int, draw: str) -> int:
    ids = sorted((id_ for id_ in range(len(scores)) if id_ != MASK), key=lambda id_: (-scores[id_], id_))
    if t < 1e-7:  # in float32, 1.2 - 0.3 * 4 may be a little more than 0
        return ids[0]
    weights = {id_: math.exp((scores[id_] - scores[ids[0]]) / t) for id_ in ids}
    if draw.startswith("nucleus"):
        kept, held = list[int](), 0.0
        for id_ in ids:
            if held >= 0.9:
                break
            kept.append(id_)
            held += weights[id_] / sum(weights.values())
        ids = kept
    uniform = {id_: ((mixed_int(place, id_) % 2**64 >> 12) + 0.5) / 2**52 for id_ in ids}
    return max(ids, key=lambda id_: math.log(max(weights[id_], 1e-300)) - math.log(-math.log(uniform[id_])))


@pytest.mark.parametrize(
    ("head", "code"),
    [
        ("logits temperature(0)", "E0219"),
        ("logits temperature(-0.5)", "E0219"),
        ("logits temperature(mean(entropy))", "E0220"),
        ("logits temperature(1 if eos_closed else 2)", "E0220"),
        ("draw gumbel(max(conf, over=masked))", "E0220"),
        ("logits temperature(conf)", "E0207"),
        ("logits temperature()", "E0203"),
        ("logits temperature(masked)", "E0204"),
        ("noise uniform\n  noise uniform", "E0302"),
        ("noise gumbel(1)", "E0302"),
    ],
)
def test_mistakes(head: str, code: str) -> None:
    text = f"policy p():\n  window all\n  {head}\n  commit top(masked, 1, by=conf)\n"
    assert [one.code for one in dsldec.check(text)[1]] == [code]


@pytest.mark.parametrize(
    "window", ["all", "blocks(4)", "sliding(max_masks=2, max_length=4)", "until(1, max=4)"]
)
@pytest.mark.parametrize(
    "value", ["progress", "fraction(masked)", "1 if any(masked) else 2", "window_length"]
)
def test_numbers_of_the_canvas_are_known_where_the_window_is(window: str, value: str) -> None:
    text = (
        f"policy p():\n  window {window}\n  logits temperature({value})\n  commit top(masked, 1, by=conf)\n"
    )
    codes = [one.code for one in dsldec.check(text)[1]]
    assert codes == (["E0220"] if window.startswith("until") else [])


def test_parameters_may_have_the_names_of_words_that_are_read_at_their_place() -> None:
    text = "policy p(temperature: real = 0.5, uniform: real = 2):\n  window all\n  noise uniform\n"
    text += "  logits temperature(temperature)\n  commit masked and conf < uniform at least 1 by conf\n"
    assert dsldec.check(text)[1] == []
    text = (
        "policy p():\n  window all\n  def temperature(x) = x\n  commit top(masked, 1, by=temperature(conf))\n"
    )
    assert dsldec.check(text)[1][0].code == "E0202"
