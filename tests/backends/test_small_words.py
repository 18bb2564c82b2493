"""The small words (`eos`, `bos`, `pad`, `shift`, `random`, `of` by step, choices) against plain loops over
plain numbers.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends import noise
from dsldec.backends.step import Step, StepState
from dsldec.diagnostics import PolicyError

from ..toy import ToyDenoiser

T, V, MASK = 8, 12, 11
ANYTHING = "  commit top(masked, 1, by=conf)\n"


def watched(kind: str, expression: str, parameters: str = "", head: str = "", **values: Any) -> dsldec.Policy:
    """A policy that writes an expression into its state `seen`."""
    start = {"mask": "false", "bool": "false"}.get(kind.split()[0], "0")
    text = f"policy p({parameters}):\n  window blocks(8)\n{head}"
    text += f"  state seen: {kind} = {start} per sequence\n  set seen = {expression}\n{ANYTHING}"
    return dsldec.load(text, **values)


def drawn(seed: int, rows: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, a canvas with masks, and where the step may write: a gap in one row, a short window in
    another.
    """
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randint(-6, 7, (rows, T, V), generator=generator).float() / 2
    canvas = torch.randint(0, MASK, (rows, T), generator=generator)
    canvas[torch.rand(rows, T, generator=generator) < 0.6] = MASK
    editable = torch.ones(rows, T, dtype=torch.bool)
    editable[1, 3] = False
    editable[2, 6:] = False
    return logits, canvas, editable


def seen(policy: dsldec.Policy, backend: str, seed: int, **ids: int | None) -> list[list[Any]]:
    step = policy.compile(backend, mask_id=MASK, **ids)
    logits, canvas, editable = drawn(seed)
    return ran(step, logits, canvas, editable, started(step))["state_seen"].tolist()


def started(step: Step, rows: int = 3) -> StepState:
    state = step.start(rows, T, vocab_size=V)
    if "key" in state:
        state["key"] = torch.arange(rows) * 7 + 1
    if "step" in state:
        state["step"] = torch.arange(rows)
    return state


def ran(step: Step, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState) -> StepState:
    return step(logits, canvas, editable, state).state


BOTH = pytest.mark.parametrize("backend", ["reference", "eager"])


def same(ones: list[list[Any]], others: list[list[Any]]) -> bool:
    return all(
        a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
        for one, other in zip(ones, others, strict=True)
        for a, b in zip(one, other, strict=True)
    )


# --- shift


@BOTH
@pytest.mark.parametrize("n", [0, 1, -1, 3, -9, 8])
def test_shift_of_a_score_has_no_value_where_none_comes_from_the_window(backend: str, n: int) -> None:
    for seed in range(3):
        logits, _, editable = drawn(seed)
        conf = logits.softmax(-1)[..., :MASK].max(-1).values
        wanted = [
            [
                float(conf[row, i - n]) if 0 <= i - n < T and editable[row, i - n] else math.nan
                for i in range(T)
            ]
            for row in range(3)
        ]
        found = seen(watched("prob each", f"shift(conf, {n})"), backend, seed)
        assert torch.allclose(torch.tensor(found), torch.tensor(wanted), equal_nan=True)


@BOTH
def test_shift_of_ids_gives_an_id_that_equals_none(backend: str) -> None:
    for seed, word in product(range(3), ("canvas", "token")):
        logits, canvas, editable = drawn(seed)
        ids = canvas if word == "canvas" else logits[..., :MASK].argmax(-1)
        there = [[i - 1 >= 0 and bool(editable[row, i - 1]) for i in range(T)] for row in range(3)]
        moved = [[int(ids[row, max(0, i - 1)]) for i in range(T)] for row in range(3)]
        there = [[one and bool(editable[r, i]) for i, one in enumerate(there[r])] for r in range(3)]
        equal = [[there[r][i] and moved[r][i] == int(ids[r][i]) for i in range(T)] for r in range(3)]
        assert seen(watched("mask", f"shift({word}, 1) == {word}"), backend, seed) == equal
        other = [[bool(editable[r, i]) and not equal[r][i] for i in range(T)] for r in range(3)]
        assert seen(watched("mask", f"shift({word}, 1) != {word}"), backend, seed) == other
        # Not even to another id that there is not.
        assert seen(watched("mask", f"shift({word}, 1) == shift({word}, 1)"), backend, seed) == there


@BOTH
def test_shift_by_a_number_of_the_row_keeps_ints_as_reals(backend: str) -> None:
    found = seen(watched("real each", "shift(pos * 2, step)"), backend, 0)
    editable = drawn(0)[2]
    wanted = [
        [2.0 * (i - row) if i >= row and editable[row, i - row] else math.nan for i in range(T)]
        for row in range(3)
    ]
    assert same(found, wanted)


# --- ids of the model


@BOTH
@pytest.mark.parametrize("word", ["eos", "bos", "pad"])
def test_an_id_of_the_model(backend: str, word: str) -> None:
    for id_ in (None, 0, 4):
        logits, canvas, _ = drawn(5)
        given = {f"{word}_id": id_}
        wanted = [[id_ is not None and int(one) == id_ for one in row] for row in canvas]
        assert seen(watched("mask", f"canvas == {word}"), backend, 5, **given) == wanted
        p = logits.softmax(-1)
        at = [[0.0 if id_ is None else float(p[r, i, id_]) for i in range(T)] for r in range(3)]
        found = seen(watched("prob each", f"p({word})"), backend, 5, **given)
        assert torch.allclose(torch.tensor(found), torch.tensor(at))
        head = f"  logits ban({word})\n"
        tokens = logits[..., :MASK].clone()
        if id_ is not None:
            tokens[..., id_] = -math.inf
        found = seen(watched("token each", "token", head=head), backend, 5, **given)
        assert found == tokens.argmax(-1).tolist()


@BOTH
def test_a_commit_of_an_id_that_there_is_not_writes_nothing(backend: str) -> None:
    text = f"policy p():\n  window blocks(8)\n  commit masked as pad\n{ANYTHING}"
    logits, canvas, editable = drawn(2)
    for id_ in (None, 4):
        step = dsldec.load(text).compile(backend, mask_id=MASK, pad_id=id_)
        after = step(logits, canvas, editable, started(step)).canvas
        written = (canvas == MASK) & (after != MASK)
        most = int(((canvas == MASK) & editable).sum())
        assert int(written.sum()) == (3 if id_ is None else most)
        assert id_ is None or bool((after[written] == id_).all())


@BOTH
def test_two_ids_that_there_are_not_differ(backend: str) -> None:
    for policy, wanted in ((watched("bool", "eos == pad"), False), (watched("bool", "eos != pad"), True)):
        step = policy.compile(backend, mask_id=MASK)
        assert ran(step, *drawn(0), started(step))["state_seen"].tolist() == [wanted] * 3


def test_the_ids_come_from_the_denoiser() -> None:
    class Toy:
        mask_id, vocab_size, pad_id = MASK, V, 3

        def __call__(self, ids: Tensor) -> Tensor:
            return torch.zeros(*ids.shape, V)

    text = "policy p():\n  window blocks(8)\n  logits ban(0, 1, 2)\n  commit masked as pad\n  commit top(masked, 1, by=conf)\n"
    found = dsldec.decode(Toy(), [[1, 2]], dsldec.load(text), gen_length=8)
    assert found.ids[0].tolist() == [1, 2, *[3] * 8]


# --- random numbers


@BOTH
def test_random_numbers_follow_from_key_step_and_place(backend: str) -> None:
    policy = watched("real each", "random + 2 * random(pos) + 4 * random(pos // 3)")
    step = policy.compile(backend, mask_id=MASK)
    state = started(step)
    found = ran(step, *drawn(1), state)["state_seen"]
    for row in range(3):
        key, at = int(state["key"][row]), int(state["step"][row])
        u = partial(noise.uniform_float, key, at)
        wanted = [u(0, 1) + 2 * u(i, 2) + 4 * u(i // 3, 3) for i in range(T)]
        assert torch.allclose(found[row], torch.tensor(wanted))


def test_each_place_draws_its_own_numbers_and_a_function_draws_anew() -> None:
    head = "  def anew() = random(pos)\n"
    for expression in ("random(pos) == random(pos)", "anew() == anew()"):
        assert not any(
            map(any, seen(watched("mask", expression, head=head if "anew" in expression else ""), "eager", 0))
        )
    text = "policy p():\n  window blocks(8)\n  x = random(pos)\n  commit masked and x != x\n  commit top(masked, 1, by=conf)\n"
    step = dsldec.load(text).compile("eager", mask_id=MASK)
    logits, canvas, editable = drawn(0)
    after = step(logits, canvas, editable, started(step)).canvas
    assert int((after != canvas).sum()) == 3, "a name has one value"
    assert not dsldec.load(text).facts.deterministic


def test_a_row_of_a_batch_draws_what_it_draws_alone() -> None:
    policy = watched("real each", "random + random(pos)")
    step = policy.compile("eager", mask_id=MASK)
    logits, canvas, editable = drawn(3)
    state = started(step)
    together = ran(step, logits, canvas, editable, state)["state_seen"]
    for row in range(3):
        one = slice(row, row + 1)
        alone = {name: value[one] for name, value in state.items()}
        assert torch.equal(
            ran(step, logits[one], canvas[one], editable[one], alone)["state_seen"], together[one]
        )


# --- tables by step


@BOTH
def test_a_table_by_step_ends_with_its_last_number(backend: str) -> None:
    rng = random.Random(0)
    for _ in range(5):
        table = [rng.randint(0, 8) / 8 for _ in range(rng.randint(1, 6))]
        policy = watched("real each", "of(taus, pos - 2)", "taus: table by step = 0.5", taus=table)
        wanted = [math.nan if i < 2 else table[min(i - 2, len(table) - 1)] for i in range(T)]
        assert same(seen(policy, backend, 0), [wanted] * 3)
        row = watched("real", "of(taus, step)", "taus: table by step = 0.5", taus=table)
        step = row.compile(backend, mask_id=MASK)
        found = ran(step, *drawn(0), started(step))["state_seen"].tolist()
        assert found == [table[min(r, len(table) - 1)] for r in range(3)]
    one = watched("real each", "of(taus, pos - 2)", "taus: table by step = 0.5")
    assert same(seen(one, backend, 0), [[math.nan] * 2 + [0.5] * 6] * 3)


# --- named choices


CHOICE = "policy p(way: conf | calm | kept = conf):\n  window blocks(8)\n  commit top(masked, 1, by=SCORE)\n"
SCORES = "conf if way == conf else -entropy * 1 if way == calm else before(conf)"


def names(policy: dsldec.Policy) -> Counter[str]:
    return Counter(f"{one.name} {one.attribute}" for one in policy.program.operations if one.name != "number")


def test_a_choice_leaves_no_operation_of_the_other_branches() -> None:
    policy = dsldec.load(CHOICE.replace("SCORE", SCORES))
    read = {way: policy.bind(way=way) for way in ("conf", "calm", "kept")}
    assert read["conf"].program.observations == {"token", "conf"}
    assert read["calm"].program.observations == {"token", "entropy"}
    assert "before_0" in read["kept"].program.carried
    assert "before_0" not in read["conf"].program.carried
    for way, score in (("conf", "conf"), ("calm", "-entropy * 1"), ("kept", "before(conf)")):
        alone = dsldec.load(CHOICE.replace("SCORE", score).replace("way: conf | calm | kept = conf", ""))
        assert names(read[way]) == names(alone)


@BOTH
def test_a_choice_in_conditions(backend: str) -> None:
    expression = "(masked if way == b else committed) and not (way != b and pos > 3)"
    for way in ("a", "b"):
        _, canvas, editable = drawn(4)
        masked = (canvas == MASK) & editable
        committed = (canvas != MASK) & editable & (torch.arange(T) <= 3)
        policy = watched("mask", expression, "way: a | b = a", way=way)
        assert seen(policy, backend, 4) == (masked if way == "b" else committed).tolist()


def test_a_choice_is_fixed_in_a_step_and_bound_by_name() -> None:
    policy = dsldec.load(CHOICE.replace("SCORE", SCORES))
    assert policy.facts.static == ("way",)
    assert policy.parameter_kinds == {"way": "choice"}
    assert policy.bind(way="calm").parameters == {"way": "calm"}
    assert policy.bind(way="calm").bind(way="conf").program == policy.program
    with pytest.raises(PolicyError, match='did you mean `way="calm"`'):
        policy.bind(way="clam")


@pytest.mark.parametrize(
    "statements",
    [
        "commit top(masked, 1, by=conf if way == conf else entropy)",
        "sure = conf if way == conf else entropy\n  commit top(masked, 1, by=sure)",
        "commit top(masked, 1, by=conf)\n  revoke committed at most committed_now - 1 by doubt if way == conf else conf",
    ],
)
def test_each_choice_of_a_score_ranks_the_right_way(statements: str) -> None:
    """Also the ones that are not chosen: no `by=` ranks the wrong way under any choice."""
    text = f"policy p(way: conf | entropy = conf):\n  window blocks(8)\n  {statements}\n"
    _, diagnostics = dsldec.check(text)
    assert [one.code for one in diagnostics] == ["E0206"]


def test_a_choice_may_have_the_name_of_a_parameter_or_of_no_word() -> None:
    text = "policy p(way: level | surest = surest, level: prob = 0.5):\n  window blocks(8)\n"
    text += "  commit masked and conf > (level if way == level else 0.9) at least 1 by conf\n"
    policy = dsldec.load(text)
    reads = {
        way: any(one.name == "parameter" for one in policy.bind(way=way).program.operations)
        for way in ("level", "surest")
    }
    assert reads == {"level": True, "surest": False}


@pytest.mark.parametrize("way", ["conf", "margin"])
def test_a_package_and_a_compiled_step_of_a_choice(way: str) -> None:
    """Exported for any number of rows, with the ids of the model among its inputs."""
    from dsldec.backends.exported import Sizes, exported

    text = "policy p(way: conf | margin = conf, taus: table by step = 0.9):\n  window blocks(8)\n"
    text += "  score = (conf if way == conf else margin) + shift(random(pos), 1)\n"
    text += "  commit masked and token != pad and score > of(taus, step) at least 1 by score\n"
    policy = dsldec.load(text, way=way, taus=[0.5, 0.25])
    sizes = Sizes(4, T, V, torch.float32, "cpu", any_rows=True)
    graph = exported(policy.program, policy.parameters, sizes).module()
    step = policy.compile("eager", mask_id=MASK, pad_id=4)
    logits, canvas, editable = drawn(6)
    state = started(step)
    ids = {"mask_id": torch.tensor(MASK), "eos_id": torch.tensor(-1)}
    params = dict(sorted({**step.params, **ids}.items()))
    canvas_, _, after, _ = graph(logits, canvas, editable, dict(sorted(state.items())), params)
    output = step(logits, canvas, editable, state)
    assert torch.equal(canvas_, output.canvas)
    assert all(torch.equal(after[name], output.state[name]) for name in after)


class WithEnd(ToyDenoiser):
    eos_id = 4


@pytest.mark.parametrize("backend", ["reference", "eager"])
def test_a_step_reads_the_ids_of_the_model_on_each_backend(backend: str) -> None:
    text = "policy p:\n  window all\n  commit masked and pos != 1 as eos\n  fill\n"
    decoded = dsldec.decode(
        WithEnd(0, 2.0), [[1, 2]], dsldec.load(text), gen_length=4, backend=backend, stop_at_eos=False
    )
    ids = decoded.ids[0].tolist()[2:]
    assert [ids[0], *ids[2:]] == [WithEnd.eos_id] * 3
