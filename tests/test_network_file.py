"""Which files hold a network? Every other file gets a diagnostic, and nothing in a file is run."""

from __future__ import annotations

import math
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import dsldec
from dsldec.diagnostics import Diagnostic, PolicyError, UsageError
from dsldec.files import LARGEST_NETWORK
from dsldec.language.words import Kind, Polarity
from dsldec.networks.layers import MOST_INPUTS, MOST_LAYERS, layers_of_text, layers_text
from dsldec.networks.network_file import WrongNetwork, read_network

from .networks import SMALL, metadata_of, network, safetensors, saved, tensors_of

TEXT = """policy p(brain: network):
  window blocks(4)
  commit masked and learned(brain, conf, margin) > 0.5 at least 1 by learned(brain, conf, margin)
"""


def wrong(file: Path) -> Diagnostic:
    with pytest.raises(WrongNetwork) as caught:
        read_network(file)
    assert caught.value.diagnostic.help
    return caught.value.diagnostic


def written(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "net.safetensors"
    file.write_bytes(content)
    return file


def test_a_network_is_read_as_it_was_written(tmp_path: Path) -> None:
    for polarity in Polarity:
        of = network(SMALL + ", sigmoid", 3, polarity)
        read = read_network(saved(of, tmp_path / "net.safetensors"))
        assert (read.layers, read.weights, read.polarity) == (of.layers, of.weights, polarity)
        assert read.kind is Kind.PROB
        assert read.digest == of.digest != network(SMALL + ", sigmoid", 4).digest


def test_the_state_of_a_torch_module_is_a_network(tmp_path: Path) -> None:
    parts = [nn.Linear(3, 8), nn.SiLU(), nn.MultiheadAttention(8, 2), nn.Linear(8, 1), nn.Sigmoid()]
    file = tmp_path / "net.safetensors"
    metadata = {"layers": "linear, silu, self_attention 2, linear, sigmoid", "inputs": "conf, margin, pos"}
    save_file(nn.Sequential(*parts).state_dict(), file, metadata)
    read = read_network(file)
    assert read.sizes == "linear 3 8, silu, self_attention 8 2, linear 8 1, sigmoid"
    assert read.input_names == ("conf", "margin", "pos")
    assert read.numbers[:24] == tuple(parts[0].weight.flatten().tolist())  # type: ignore[union-attr, operator]
    assert layers_text(layers_of_text(read.sizes)) == read.sizes


ONE = {"0.weight": ([1, 2], bytes(8)), "0.bias": ([1], bytes(4))}
LAYERS = {"layers": "linear"}
DEEP: dict[str, Any] = {
    f"{at}.{name}": (shape, bytes(4 * math.prod(shape)))
    for at in range(MOST_LAYERS + 1)
    for name, shape in (("weight", [1, 1]), ("bias", [1]))
}
TWO_ATTENTIONS = network("linear 1 2, self_attention 2 1, self_attention 2 1, linear 2 1")

WRONG: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "E0504", "not a safetensors file"),
    "a pickle": (b"\x80\x04\x95" + bytes(50), "E0504", "not a safetensors file"),
    "a long header": (struct.pack("<Q", 2**63) + bytes(9), "E0504", "not a safetensors file"),
    "a cut header": (safetensors(ONE, LAYERS)[:30], "E0504", "not a safetensors file"),
    "cut weights": (safetensors(ONE, LAYERS)[:-1], "E0504", "not a safetensors file"),
    "a list": (struct.pack("<Q", 2) + b"[]", "E0504", "not a safetensors file"),
    "deep JSON": (struct.pack("<Q", 4000) + b"[" * 4000, "E0504", "not a safetensors file"),
    "metadata of numbers": (safetensors(ONE, {"layers": 3}), "E0504", "not a safetensors file"),
    "offsets outside": (safetensors(ONE, LAYERS, data_offsets=[4, 900]), "E0504", "not a safetensors file"),
    "offsets of another size": (safetensors(ONE, LAYERS, data_offsets=[0, 4]), "E0504", "safetensors"),
    "negative offsets": (safetensors(ONE, LAYERS, data_offsets=[-8, 0]), "E0504", "not a safetensors file"),
    "no metadata": (safetensors(ONE, None), "E0505", "has no metadata `layers`"),
    "no layers": (safetensors(ONE, {"format": "pt"}), "E0505", "has no metadata `layers`"),
    "a misspelt entry": (safetensors(ONE, {"layer": "linear"}), "E0505", "has metadata `layer`"),
    "an unknown layer": (safetensors(ONE, {"layers": "conv"}), "E0505", "has the layer `conv`"),
    "a misspelt layer": (safetensors(ONE, {"layers": "liner"}), "E0505", "has the layer `liner`"),
    "an empty layer": (safetensors(ONE, {"layers": "linear,"}), "E0505", "has the layer ``"),
    "code": (safetensors(ONE, {"layers": "__import__('os')"}), "E0505", "has the layer `__import__"),
    "a number too many": (safetensors(ONE, {"layers": "linear 4"}), "E0505", "has the layer `linear 4`"),
    "no heads": (safetensors(ONE, {"layers": "linear, self_attention"}), "E0505", "`self_attention`"),
    "too many heads": (
        safetensors(ONE, {"layers": "linear, self_attention 3"}),
        "E0505",
        "has a `self_attention` of 3 heads over 1 number",
    ),
    "no first linear": (safetensors(ONE, {"layers": "silu, linear"}), "E0505", "begins with `silu`"),
    "half precision": (safetensors(ONE, LAYERS, dtype="F16"), "E0505", "in `F16`"),
    "a dtype of another type": (safetensors(ONE, LAYERS, dtype=[1]), "E0505", "in `[1]`"),
    "a shape of text": (safetensors(ONE, LAYERS, shape="x"), "E0505", "belongs to no layer"),
    "a negative shape": (safetensors(ONE, LAYERS, shape=[-1, 2]), "E0505", "belongs to no layer"),
    "a huge shape": (safetensors(ONE, LAYERS, shape=[10**9, 10**9]), "E0505", "has no weight of its layer 0"),
    "no bias": (safetensors({"0.weight": ONE["0.weight"]}, LAYERS), "E0505", "has no `0.bias`"),
    "a bias of another shape": (
        safetensors({**ONE, "0.bias": ([2], bytes(8))}, LAYERS),
        "E0505",
        "has `0.bias` as [2]",
    ),
    "a tensor more": (safetensors({**ONE, "2.bias": ([1], bytes(4))}, LAYERS), "E0505", "`2.bias`"),
    "two outputs": (
        safetensors({"0.weight": ([2, 2], bytes(16)), "0.bias": ([2], bytes(8))}, LAYERS),
        "E0505",
        "gives 2 numbers for each position",
    ),
    "layers that do not meet": (
        safetensors({**ONE, "1.weight": ([1, 3], bytes(12)), "1.bias": ([1], bytes(4))}, {"layers": "linear, linear"}),
        "E0505",
        "gives 1 number by layer 0, and layer 1 takes 3",
    ),
    "an early sigmoid": (
        safetensors({**ONE, "2.weight": ([1, 1], bytes(4)), "2.bias": ([1], bytes(4))}, {"layers": "linear, sigmoid, linear"}),
        "E0505",
        "has a `sigmoid` before its last layer",
    ),
    "two attentions": (
        safetensors(tensors_of(TWO_ATTENTIONS), metadata_of(TWO_ATTENTIONS)),
        "E0505",
        "has more than one `self_attention`",
    ),
    "too many layers": (
        safetensors(DEEP, {"layers": ", ".join(["linear"] * (MOST_LAYERS + 1))}),
        "E0505",
        f"has {MOST_LAYERS + 1} layers",
    ),
    "too many inputs": (
        safetensors({**ONE, "0.weight": ([1, MOST_INPUTS + 1], bytes(4 * MOST_INPUTS + 4))}, LAYERS),
        "E0505",
        f"has {MOST_INPUTS + 1} inputs",
    ),
    "too wide": (
        safetensors({**ONE, "0.weight": ([1, 257], bytes(4 * 257))}, LAYERS),
        "E0505",
        "has no weight of its layer 0",
    ),
    "NaN": (
        safetensors({**ONE, "0.bias": ([1], struct.pack("<f", math.nan))}, LAYERS),
        "E0505",
        "has the number nan in `0.bias`",
    ),
    "infinity": (
        safetensors({**ONE, "0.weight": ([1, 2], struct.pack("<2f", 0, -math.inf))}, LAYERS),
        "E0505",
        "has the number -inf in `0.weight`, at place 1",
    ),
    "a huge weight": (
        safetensors({**ONE, "0.bias": ([1], struct.pack("<f", 2e6))}, LAYERS),
        "E0505",
        "has the number 2000000.0",
    ),
    "another polarity": (safetensors(ONE, LAYERS | {"polarity": "high"}), "E0505", "has the polarity `high`"),
    "names of other inputs": (safetensors(ONE, LAYERS | {"inputs": "conf"}), "E0505", "names 1 input,"),
    "control codes": (safetensors(ONE, {"layers": "\x1b[31mred"}), "E0505", "has the layer ` [31mred`"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_another_file_gets_a_diagnostic(name: str, tmp_path: Path) -> None:
    content, code, message = WRONG[name]
    found = wrong(written(tmp_path, content))
    assert found.code == code
    assert message in found.message


def test_a_file_that_cannot_be_read_gets_a_diagnostic(tmp_path: Path) -> None:
    assert wrong(tmp_path / "none").message.endswith("cannot be read: no such file or directory")
    assert wrong(tmp_path).message.endswith("cannot be read: it is a directory")
    os.mkfifo(tmp_path / "pipe")
    assert "named pipe" in wrong(tmp_path / "pipe").message
    assert "larger than 2 MiB" in wrong(written(tmp_path, bytes(LARGEST_NETWORK + 1))).message
    assert wrong(Path("\0")).code == "E0504"


def test_damaged_files_get_a_diagnostic_or_are_networks(tmp_path: Path) -> None:
    rng, whole = random.Random(1), safetensors(tensors_of(network()), metadata_of(network()))
    refused, codes = 0, set[str]()
    for _ in range(3_000):
        content = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.2:
            content = content[: rng.randrange(len(content))]
        try:
            read_network(written(tmp_path, bytes(content)))
        except WrongNetwork as error:
            refused += 1
            codes.add(error.diagnostic.code)
    assert refused > 1_500
    assert codes == {"E0504", "E0505"}


# --- bound to a policy


def mistakes(**values: Any) -> list[Diagnostic]:
    with pytest.raises(PolicyError) as caught:
        dsldec.load(TEXT, **values)
    return caught.value.diagnostics


def test_a_policy_loads_a_network_by_the_path_of_its_file(tmp_path: Path) -> None:
    file = saved(network(), tmp_path / "net.safetensors")
    for path in (file, str(file)):
        assert dsldec.load(TEXT, brain=path).parameters["brain"] == network()
    (found,) = mistakes(brain=str(tmp_path / "none"))
    assert found.code == "E0504"
    (found,) = mistakes(brain=0.5)
    assert (found.code, found.help) == ("E0402", 'for example `brain="net.safetensors"`')


def test_a_policy_is_checked_without_a_network_and_does_not_run() -> None:
    policy = dsldec.load(TEXT)
    assert (policy.facts.networks, policy.facts.static) == ({"brain": 2}, ("brain",))
    assert policy.plan(8).max_forwards == 8
    with pytest.raises(UsageError) as caught:
        policy.compile("eager", mask_id=0)
    found = caught.value.diagnostic
    assert (found.code, found.help) == ("E0507", 'bind one: `brain="net.safetensors"`')


def test_a_network_with_other_inputs_does_not_fit() -> None:
    (found,) = mistakes(brain=network("linear 3 1"))
    assert found.code == "E0506"
    assert found.message == "the network for `brain` has 3 inputs, and the policy gives it 2"


def test_the_policy_is_checked_again_with_the_polarity_of_the_network() -> None:
    assert dsldec.load(TEXT, brain=network(polarity=Polarity.HIGH))
    (found,) = mistakes(brain=network(polarity=Polarity.LOW))
    assert (found.code, found.help) == ("E0206", "write `-learned(brain, conf, margin)`")
    assert found.span is not None
    assert found.span.line == 3


def test_the_policy_is_checked_again_with_the_kind_of_the_network() -> None:
    text = TEXT.replace("> 0.5", "> entropy")
    assert dsldec.load(text, brain=network())
    with pytest.raises(PolicyError) as caught:
        dsldec.load(text, brain=network(SMALL + ", sigmoid"))
    assert [found.code for found in caught.value.diagnostics] == ["E0205"]


@pytest.mark.parametrize(
    ("parameter", "code", "message"),
    [
        ("brain: network = 1", "E0208", "a network has no default and no range"),
        ("brain: network in 1..2", "E0208", "a network has no default and no range"),
        ("brain: prob", "E0213", "the parameter `brain` lacks its default"),
        ("brain: int in 1..2", "E0213", "the parameter `brain` lacks its default"),
        ("brain: net", "E0208", "`net` is not a kind of parameter"),
    ],
)
def test_a_parameter_of_another_form_gets_a_diagnostic(parameter: str, code: str, message: str) -> None:
    policy, diagnostics = dsldec.check(
        f"policy p({parameter}):\n  window all\n  commit top(masked, 1, by=conf)\n"
    )
    assert policy is None
    assert (code, message) in [(found.code, found.message) for found in diagnostics]


@pytest.mark.parametrize(
    "expression",
    [
        "brain > 0.5", "brain", "-brain > 0", "not brain", "brain + 1 > 0", "learned(conf, margin) > 0", "learned(brain) > 0",
        "learned > 0", "learned(brain, token) > 0", "learned(brain, brain) > 0", "learned(brain, before) > 0", "before(brain) > 0",
        "(brain if true else brain) > 0", "learned(brain if true else brain, conf) > 0", "max(brain) > 0", "p(brain) > 0",
        "of(brain, token) > 0", "learned(brain, x=conf) > 0", "learned(brain, conf, run(masked)) > 0", "same(brain)",
        "learned(before(brain), conf) > 0", "brain == brain", "learned(lore, conf) > 0", "learned(abs(brain), conf) > 0",
    ],
)  # fmt: skip
def test_a_network_stands_only_where_learned_reads_it(expression: str) -> None:
    text = f"policy p(brain: network, lore: table = 0):\n  window all\n  commit masked and {expression} at least 1 by conf\n"
    policy, diagnostics = dsldec.check(text)
    assert policy is None
    assert all(found.span is not None for found in diagnostics)


def test_a_network_may_be_named_and_read_in_a_function() -> None:
    text = """policy p(brain: network):
  window blocks(4)
  def score(net) = learned(net, conf, masked)
  mine = brain
  also = mine
  commit masked and score(also) > 0.5 and learned(brain, idle_so_far, true) > 0 at least 1 by score(brain)
""".replace("idle_so_far", "pos")
    policy = dsldec.load(text, brain=network())
    assert policy.facts.networks == {"brain": 2}
    step = policy.compile("reference", mask_id=5)
    assert (
        step(
            torch.randn(1, 4, 6), torch.full((1, 4), 5), torch.ones(1, 4).bool(), step.start(1, 4)
        ).canvas.min()
        < 5
    )
