"""Networks at the command line and in the hosts: how they are bound, shown, stored, and what is refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.cli import main
from dsldec.engines.lm_eval.arguments import read_arguments
from dsldec.engines.sglang.served_policy import ServedPolicy
from dsldec.engines.transformers import custom_generate
from dsldec.engines.transformers.added_arguments import AddedArguments
from dsldec.engines.transformers.call_policy import CallPolicies
from dsldec.networks import network_file
from dsldec.runtime.request_parameters import require_own

from ..networks import SMALL, network, saved

TEXT = """policy own(brain: network, level: real = 0.0, block: int = 8 in 1..64):
  window blocks(block)
  score = learned(brain, conf, masked)
  commit masked and score > level at least 1 by score
"""
CASES = """case the network decides
  set {}
  conf    .25 .50 .75
  commit  0   1   2
  done
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "own.policy").write_text(TEXT)
    # conf - 2 * masked + 2 is above 0 wherever the model gives a probability.
    saved(network("linear 2 1"), tmp_path / "net.safetensors")
    return tmp_path


def test_a_network_is_set_by_its_file(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy, net = str(files / "own.policy"), f"brain=@{files / 'net.safetensors'}"
    texts = []
    for backend in ("eager", "reference"):
        assert (
            main(
                [
                    "run",
                    "What is 2+3?",
                    "--policy",
                    policy,
                    "--set",
                    net,
                    "--backend",
                    backend,
                    "--gen-length",
                    "16",
                ]
            )
            == 0
        )
        texts.append(capsys.readouterr().out.splitlines()[0])
    assert texts[0] == texts[1]
    assert main(["explain", policy, "--set", net]) == 0
    out = capsys.readouterr().out
    assert "  brain: network = linear 2 1 (3 weights, 12 bytes, sha256 " in out
    assert "  the network `brain` has 2 inputs at each position\n" in out
    assert main(["show", policy, "--stage", "ir", "--set", net]) == 0
    assert "  brain: network\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "code", "help"),
    [
        (None, "E0507", "bind one: `--set brain=@net.safetensors`"),
        ("brain=net.safetensors", "E0424", "name its file: `--set brain=@net.safetensors`"),
        ("brain=3", "E0424", "name its file: `--set brain=@3`"),
        ("brain=@none.safetensors", "E0504", "give the path of a network in a safetensors file"),
        ("brain=@own.policy", "E0504", "write it by safetensors"),
    ],
)
def test_a_wrong_network_is_reported(
    setting: str | None,
    code: str,
    help: str,
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(files)
    given = [] if setting is None else ["--set", setting]
    for verb in (
        ["run", "x", "--policy"],
        ["build", "--vocab", "20", "-o", "x.pt2"],
        ["precompile", "--vocab", "20"],
    ):
        assert main([*verb, "own.policy", *given]) == 2 - (code in ("E0504", "E0506") and setting is not None)
        err = capsys.readouterr().err
        assert f"error[{code}]" in err
        assert help in err


def test_a_case_names_a_network_from_its_own_folder(
    files: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    cases = files / "own.cases"
    cases.write_text(CASES.format("brain=@net.safetensors level=-9 block=3"))
    assert main(["test", str(files / "own.policy")]) == 0, capsys.readouterr().err
    cases.write_text(CASES.format("level=-9"))
    assert main(["test", str(files / "own.policy")]) == 1
    found = capsys.readouterr()
    assert "E0507" in found.out + found.err
    assert "`set brain=@net.safetensors`" in found.out + found.err
    cases.write_text(CASES.format("brain=@none"))
    assert main(["test", str(files / "own.policy")]) == 1
    found = capsys.readouterr()
    assert "E0504" in found.out + found.err


def test_a_request_names_no_network_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("a file was read")

    policy = dsldec.load(TEXT, brain=network("linear 2 1"))
    monkeypatch.setattr("dsldec.parameter_values.read_network", read)
    for value in ("/etc/passwd", network("linear 2 1"), 3):
        with pytest.raises(dsldec.UsageError, match="E0450"):
            require_own(policy, {"brain": value})
    require_own(policy, {"level": 0.5})


def test_the_configuration_of_a_server_names_a_file_and_its_requests_none(files: Path) -> None:
    config = {"policy": TEXT, "parameters": {"brain": str(files / "net.safetensors")}}
    served = ServedPolicy.of(config, 8)
    assert served.policy.parameters["brain"] == network("linear 2 1")
    with pytest.raises(dsldec.UsageError, match="E0450"):
        served.own_parameters({"brain": "/etc/passwd"})
    with pytest.raises(dsldec.UsageError, match="E0507"):
        ServedPolicy.of({"policy": TEXT}, 8)


def test_a_generation_configuration_names_no_file() -> None:
    class Call:
        """A call whose configuration has parameters, as a request to a server has."""

        def value(self, name: str) -> Any:
            return {"brain": "/etc/passwd"} if name == "parameters" else None

    policies = CallPolicies(dsldec.load(TEXT, brain=network("linear 2 1")))
    with pytest.raises(dsldec.UsageError, match="E0450"):
        policies.of(Call(), AddedArguments())  # type: ignore[arg-type]
    assert custom_generate(TEXT, brain=network("linear 2 1")) is not None


def test_a_policy_with_a_network_travels_and_is_known_by_its_digest(files: Path) -> None:
    file = str(files / "net.safetensors")
    values = pickle.loads(pickle.dumps(dsldec.load(TEXT, brain=file).parameters))
    assert dsldec.load(TEXT, **values).parameters["brain"] == network("linear 2 1")
    arguments = read_arguments(None, TEXT, 1, None, {"brain": file})
    assert network("linear 2 1").digest in json.dumps(arguments.decisive(), sort_keys=True)


def test_a_resumed_run_notices_another_network(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(network("linear 2 1", 7), files / "other.safetensors")
    out = files / "out.jsonl"
    common = [
        "run",
        "What is 2+3?",
        "--policy",
        str(files / "own.policy"),
        "--gen-length",
        "8",
        "--out",
        str(out),
    ]
    assert main([*common, "--set", f"brain=@{files / 'net.safetensors'}"]) == 0
    assert main([*common, "--set", f"brain=@{files / 'other.safetensors'}", "--resume"]) != 0
    assert "brain" in capsys.readouterr().err


def test_a_network_of_the_largest_size_is_read_quickly(tmp_path: Path) -> None:
    sizes = "linear 64 256, silu, self_attention 256 16, linear 256 1"
    with pytest.raises(network_file.WrongNetwork, match="has 280,065 weights"):
        network_file.read_network(saved(network(sizes), tmp_path / "net.safetensors"))
    sizes = sizes.replace("256", "240")
    assert network_file.read_network(saved(network(sizes), tmp_path / "net.safetensors")).count == 247_201
    assert network(SMALL).count == 12 + 80 + 5
