"""A folder that `dsldec export-hf` wrote decodes under its policy: by `from_pretrained`, and behind
`transformers serve`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import transformers

import dsldec
from dsldec.cli import main
from dsldec.models.huggingface import from_pretrained
from dsldec.resources import embedded_model_folder

from ..models import tiny

QUESTION, ANSWER = "What is 14+18?", "#### 32"
WORDS = "w5 w6 w7"
DRAWN = "policy drawn():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"
EXPORTED = {
    "embedded": ["threshold", "--set", "block=48", "--gen-length", "48"],
    "qwen3": ["static", "--set", "tokens=2", "--gen-length", "8"],
    "dream": ["static", "--set", "tokens=2", "--gen-length", "8", "--trust-remote-code"],
    "drawn": ["drawn.policy", "--gen-length", "8"],
    "drawn dream": ["drawn.policy", "--gen-length", "8", "--trust-remote-code"],
}
# Of the classes that a folder of its own code is loaded by, the one that the server asks (transformers 5.23).
OWN_CODE_AUTO = getattr(transformers, "AutoModelForDecision", transformers.AutoModelForCausalLM)


@pytest.fixture(scope="module")
def folders(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("exported")
    made = {
        "embedded": Path(shutil.copytree(embedded_model_folder(), root / "embedded")),
        "qwen3": tiny.saved(root / "qwen3", "qwen3", chat=True),
        "dream": tiny.saved(root / "dream", "dream", chat=True),
        "drawn": tiny.saved(root / "drawn", "qwen3"),
        "drawn dream": tiny.saved(root / "drawn_dream", "dream"),
    }
    (root / "drawn.policy").write_text(DRAWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name, words in EXPORTED.items():
            assert main(["export-hf", str(made[name]), *words]) == 0
    return made


def expected(
    folder: Path, prompt: str, policy: str, gen_length: int, **parameters: Any
) -> tuple[list[int], str]:
    """The ids of `decode` up to the end, and its text."""
    denoiser = from_pretrained(folder, device="cpu", trust_remote_code=True)
    decoded = dsldec.decode(denoiser, [prompt], dsldec.load(policy, **parameters), gen_length=gen_length)
    ids, prompt_length = decoded.ids[0].tolist(), len(denoiser.encode(prompt))
    generated = ids[prompt_length:]
    end = generated.index(denoiser.eos_id) + 1 if denoiser.eos_id in generated else len(generated)
    assert decoded.text[0] is not None
    return ids[: prompt_length + end], decoded.text[0]


def test_a_decoder_that_sees_both_sides(folders: dict[str, Path]) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folders["qwen3"], trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["qwen3"], padding_side="left")
    ids, _ = expected(folders["qwen3"], WORDS, "static", 8, tokens=2)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": WORDS}], return_dict=True, return_tensors="pt"
    )
    assert model.generate(**asked, max_new_tokens=8).tolist() == [ids]
    assert model.generate(asked["input_ids"], max_new_tokens=20).tolist() == [ids]  # `--gen-length 8`
    plain = transformers.AutoModelForCausalLM.from_pretrained(folders["qwen3"])
    assert plain.generate.__func__ is type(plain).generate  # not trusted, not run


@pytest.mark.parametrize("auto", ["AutoModelForMaskedLM", "AutoModelForCausalLM"])
def test_the_embedded_model_answers(auto: str, folders: dict[str, Path]) -> None:
    model = getattr(transformers, auto).from_pretrained(
        folders["embedded"], trust_remote_code=True, dtype=torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["embedded"])
    said = [{"role": "user", "content": QUESTION}]
    asked = tokenizer.apply_chat_template(
        said, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    ids, text = expected(folders["embedded"], QUESTION, "threshold", 48, block=48)
    generated = model.generate(**asked)
    assert generated.tolist() == [ids]
    assert text.endswith(ANSWER)
    with pytest.raises(dsldec.UsageError, match="`num_beams`"):
        model.generate(**asked, num_beams=2)


def test_a_model_of_its_own_code(folders: dict[str, Path]) -> None:
    model = OWN_CODE_AUTO.from_pretrained(folders["dream"], trust_remote_code=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders["dream"], padding_side="left")
    want = [expected(folders["dream"], words, "static", 8, tokens=2)[0] for words in (WORDS, "w11")]
    assert type(model).__name__ == "DreamModel"
    said = [[{"role": "user", "content": words}] for words in (WORDS, "w11")]
    asked = tokenizer.apply_chat_template(said, return_dict=True, return_tensors="pt", padding=True)
    generated = model.generate(**asked, max_new_tokens=8, return_dict_in_generate=True).sequences.tolist()
    for row, mask, ids in zip(generated, asked["attention_mask"].tolist(), want, strict=True):
        assert row[mask.count(0) :][: len(ids)] == ids
    for wrong, says in (
        ({"num_beams": 3, "max_new_tokens": 4}, "`num_beams`"),
        ({}, "the number of tokens"),
        ({"max_new": 4}, "number of tokens"),
    ):
        with pytest.raises(dsldec.UsageError, match=says):
            model.generate(asked["input_ids"], **wrong)


@pytest.mark.parametrize("name", ["drawn", "drawn dream"])
def test_a_policy_that_draws_draws_anew(name: str, folders: dict[str, Path]) -> None:
    auto = OWN_CODE_AUTO if name == "drawn dream" else transformers.AutoModelForCausalLM
    model, ids = auto.from_pretrained(folders[name], trust_remote_code=True), torch.tensor([[5, 6]])
    torch.manual_seed(3)
    first, second = (model.generate(ids, max_new_tokens=8, do_sample=True).tolist() for _ in range(2))
    assert first != second
    torch.manual_seed(3)
    assert model.generate(ids, max_new_tokens=8).tolist() == first
    assert model.generate(ids, max_new_tokens=8, generator=torch.Generator().manual_seed(3)).tolist() == first
    assert (
        model.generate(ids, max_new_tokens=8, seed=4).tolist()
        == model.generate(ids, max_new_tokens=8, seed=4).tolist()
    )
    rows = model.generate(ids, max_new_tokens=8, num_return_sequences=4, do_sample=True).tolist()
    assert len({tuple(row) for row in rows}) == 4


def test_a_saved_copy_loads_without_the_class(folders: dict[str, Path], tmp_path: Path) -> None:
    model = transformers.AutoModelForMaskedLM.from_pretrained(folders["embedded"], trust_remote_code=True)
    model.save_pretrained(tmp_path)
    assert transformers.PreTrainedConfig.get_config_dict(tmp_path)[0]["architectures"] == [
        "EuroBertForMaskedLM"
    ]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def client(port: int) -> Any:
    return pytest.importorskip("openai", reason="`pip install dsldec[serve]`").OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=60
    )


@pytest.fixture(scope="module")
def server(installed: Path) -> Iterator[Any]:
    """The server of `transformers serve`, in a thread of this process."""
    for package in ("openai", "uvicorn", "fastapi"):
        pytest.importorskip(package, reason="the server needs `pip install dsldec[serve]`")
    from transformers.cli.serve import Serve

    port = free_port()
    serve = Serve(host="127.0.0.1", port=port, trust_remote_code=True, device="cpu", non_blocking=True)
    try:
        while not serve.server.started and serve._thread.is_alive():
            time.sleep(0.05)
        yield client(port)
    finally:
        serve.kill_server()


def streamed(chunks: Any) -> list[str]:
    return [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]


def test_the_server_answers(server: Any, folders: dict[str, Path]) -> None:
    asked = {"model": str(folders["embedded"]), "messages": [{"role": "user", "content": QUESTION}]}
    whole = server.chat.completions.create(**asked)
    assert whole.choices[0].message.content.endswith(ANSWER)
    assert whole.choices[0].finish_reason == "stop"
    pieces = streamed(server.chat.completions.create(**asked, stream=True))
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 5
    raw = server.completions.create(
        model=asked["model"], prompt=f"<|user|>{QUESTION}<|assistant|>", max_tokens=48
    )
    assert raw.choices[0].text == whole.choices[0].message.content


def test_the_server_decodes_as_dsldec_does(server: Any, folders: dict[str, Path]) -> None:
    # Not a chat: of Qwen3's the server knows a form of answers, and random weights give none.
    _, text = expected(folders["qwen3"], WORDS, "static", 8, tokens=2)
    asked = {"model": str(folders["qwen3"]), "prompt": f"w9 {WORDS} w8", "max_tokens": 8}
    assert server.completions.create(**asked).choices[0].text == text
    assert (
        "".join(chunk.choices[0].text for chunk in server.completions.create(**asked, stream=True)).strip()
        == text
    )


def test_the_server_loads_a_model_of_its_own_code(server: Any, folders: dict[str, Path]) -> None:
    _, text = expected(folders["dream"], WORDS, "static", 8, tokens=2)
    asked = {"model": str(folders["dream"]), "messages": [{"role": "user", "content": WORDS}]}
    assert server.chat.completions.create(**asked).choices[0].message.content == text
    assert "".join(streamed(server.chat.completions.create(**asked, stream=True))).strip() == text


def test_the_server_draws_anew(server: Any, folders: dict[str, Path]) -> None:
    for name in ("drawn", "drawn dream"):
        asked = {"model": str(folders[name]), "prompt": WORDS, "max_tokens": 8}
        texts = [server.completions.create(**asked).choices[0].text for _ in range(3)]
        assert len(set(texts)) == 3
        seeded = [server.completions.create(**asked, seed=seed).choices[0].text for seed in (5, 5, 6)]
        assert seeded[0] == seeded[1] != seeded[2]


def test_a_refusal_reaches_who_asked_for_a_stream(server: Any, folders: dict[str, Path]) -> None:
    import openai

    asked = {
        "model": str(folders["embedded"]),
        "messages": [{"role": "user", "content": QUESTION}],
        "stop": ["#"],
        "stream": True,
    }
    with pytest.raises(openai.APIError) as error:
        list(server.chat.completions.create(**asked))
    assert "`stop_strings` of `generate` has no meaning where a policy decides" in str(error.value.body)


@pytest.mark.slow
def test_the_command_serves(folders: dict[str, Path], installed: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the server needs `pip install dsldec[serve]`")
    port = free_port()
    program = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    words = [
        "serve",
        str(folders["embedded"]),
        "--trust-remote-code",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    here = os.pathsep.join([str(Path(dsldec.__file__).parent.parent), str(installed)])
    environment = os.environ | {"PYTHONPATH": here, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.3)
        asked = {"model": str(folders["embedded"]), "messages": [{"role": "user", "content": QUESTION}]}
        assert client(port).chat.completions.create(**asked).choices[0].message.content.endswith(ANSWER)
    finally:
        process.kill()
        process.wait()
