"""`learned`: the reference equals a loop written from the definition and torch's own modules; every backend
equals the reference; a row does not depend on its batch or on the padding of its window.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import dsldec
from dsldec.backends.exported import Sizes, exported
from dsldec.backends.module_network import learned as of_module
from dsldec.backends.numerics import EXACT, FOR_ENGINES
from dsldec.backends.reference_network import learned as of_reference
from dsldec.backends.step import Step, StepOutput
from dsldec.backends.step_form import StepForm, program_key, sizes_of
from dsldec.networks.network import LearnedNetwork

from ..networks import network, plainly

MASK, EOS, V = 11, 4, 12
SIZES = (
    "linear 3 1",
    "linear 3 1, sigmoid",
    "linear 3 4, silu, linear 4 1",
    "linear 3 4, self_attention 4 1, linear 4 1, sigmoid",
    "linear 3 8, silu, self_attention 8 4, silu, linear 8 5, silu, linear 5 1",
)
TEXT = """policy p(brain: network, level: real = 0.25):
  "Commit where the network says so."
  window blocks(8)
  score = learned(brain, conf, entropy / 3, masked)
  state seen: real each = 0 per block
  set seen = score
  commit masked and score > level at least 1 by score
"""


# --- the meaning: a loop from the definition, and torch's modules


def some_inputs(seed: int, length: int, wild: bool) -> tuple[list[bool], list[list[float]]]:
    rng = random.Random(seed)
    mask = [rng.random() < 0.8 for _ in range(length)]
    mask[rng.randrange(length)] = True
    odd = [math.nan, math.inf, -math.inf, 3e7, -0.0]
    rows = [
        [rng.choice(odd) if wild and rng.random() < 0.1 else rng.randint(-8, 8) / 8 for _ in range(3)]
        for _ in range(length)
    ]
    return mask, rows


@pytest.mark.parametrize("sizes", SIZES)
def test_the_reference_is_the_definition(sizes: str) -> None:
    for seed in range(30):
        of = network(sizes, seed)
        mask, rows = some_inputs(seed, 1 + seed % 7, wild=seed % 3 == 0)
        found = of_reference(sizes, of.numbers, mask, *map(list, zip(*rows, strict=True)))
        expected = plainly(sizes, of.numbers, mask, rows)
        torch.testing.assert_close(
            torch.tensor(found), torch.tensor(expected), rtol=1e-6, atol=1e-6, equal_nan=True
        )


class Attention(nn.MultiheadAttention):
    """The layer `self_attention` with torch's own module."""

    outside: Tensor

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        read, _ = super().forward(x, x, x, key_padding_mask=self.outside, need_weights=False)
        return x + read


def of_torch(of: LearnedNetwork, outside: Tensor) -> nn.Sequential:
    """The network as torch's modules, in double precision."""
    parts: list[nn.Module] = []
    for layer in of.layers:
        if layer.name == "linear":
            parts.append(nn.Linear(layer.inputs, layer.outputs))
        elif layer.name == "self_attention":
            parts.append(Attention(layer.inputs, layer.heads, batch_first=True))
            parts[-1].outside = outside  # type: ignore[assignment]
        else:
            parts.append(nn.SiLU() if layer.name == "silu" else nn.Sigmoid())
    module = nn.Sequential(*parts).double()
    numbers = torch.tensor(of.numbers, dtype=torch.float64)
    at, state = 0, {}
    for place, layer in enumerate(of.layers):
        for name, shape in layer.weights:
            state[f"{place}.{name}"] = numbers[at : at + math.prod(shape)].view(shape)
            at += math.prod(shape)
    module.load_state_dict(state)
    return module.eval()


@pytest.mark.parametrize("sizes", SIZES)
def test_the_reference_is_what_torchs_modules_compute(sizes: str) -> None:
    for seed in range(10):
        of, length = network(sizes, seed), 2 + seed
        mask, rows = some_inputs(seed, length, wild=False)
        found = of_reference(sizes, of.numbers, mask, *map(list, zip(*rows, strict=True)))
        with torch.no_grad():
            x = torch.tensor([rows], dtype=torch.float64)
            expected = of_torch(of, ~torch.tensor([mask]))(x).squeeze(0).squeeze(-1)
        expected = torch.where(torch.tensor(mask), expected, math.nan).float()
        torch.testing.assert_close(torch.tensor(found), expected, rtol=2e-6, atol=2e-6, equal_nan=True)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_module_is_the_reference(sizes: str) -> None:
    for seed in range(30):
        of, length = network(sizes, seed), 1 + seed % 9
        rows = [some_inputs(seed * 10 + b, length, wild=seed % 3 == 0) for b in range(3)]
        expected = [
            of_reference(sizes, of.numbers, mask, *map(list, zip(*each, strict=True))) for mask, each in rows
        ]
        weights = torch.tensor(of.numbers)
        mask = torch.tensor([mask for mask, _ in rows])
        inputs = torch.tensor([each for _, each in rows]).unbind(-1)
        found = of_module(EXACT, sizes, weights, mask, *inputs)
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=0, equal_nan=True)
        in_floats = of_module(FOR_ENGINES, sizes, weights, mask, *(x.clamp(-4, 4) for x in inputs))
        assert in_floats.dtype == torch.float32


# --- a step


def inputs(step: Step, rows: int, length: int, seed: int) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, length, V, generator=generator)
    canvas = torch.randint(0, MASK, (rows, length), generator=generator)
    canvas[torch.rand(rows, length, generator=generator) < 0.7] = MASK
    editable = torch.rand(rows, length, generator=generator) < 0.9
    return logits, canvas, editable, step.start(rows, length)


def assert_close(one: StepOutput, other: StepOutput) -> None:
    """Ids and flags are equal; scores nearly."""
    assert torch.equal(one.canvas, other.canvas)
    assert torch.equal(one.done, other.done)
    for name, value in one.state.items():
        torch.testing.assert_close(value, other.state[name], rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("sizes", SIZES)
def test_eager_equals_reference(sizes: str) -> None:
    for seed in range(10):
        policy = dsldec.load(TEXT, brain=network(sizes, seed))
        slow, fast = (policy.compile(backend, mask_id=MASK, eos_id=EOS) for backend in ("reference", "eager"))
        given = inputs(slow, 1 + seed % 3, (1, 5, 8)[seed % 3], seed)
        assert_close(slow(*given), fast(*given))


def test_inductor_equals_reference_for_any_rows_and_any_weights() -> None:
    """One compiled form serves every network with the same layers."""
    policy = dsldec.load(TEXT, brain=network(SIZES[4], 0))
    function = policy.compile("inductor", mask_id=MASK, eos_id=EOS).function
    for seed in range(6):
        policy = policy.bind(brain=network(SIZES[4], seed))
        slow, fast = (
            policy.compile(backend, mask_id=MASK, eos_id=EOS) for backend in ("reference", "inductor")
        )
        assert fast.function is function
        given = inputs(slow, 2 + seed % 3, 8, seed)
        assert_close(slow(*given), fast(*given))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_a_row_does_not_depend_on_its_batch_or_on_padding(sizes: str, seed: int) -> None:
    step = dsldec.load(TEXT, brain=network(sizes, seed)).compile("eager", mask_id=MASK, eos_id=EOS)
    logits, canvas, editable, state = inputs(step, 5, 8, seed)
    together = step(logits, canvas, editable, state)
    for row in range(5):
        one = slice(row, row + 1)
        alone = step(logits[one], canvas[one], editable[one], {n: v[one] for n, v in state.items()})
        assert torch.equal(alone.canvas, together.canvas[one])
        assert torch.equal(
            alone.state["state_seen"].nan_to_num(9), together.state["state_seen"][one].nan_to_num(9)
        )
    padded = step(
        torch.cat([logits, torch.randn(5, 7, V)], 1),
        torch.cat([canvas, torch.full((5, 7), MASK)], 1),
        torch.cat([editable, torch.zeros(5, 7, dtype=torch.bool)], 1),
        step.start(5, 15),
    )
    assert torch.equal(padded.canvas[:, :8], together.canvas)
    assert torch.equal(
        padded.state["state_seen"][:, :8].nan_to_num(9), together.state["state_seen"].nan_to_num(9)
    )


def test_the_key_of_a_step_has_the_layers_and_not_the_weights() -> None:
    one, same, other = (
        dsldec.load(TEXT, brain=network(sizes, seed))
        for sizes, seed in ((SIZES[2], 0), (SIZES[2], 1), (SIZES[1], 0))
    )
    keys = [
        program_key(policy.program, policy.compile("eager", mask_id=MASK).static)
        for policy in (one, same, other)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_form_travels_as_text_and_takes_any_rows() -> None:
    policy = dsldec.load(TEXT, brain=network(SIZES[4]))
    static = policy.compile("eager", mask_id=MASK).static
    form = StepForm(policy.program, static, sizes_of(True, 8, V, "float32", frozenset()), {"brain": 5}, 1)
    again = StepForm.from_text(form.text())
    assert again.static == {"brain": SIZES[4]}
    assert str(again.values["brain"]) != str(policy.parameters["brain"])
    sizes = Sizes(4, 8, V, torch.float32, "cpu", any_rows=True)
    assert exported(again.program, again.values, sizes).example_inputs[0][0].shape[0] == 4


@pytest.mark.slow
def test_a_package_holds_the_weights(tmp_path: Path) -> None:
    from dsldec import packages
    from dsldec.backends import aot

    policy = dsldec.load(TEXT, brain=network(SIZES[4], 5))
    file = tmp_path / "step.pt2"
    aot.build(policy.program, policy.parameters, Sizes(2, 8, V), file)
    said = aot.about(file)["params"]["brain"]
    assert (said["kind"], said["layers"], said["fixed"]) == ("network", SIZES[4], True)
    assert tuple(said["value"]) == network(SIZES[4], 5).numbers
    packaged = packages.load(file, mask_id=MASK, eos_id=EOS)
    slow = policy.compile("reference", mask_id=MASK, eos_id=EOS)
    given = inputs(slow, 2, 8, 1)
    assert_close(slow(*given), packaged(*given))
