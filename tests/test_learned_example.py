"""`examples/learned`: its program trains a network that its policy takes, on prompts that are not held out."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import dsldec
from dsldec.models.tasks import TASKS
from dsldec.networks.network_file import read_network
from dsldec.tools.evaluate import held_out

FOLDER = Path(__file__).parent.parent / "examples" / "learned"
FILE = FOLDER / "learned_filter.safetensors"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("learned_train", FOLDER / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["learned_train"] = module
    spec.loader.exec_module(module)
    return module


def test_no_prompt_is_held_out(program: ModuleType) -> None:
    for task in TASKS:
        prompts = program.prompts_of(task, 250, 1)
        assert len(set(prompts)) == 250
        assert not {*prompts} & {example.prompt for example in held_out(task)}


def test_it_notes_the_inputs_of_the_policy(program: ModuleType) -> None:
    names = program.inputs_of_policy()
    policy = dsldec.load(FOLDER / "learned_filter.policy")
    assert policy.facts.networks == {"planner": len(names)}
    noting, diagnostics = dsldec.check(program.noting_policy(names))
    assert noting is not None
    assert {found.code for found in diagnostics} == {"W0201"}  # it only writes its states


def test_it_trains_a_network(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.safetensors"
    monkeypatch.setattr(sys, "argv", ["train.py", "--out", str(file), "--prompts", "2", "--epochs", "1"])
    program.main()
    assert "of the masked positions were right" in capsys.readouterr().out
    assert read_network(file).sizes == read_network(FILE).sizes
    policy = dsldec.load(FOLDER / "learned_filter.policy", planner=file)
    decoded = dsldec.decode(dsldec.from_pretrained(), ["What is 14+18?"], policy, gen_length=48)
    assert 1 <= int(decoded.forwards[0]) <= 48


def test_the_noted_inputs_are_those_of_learned(program: ModuleType) -> None:
    """The network in torch, on noted inputs, gives what `learned` gives in the policy's step."""
    names, of = program.inputs_of_policy(), read_network(FILE)
    noting = dsldec.load(program.noting_policy(names)).compile("eager", mask_id=11)
    text = (FOLDER / "learned_filter.policy").read_text(encoding="utf-8")
    text = text.replace("  place =", "  state score: real each = 0 per block\n  place =")
    text = text.replace("  commit", "  set score = expected\n  commit")
    step = dsldec.load(text, planner=of, block=9).compile("eager", mask_id=11)
    module, _ = program.network_of(len(names), True)
    at, state = 0, {}
    for place, layer in enumerate(of.layers):
        for name, shape in layer.weights:
            size = torch.Size(shape).numel()
            state[f"{place}.{name}"] = torch.tensor(of.numbers[at : at + size]).view(shape)
            at += size
    module.load_state_dict(state)
    logits = torch.randn(2, 9, 12, generator=torch.Generator().manual_seed(1))
    canvas = torch.tensor([[11] * 9, [3, 11, 11, 4, 11, 11, 11, 5, 11]])
    inside = torch.ones(2, 9, dtype=torch.bool)
    noted = noting(logits, canvas, inside, noting.start(2, 9)).state
    inputs = torch.stack([noted[f"state_input_{n}"] for n in range(len(names))], -1)
    with torch.no_grad():
        expected = module(inputs.nan_to_num(0.0)).squeeze(-1)
    found = step(logits, canvas, inside, step.start(2, 9)).state["state_score"]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_shipped_network_is_the_one_of_the_page() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"sha256.*`([0-9a-f]{64})`", page) == [hashlib.sha256(FILE.read_bytes()).hexdigest()]
    assert str(read_network(FILE).count) in page.replace(",", "")
