"""The messages of the command line for models that cannot be decoded: a code, a reason, the text to type, and
no traceback.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from dsldec.cli import main

from . import tiny


class Ran:
    """`dsldec run` on a model's folder: its exit status and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> None:
        given = (
            "--model",
            str(folder),
            "--device",
            "cpu",
            "--backend",
            "eager",
            "--no-live",
            "--policy",
            "static",
            *arguments,
        )
        self.status = main(["run", *given])
        self.out, self.err = capsys.readouterr()
        assert "Traceback" not in self.out + self.err


def causal(folder: Path) -> Path:
    return tiny.saved(folder, "llama", vary={"is_causal": None})


def headless(folder: Path) -> Path:
    return tiny.saved(folder, "bert", vary={"architectures": ["BertModel"]})


def no_mask(folder: Path) -> Path:
    return tiny.saved(folder, "llama", mask=False)


def whole(folder: Path) -> Path:
    return tiny.saved(folder, "llama")


def own_code(folder: Path) -> Path:
    return tiny.saved(folder, "llada")


def varied(**config: Any) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        file = tiny.saved(folder, "llama") / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | config))
        return folder

    return made


def no_numbers(folder: Path) -> Path:
    """The second word of the vocabulary is no number, so that prompts with it fail and others do not."""
    weights = transformers.modeling_utils.load_state_dict(
        str(tiny.saved(folder, "llama") / "model.safetensors")
    )
    broken = {name: tensor.clone() for name, tensor in weights.items()}
    broken["model.embed_tokens.weight"][4] = torch.nan
    tiny.save_file(broken, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def larger_tokenizer(folder: Path) -> Path:
    """A vocabulary of the model that ends before that of its tokenizer."""
    tiny.model("LlamaForCausalLM", tiny.BOTH_SIDES | {"vocab_size": 40}).save_pretrained(folder)
    tiny.tokenizer(folder)
    return folder


def failing_template(folder: Path) -> Path:
    tiny.saved(folder, "llama", chat=True)
    template = folder / "chat_template.jinja"
    assert template.is_file()
    template.write_text("{{ raise_exception('only a system may speak') }}")
    return folder


@pytest.mark.parametrize(
    ("made", "arguments", "status", "code", "says"),
    [
        (causal, "", 2, "E0405", ["(LlamaForCausalLM) is causal", '`"is_causal": false`']),
        (headless, "", 2, "E0405", ["(BertModel) has no language-model head", "`AutoModelForMaskedLM`"]),
        (own_code, "", 2, "E0405", ["needs the Python code in its folder", "`--trust-remote-code`"]),
        (no_mask, "", 2, "E0405", ["has no mask token", "`--mask-id N`"]),
        (no_mask, "--mask-id 50", 2, "E0408", ["its `mask_id` is 50 and its `vocab_size` 50"]),
        (no_mask, "--mask-id 1", 2, "E0408", ["its `eos_id` is 1, and so is its `mask_id`"]),
        (whole, "--dtype int8", 2, "E0422", ["unknown value `int8` for `--dtype`"]),
        (whole, "--block-length 0", 2, "E0422", ["`--block-length`"]),
        (whole, "--gen-length 66", 2, "E0430", ["leaves no room for a prompt: the model takes 66 tokens in all", "`--gen-length 33`"]),
        (whole, "--gen-length 64", 1, "E0407", ["3 tokens and 64 to generate are more than the model's limit of 66", "`--gen-length 63`"]),
        (larger_tokenizer, "", 1, "E0409", ["the prompt holds the id 47, and the vocabulary has 40"]),
        (varied(auto_map=["modeling.Model"]), "", 2, "E0405", ["`auto_map`, a table of classes"]),
        (varied(architectures=[None]), "", 2, "E0405", ["`architectures`, a list of classes"]),
        (varied(architectures="LlamaForCausalLM"), "", 2, "E0405", ["`architectures`, a list of classes"]),
        (failing_template, "", 2, "E0409", ["the chat template of the model's tokenizer fails", "only a system may speak", "`--raw`"]),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_what_to_type(
    made: Callable[[Path], Path],
    arguments: str,
    status: int,
    code: str,
    says: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = Ran(capsys, made(tmp_path / "model"), "w1 w2 w44", *arguments.split())
    assert (ran.status, ran.out) == (status, "")
    assert f"error[{code}]: " in ran.err
    assert all(part in ran.err for part in says), ran.err
    assert "help: " in ran.err


def test_code_under_the_name_of_ours_is_neither_run_nor_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers asks at a terminal whether to run code, where nothing tells it not to."""
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "y")
    reference, ran = "modeling_dsldec.Model", tmp_path / "ran"
    autos = dict.fromkeys(
        ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM"), reference
    )
    for name, config in [
        ("known", {"auto_map": autos}),
        ("unknown", {"auto_map": autos, "model_type": "nobodys"}),
        ("no decoder", {"auto_map": {"AutoModelForCausalLM": reference}, "model_type": "clip_vision_model"}),
    ]:
        folder = varied(**config)(tmp_path / name)
        (folder / "modeling_dsldec.py").write_text(
            f"open({str(ran)!r}, 'w')\nfrom transformers import LlamaForCausalLM as Model\n"
        )
        assert Ran(capsys, folder, "w1", "--gen-length", "2").status == (0 if name == "known" else 2)
    assert not asked
    assert not ran.exists()


def test_a_kernel_on_a_hub_is_not_fetched_because_a_folder_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr(
        "transformers.integrations.hub_kernels.get_kernel", lambda *name, **how: fetched.append(name)
    )
    for name in ("attn_implementation", "_attn_implementation"):
        folder = varied(**{name: "kernels-community/flash-attn2"})(tmp_path / name)
        assert Ran(capsys, folder, "w1", "--gen-length", "2").status == 0
    assert not fetched


def test_a_prompt_that_is_too_long_leaves_the_others_their_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, whole(tmp_path), "w1", " ".join(["w2"] * 60), "--gen-length", "8")
    assert ran.status == 1
    assert (
        "prompt `1`: error[E0407]: 60 tokens and 8 to generate are more than the model's limit of 66"
        in ran.err
    )
    assert "help: generate less: `--gen-length 6`" in ran.err
    assert "1 of 2 prompts" in ran.err


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_logits_that_are_no_numbers_are_told_with_prompt_step_and_position(
    dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Ran(capsys, no_numbers(tmp_path), "w3 w4", "w1 w3", "w4", "--gen-length", "4", "--dtype", dtype)
    assert ran.status == 1
    assert (
        "prompt `1`: error[E0406]: the denoiser gave logits that are not finite in step 1 at generated position 0"
        in ran.err
    )
    help = "try the model in float32" if dtype == "bfloat16" else "they come from the model's weights or code"
    assert f"help: {help}" in ran.err
    assert "2 of 3 prompts" in ran.err


def full(*arguments: Any, **given: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def no_pages(*arguments: Any, **given: Any) -> None:
    raise RuntimeError(
        "[enforce fail at alloc_cpu.cpp:116] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
    )


@pytest.mark.parametrize("fails", [full, no_pages])
@pytest.mark.parametrize("place", ["load", "move", "probe"])
def test_memory_that_does_not_suffice_for_the_model_names_the_flag(
    place: str,
    fails: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = whole(tmp_path)
    places = {
        "load": (transformers.PreTrainedModel, "from_pretrained"),
        "move": (transformers.PreTrainedModel, "to"),
        "probe": (transformers.LlamaForCausalLM, "forward"),
    }
    monkeypatch.setattr(*places[place], fails)
    for dtype, says in (
        ("float32", "load it smaller: `--dtype bfloat16`; or a smaller model"),
        ("bfloat16", "help: a smaller model"),
    ):
        ran = Ran(capsys, folder, "w1", "--dtype", dtype)
        assert (ran.status, ran.out) == (2, "")
        assert f"error[E0405]: `{folder}` in {dtype} does not fit into the memory of `cpu`" in ran.err
        assert says in ran.err


def test_memory_that_does_not_suffice_half_way_names_the_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forward = transformers.LlamaForCausalLM.forward

    def crowded(model: Any, input_ids: torch.Tensor, **given: Any) -> Any:
        return full() if len(input_ids) > 2 else forward(model, input_ids=input_ids, **given)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", crowded)
    folder, prompts = whole(tmp_path), ("w1", "w2", "w3")
    ran = Ran(capsys, folder, *prompts, "--gen-length", "4", "--batch", "4")
    assert ran.status == 1
    assert "prompt `0` and 2 more: error[E0410]: the denoiser failed" in ran.err
    assert "fewer prompts side by side need less memory: `--batch 2`" in ran.err
    assert Ran(capsys, folder, *prompts, "--gen-length", "4", "--batch", "2").status == 0


def test_a_tokenizer_without_a_template_is_said_unless_that_is_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = whole(tmp_path)
    assert (
        "has no chat template: prompts are used unchanged (`--raw` hides this line)"
        in Ran(capsys, folder, "w1").err
    )
    assert "chat template" not in Ran(capsys, folder, "w1", "--raw").err


def test_what_a_model_is_fails_the_same_way_before_it_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb in (
        ["model", str(causal(tmp_path))],
        ["evaluate", "--count", "1", "--model", str(tmp_path), "--device", "cpu"],
    ):
        assert main(verb) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error[E0405]: ")
        assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]
