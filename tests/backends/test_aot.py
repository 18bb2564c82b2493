"""Packages: equal to the eager step, for any model and parameters, readable and runnable where dsldec is not
installed.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec import packages
from dsldec.backends import aot, manifest, sealed, toolchain
from dsldec.backends.exported import Sizes
from dsldec.backends.step import Events, Step, StepOutput
from dsldec.ir.protocol import EVENTS
from dsldec.policy import Policy

from ..conftest import Built
from ..shipped import CORE

OWN_ARTEFACT = Path(__file__).parent.parent.parent / "examples" / "own_artefact.py"

# Of all that a step carries or reads: a state at each position, phases, random numbers, a table, the
# end-of-text token.
BROAD = """\
policy broad(level: prob = 0.3, lore: table = 0.0):
  window all
  logits bias(lore)
  state calm: int each = 0 per block
  phase opening:
    commit top(masked, 1, by=conf)
    set calm = calm + 1 if conf > level else 0
    next ending when any(masked and calm > 1)
  phase ending:
    commit (masked and conf > level) or chance(masked, 0.2) at least 1 by conf
    finish when eos_closed
"""
B, T, V = 3, 6, 24


def logits_of(generator: torch.Generator, rows: int, length: int, vocabulary: int) -> Tensor:
    """Some positions surer than others, so that steps differ in how much they write."""
    return (
        torch.randn(rows, length, vocabulary, generator=generator)
        * torch.rand(rows, length, 1, generator=generator)
        * 12
    )


def assert_alike(
    left: Step, right: Step, shape: tuple[int, int, int], steps: int = 8, dtype: torch.dtype = torch.float32
) -> list[Events]:
    """Both write the same, step by step, each on with its own canvas and state; the events are given back."""
    rows, length, vocabulary = shape
    generator = torch.Generator().manual_seed(7)
    editable = torch.rand(rows, length, generator=generator) < 0.9
    canvases = [torch.full((rows, length), left.mask_id)] * 2
    states = [left.start(rows, length, generation_length=2 * length, vocab_size=vocabulary) for _ in range(2)]
    seen: list[Events] = []
    for state in states:
        if "key" in state:
            state["key"] = torch.arange(rows) + 5
    for count in range(steps):
        logits = logits_of(generator, *shape).to(dtype)
        results = [
            step(logits, canvas, editable, state)
            for step, canvas, state in zip((left, right), canvases, states, strict=True)
        ]
        (canvas, done, state, events), (other_canvas, other_done, other_state, other_events) = results
        assert torch.equal(canvas, other_canvas), count
        assert torch.equal(done, other_done), count
        for found, expected in ((state, other_state), (events.by_name(), other_events.by_name())):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
        canvases, states = [canvas, other_canvas], [state, other_state]
        seen.append(events)
    return seen


def loaded(built: Built, policy: Policy, **ids: int) -> tuple[Step, Step]:
    """The package as a step with a policy's parameter values, and the policy's own eager step."""
    eager, step = policy.compile("eager", **ids), packages.load(built.file, **ids)
    return eager, Step(
        step.program,
        step.backend,
        step.mask_id,
        step.eos_id,
        {**step.params, **eager.params},
        step.function,
        step.static,
    )


@pytest.fixture(scope="module")
def broad(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Path]:
    policy = dsldec.load(BROAD, lore=[0.25 * (id_ % 3) for id_ in range(V)])
    file = tmp_path_factory.mktemp("broad") / "broad.pt2"
    aot.build(policy.program, policy.parameters, Sizes(B, T, V, torch.bfloat16), file)
    return policy, file


def test_a_package_equals_eager_under_any_parameters(built: Built) -> None:
    policy, written = dsldec.load("threshold"), []
    for confidence in (0.9, 0.3):
        eager, step = loaded(built, policy.bind(confidence=confidence), mask_id=17)
        assert_alike(eager, step, (2, 32, 818))
        logits = logits_of(torch.Generator().manual_seed(1), 2, 32, 818)
        canvas, _, _, _ = step(
            logits, torch.full((2, 32), 17), torch.ones(2, 32, dtype=torch.bool), step.start(2, 32)
        )
        written.append(int((canvas != 17).sum()))
    assert written[0] < written[1]


@pytest.mark.parametrize(
    "ids", [{"mask_id": V - 1, "eos_id": 3}, {"mask_id": 0, "eos_id": 8}, {"mask_id": 0}], ids=str
)
def test_a_package_equals_eager_for_any_model(broad: tuple[Policy, Path], ids: dict[str, int]) -> None:
    policy, file = broad
    events = assert_alike(
        policy.compile("eager", **ids), packages.load(file, **ids), (B, T, V), dtype=torch.bfloat16
    )
    assert {int(phase) for each in events if each.phase is not None for phase in each.phase} == {0, 1}


def test_the_end_of_text_is_an_input(broad: tuple[Policy, Path]) -> None:
    """Two positions end the text; without an end the row goes on."""
    _, file = broad
    canvas = torch.tensor([[5, 3] + [0] * (T - 2)] * B)
    logits = torch.zeros(B, T, V, dtype=torch.bfloat16)
    done = []
    for eos_id in (3, None):
        step = packages.load(file, mask_id=0, eos_id=eos_id)
        state = step.start(B, T) | {"phase": torch.ones(B, dtype=torch.int64)}
        done.append(step(logits, canvas, torch.ones(B, T, dtype=torch.bool), state)[1].tolist())
    assert done == [[True] * B, [False] * B]


def test_decoding_with_a_package_is_decoding(built: Built) -> None:
    denoiser = dsldec.from_pretrained()
    prompt = "What is 14+18?"
    decoded = dsldec.decode(denoiser, [prompt] * 2, "threshold", gen_length=64, stop_at_eos=False)
    step = packages.load(built.file, mask_id=denoiser.mask_id, eos_id=denoiser.eos_id)
    begin = len(denoiser.encode(prompt))
    ids = torch.tensor([denoiser.encode(prompt) + [denoiser.mask_id] * 64] * 2)
    state = step.start(2, 32, generation_length=64)
    for start in (0, 32):
        window, done = slice(begin + start, begin + start + 32), torch.tensor([False])
        state["window_start"] = torch.tensor([start] * 2)
        while not done.all():
            ids[:, window], done, state, _ = step(
                denoiser(ids)[:, window], ids[:, window], torch.ones(2, 32, dtype=torch.bool), state
            )
    assert ids.tolist() == [row.tolist() for row in decoded.ids]


def test_what_a_package_says_is_read_without_dsldec(built: Built) -> None:
    with zipfile.ZipFile(built.file) as archive:
        (inside,) = (name for name in archive.namelist() if name.endswith("wrapper_metadata.json"))
        said = json.loads(json.loads(archive.read(inside))["dsldec"])
    assert (
        said
        == json.loads(torch._inductor.aoti_load_package(str(built.file)).get_metadata()["dsldec"])
        == aot.about(built.file)
    )
    policy = dsldec.load("threshold")
    assert said["policy"]["text"] == policy.facts.source
    assert (said["torch"], said["device"], said["sizes"]) == (
        torch.__version__,
        "cpu",
        {"B": 2, "T": 32, "V": 818},
    )
    assert said["facts"]["floor_per_step"] == policy.facts.floor_per_step
    assert said["facts"]["forwards_bound_of_a_window"] == policy.facts.forwards_bound(32, policy.parameters)
    assert (said["facts"]["static"], said["facts"]["dynamic"]) == (["block"], ["confidence"])
    assert {name: (of["kind"], of["value"], of["fixed"]) for name, of in said["params"].items()} == {
        "block": ("int", 32, True), "confidence": ("prob", 0.9, False), "eos_id": ("token", -1, False), "mask_id": ("token", None, False),
    }  # fmt: skip
    step = policy.compile("eager", mask_id=0)
    for name, value in step.start(2, 32).items():
        of = said["state"][name]
        assert torch.equal(torch.full(of["shape"], of["first"], dtype=getattr(torch, of["dtype"])), value)
    assert [name for name, of in said["state"].items() if of["yours"]] == [
        "generation_length",
        "window_start",
    ]
    events = step.no_events(2, 32).by_name()
    assert said["events"] == {
        name: manifest.form(x) | {"means": EVENTS[name].meaning} for name, x in events.items()
    }
    assert list(said["state"]) == sorted(said["state"])
    assert list(said["params"]) == sorted(said["params"])


def of_torch(name: str = "torch") -> set[str]:
    """The names of the distributions that torch cannot do without, installed ones only."""
    try:
        needs = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return set()
    return {name}.union(
        *(of_torch(re.split(r"[^\w.-]", need)[0]) for need in needs if "extra ==" not in need)
    )


@pytest.fixture
def only_torch(tmp_path: Path) -> Path:
    """A folder of links to torch and what it needs, and to nothing else of this environment."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in of_torch():
        distribution = importlib.metadata.distribution(name)
        for part in {
            file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (folder / part).exists():
                (folder / part).symlink_to(Path(str(distribution.locate_file(part))))
    return folder


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_package_runs_where_dsldec_is_not_installed(built: Built, only_torch: Path) -> None:
    program = f"""
import sys
sys.path.append({str(only_torch)!r})
try:
    import dsldec
except ImportError:
    print("no dsldec")
import runpy
sys.argv = ["own_artefact.py", {str(built.file)!r}]
runpy.run_path({str(OWN_ARTEFACT)!r}, run_name="__main__")
"""
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=only_torch, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("no dsldec\npolicy threshold("), ran.stdout
    assert re.search(
        r"2 rows of 32 positions in \d+ forwards, at most 32; dsldec imported: False", ran.stdout
    )


def call(step: Step, **other: Tensor | dict[str, Tensor]) -> StepOutput:
    generator = torch.Generator().manual_seed(2)
    inputs = {
        "logits": logits_of(generator, 2, 32, 818),
        "canvas": torch.full((2, 32), 1),
        "editable": torch.ones(2, 32, dtype=torch.bool),
    }
    return step(**(inputs | {"state": step.start(2, 32)} | other))  # type: ignore[arg-type]


def test_names_in_any_order_and_slices_are_taken(built: Built) -> None:
    step = packages.load(built.file, mask_id=1)
    wanted = call(step)[0]
    backwards = {
        name: dict(reversed(list(values.items())))
        for name, values in (("state", step.start(2, 32)), ("params", step.params))
    }
    assert torch.equal(call(step, **backwards)[0], wanted)
    logits = logits_of(torch.Generator().manual_seed(2), 2, 32, 818)
    around = torch.nn.functional.pad(logits, (0, 0, 3, 4))[:, 3:-4]
    assert not around.is_contiguous()
    assert torch.equal(call(step, logits=around)[0], wanted)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (
            {"logits": torch.zeros(1, 32, 818)},
            "`logits` as float32[2, 32, 818] on cpu, not float32[1, 32, 818] on cpu",
        ),
        ({"logits": torch.zeros(2, 32, 818).half()}, "not float16[2, 32, 818]"),
        ({"canvas": torch.zeros(2, 31, dtype=torch.int64)}, "`canvas` as int64[2, 32]"),
        ({"params": {}}, "other names than the given ones: `block`, `confidence`, `eos_id`, `mask_id`"),
        (
            {"logits": torch.zeros(2, 32, 818, device="meta")},
            "on cpu, not float32[2, 32, 818] on meta",
        ),
    ],
)
def test_what_a_package_was_not_built_for_is_said(built: Built, other: dict[str, Tensor], says: str) -> None:
    with pytest.raises(dsldec.UsageError) as caught:
        call(packages.load(built.file, mask_id=1), **other)
    assert caught.value.diagnostic.code == "E0413"
    assert says in str(caught.value)


def test_a_file_that_is_no_package_is_said(built: Built, tmp_path: Path) -> None:
    text, other = tmp_path / "text.pt2", tmp_path / "other.pt2"
    text.write_text("no archive")
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("step/data/aotinductor/model/x.wrapper_metadata.json", "{}")
    for file, says in (
        (text, "not a package built by dsldec"),
        (other, "not a package built by dsldec"),
        (tmp_path / "none.pt2", "no such file"),
    ):
        with pytest.raises(dsldec.UsageError, match=says) as caught:
            packages.load(file, mask_id=1)
        assert caught.value.diagnostic.code == "E0413"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda said: said["state"].pop("step"), "its policy is another step for this one"),
        (
            lambda said: said["policy"].update(text="policy later():\n  frob\n"),
            "its policy is another step for this one",
        ),
        (lambda said: said.update(torch="9.9"), "it was built by torch 9.9"),
    ],
)
def test_a_package_of_another_time_is_said(built: Built, tmp_path: Path, change, says: str) -> None:
    """As if by another version: what the package says is changed, and its machine code is left out."""
    said = aot.about(built.file)
    change(said)
    changed = tmp_path / "changed.pt2"
    with zipfile.ZipFile(changed, "w") as archive:
        archive.writestr(
            "step/data/aotinductor/model/x.wrapper_metadata.json", json.dumps({"dsldec": json.dumps(said)})
        )
        archive.writestr("step/data/aotinductor/model/x.wrapper.so", "")
    sealed.seal(changed)
    with pytest.raises(dsldec.UsageError) as caught:
        packages.load(changed, mask_id=1)
    assert caught.value.diagnostic.code == "E0413"
    assert says in str(caught.value)


def build(text: str, tmp_path: Path, sizes: Sizes) -> str:
    policy = dsldec.load(text)
    with pytest.raises(dsldec.UsageError) as caught:
        aot.build(policy.program, policy.parameters, sizes, tmp_path / "step.pt2")
    assert list(tmp_path.iterdir()) == []
    return str(caught.value)


def test_what_cannot_be_built_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = build(
        "policy p(mask_id: int = 3):\n  window all\n  commit top(masked, mask_id, by=conf) at least 1 by conf\n",
        tmp_path,
        Sizes(1, 4, 8),
    )
    assert taken.startswith("error[E0412]: `mask_id` is a parameter of the policy `p`")
    assert build("static", tmp_path, Sizes(2**20, 2**20, 2)).startswith(
        "error[E0412]: a step over 2199023255552 logits"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build("static", tmp_path, Sizes(1, 4, 8, device="cuda")).startswith(
        "error[E0404]: torch finds no CUDA device"
    )
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    assert build("static", tmp_path, Sizes(1, 4, 8)).startswith(
        "error[E0404]: building a step needs a C++ compiler"
    )


CASES = [
    *((name, torch.float32) for name in CORE),
    ("dico", torch.float16),
    ("klass", torch.bfloat16),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_every_shipped_policy_as_a_package(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    policy = dsldec.load(name, block=16)
    aot.build(policy.program, policy.parameters, Sizes(2, 16, 64, dtype), tmp_path / "step.pt2")
    ids = {"mask_id": 63, "eos_id": 4}
    step = packages.load(tmp_path / "step.pt2", **ids)
    assert_alike(policy.compile("eager", **ids), step, (2, 16, 64), dtype=dtype)
    assert_alike(policy.compile("inductor", **ids), step, (2, 16, 64), dtype=dtype)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a compiler made of a shell script")
def test_a_compiler_that_does_not_work_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    environment.pop("CXX", None)
    command = [
        sys.executable,
        "-m",
        "dsldec",
        "build",
        "static",
        "--vocab",
        "8",
        "--window",
        "4",
        "-o",
        str(tmp_path / "step.pt2"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 2, ran.stderr[-2000:]
    assert "error[E0404]: the step could not be compiled" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "step.pt2").exists()
