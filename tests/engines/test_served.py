"""`transformers serve` of a folder from `dsldec export-hf`: answers, streams, and refusals."""

from __future__ import annotations

import json
import os
import re
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

import dsldec
from dsldec.engines.transformers import custom_generate
from dsldec.models.huggingface import from_pretrained

from ..models import tiny
from .exported import ANSWER, QUESTION, WORDS, expected


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
    """A client of `transformers serve`, which runs in a thread of this process."""
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


REFUSED = [
    ({"frequency_penalty": 0.5}, "error[E0409]: `repetition_penalty` of `generate` has no meaning"),
    ({"logit_bias": {"5": 3}}, "`sequence_bias`"),
]


@pytest.mark.parametrize("name", ["qwen3", "dream"])
@pytest.mark.parametrize(("wrong", "says"), REFUSED)
def test_a_refusal_reaches_the_client(
    name: str, wrong: dict[str, Any], says: str, server: Any, folders: dict[str, Path]
) -> None:
    import openai

    asked = {
        "model": str(folders[name]),
        "messages": [{"role": "user", "content": WORDS}],
        "extra_body": wrong,
    }
    with pytest.raises(openai.BadRequestError) as refused:
        server.chat.completions.create(**asked)
    assert refused.value.status_code == 400
    assert says in refused.value.body["detail"]
    assert "= help: " in refused.value.body["detail"]
    with pytest.raises(openai.APIError) as error:
        list(server.chat.completions.create(**asked, stream=True))
    assert says in str(error.value.body)


def of_request(**fields: Any) -> dict[str, Any]:
    """The fields of a generation configuration in a request."""
    return {"extra_body": {"generation_config": json.dumps(fields)}}


def test_a_prompt_that_is_too_long_is_refused(server: Any, folders: dict[str, Path]) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as refused:
        server.completions.create(model=str(folders["qwen3"]), prompt="w5 " * 64, max_tokens=8)
    assert "E0407" in refused.value.body["detail"]
    assert "more than the model's limit of 66" in refused.value.body["detail"]


def test_a_failure_of_the_model_is_no_mistake_of_the_request(server: Any, folders: dict[str, Path]) -> None:
    import openai

    with pytest.raises(openai.InternalServerError) as failed:
        server.completions.create(model=str(folders["broken"]), prompt=WORDS, max_tokens=8)
    assert failed.value.body["detail"].startswith("error[E0406]: ")


def test_a_request_names_a_policy_and_its_parameters(server: Any, folders: dict[str, Path]) -> None:
    asked = {"model": str(folders["qwen3"]), "prompt": f"w9 {WORDS} w8"}
    for policy, parameters in (("threshold", {"confidence": 0.3}), ("dico", {}), ("static", {"tokens": 1})):
        _, text = expected(folders["qwen3"], WORDS, policy, 8, **parameters)
        request = of_request(policy=policy, parameters=parameters)
        assert server.completions.create(**asked, **request).choices[0].text == text
        assert (
            "".join(
                c.choices[0].text for c in server.completions.create(**asked, **request, stream=True)
            ).strip()
            == text
        )
    _, text = expected(folders["qwen3"], WORDS, "static", 8, tokens=2)
    assert server.completions.create(**asked).choices[0].text == text  # the next request has the folder's
    _, text = expected(folders["dream"], WORDS, "dico", 8)
    said = {"model": str(folders["dream"]), "messages": [{"role": "user", "content": WORDS}]}
    assert (
        server.chat.completions.create(**said, **of_request(policy="dico")).choices[0].message.content == text
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"policy": "dicoo"}, "E0401.*`dicoo`.*did you mean `dico`"),
        ({"policy": "/etc/hostname"}, "E0401.*a request may name"),
        ({"policy": "policy p():\n  window all\n  commit masked\n"}, "E0401"),
        ({"policy": ["dico"]}, "E0401"),
        ({"policy": "threshold", "parameters": {"confidens": 0.3}}, "E0403.*confidence"),
        ({"parameters": {"tokens": 0}}, "E0402"),
        ({"parameters": [1]}, "E0409.*by name"),
    ],
)
def test_a_policy_that_a_request_cannot_have(
    fields: dict[str, Any], says: str, server: Any, folders: dict[str, Path]
) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as refused:
        server.completions.create(model=str(folders["qwen3"]), prompt=WORDS, **of_request(**fields))
    assert re.search(says, refused.value.body["detail"], re.DOTALL)


def test_an_answer_that_is_cut_at_the_folders_length_says_so(server: Any, folders: dict[str, Path]) -> None:
    """The request allows 1024 tokens, as the server's default does, and the folder 8."""
    asked = {"model": str(folders["qwen3"]), "prompt": f"w9 {WORDS} w8"}
    whole = server.completions.create(**asked)
    assert whole.usage.completion_tokens == 8
    assert whole.choices[0].finish_reason == "length"
    *_, last = server.completions.create(**asked, stream=True)
    assert last.choices[0].finish_reason == "length"
    assert server.completions.create(**asked, **of_request(policy="dico")).usage.completion_tokens == 8
    assert server.completions.create(**asked, max_tokens=4).usage.completion_tokens == 4


@pytest.mark.parametrize("name", ["qwen3", "dream"])
def test_stop_strings_of_a_request(name: str, server: Any, folders: dict[str, Path]) -> None:
    _, whole = expected(folders[name], WORDS, "static", 8, tokens=2)
    words = whole.split()
    for stop in ([f"{words[3]} {words[4]}", "no such word"], words[5], "no such word"):
        _, text = expected(folders[name], WORDS, "static", 8, stop=stop, tokens=2)
        asked = {"model": str(folders[name]), "prompt": f"w9 {WORDS} w8", "stop": stop}
        answer = server.completions.create(**asked).choices[0]
        assert answer.text.strip() == text
        assert answer.finish_reason == ("length" if stop == "no such word" else "stop")
        pieces = [chunk.choices[0].text for chunk in server.completions.create(**asked, stream=True)]
        assert "".join(pieces).strip() == text


def test_a_stop_string_in_a_chat(server: Any, folders: dict[str, Path]) -> None:
    asked = {
        "model": str(folders["embedded"]),
        "messages": [{"role": "user", "content": QUESTION}],
        "stop": "####",
    }
    _, text = expected(folders["embedded"], QUESTION, "threshold", 48, stop="####", block=48)
    assert text
    assert server.chat.completions.create(**asked).choices[0].message.content.strip() == text
    assert "".join(streamed(server.chat.completions.create(**asked, stream=True))).strip() == text


def test_the_request_of_the_page(server: Any, folders: dict[str, Path]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "engines.md").read_text(encoding="utf-8")
    (body,) = re.findall(r"^```text\n(\{.*?)^```$", page, re.DOTALL | re.MULTILINE)
    asked = json.loads(body) | {"model": str(folders["embedded"])}
    said = {name: asked.pop(name) for name in ("model", "messages", "stop")}
    answer = server.chat.completions.create(**said, extra_body=asked).choices[0]
    _, text = expected(folders["embedded"], QUESTION, "dico", 48, stop="####", block=64)
    assert answer.message.content.strip() == text
    assert answer.finish_reason == "stop"


def test_fields_that_only_a_configuration_has(server: Any, folders: dict[str, Path]) -> None:
    asked = {"model": str(folders["qwen3"]), "prompt": f"w9 {WORDS} w8"}
    whole = server.completions.create(**asked).choices[0].text
    ids = from_pretrained(folders["qwen3"], device="cpu").tokenizer.convert_tokens_to_ids(whole.split())
    short = server.completions.create(**asked, **of_request(eos_token_id=ids[2:], max_new_tokens=8))
    assert short.usage.completion_tokens < 8
    assert short.choices[0].finish_reason == "stop"
    least = server.completions.create(
        **asked, **of_request(eos_token_id=ids[2:], max_new_tokens=8, min_new_tokens=6)
    )
    assert least.usage.completion_tokens >= 6


def test_fields_that_the_server_ignores(server: Any, folders: dict[str, Path]) -> None:
    """It logs them, and does not pass them on."""
    asked = {"model": str(folders["qwen3"]), "prompt": f"w9 {WORDS} w8"}
    plain = server.completions.create(**asked)
    ignored = server.completions.create(**asked, n=3, logprobs=2, presence_penalty=1.0, best_of=3, user="me")
    assert [one.text for one in ignored.choices] == [plain.choices[0].text]
    assert ignored.choices[0].logprobs is None


@pytest.mark.parametrize(
    ("name", "fields", "says"),
    [
        (
            "drawn",
            {"num_return_sequences": 3, "do_sample": True},
            r"E0409.*`num_return_sequences`.*one answer",
        ),
        ("qwen3", {"sequence_bias": [[[5], 3]]}, r"E0409.*`sequence_bias`"),
        ("qwen3", {"min_new_tokens": 9}, r"E0409.*`min_new_tokens=9` is more than the 8 tokens"),
    ],
)
def test_a_configuration_that_is_refused(
    name: str, fields: dict[str, Any], says: str, server: Any, folders: dict[str, Path]
) -> None:
    import openai

    with pytest.raises(openai.BadRequestError) as refused:
        server.completions.create(model=str(folders[name]), prompt=WORDS, **of_request(**fields))
    assert re.search(says, refused.value.body["detail"], re.DOTALL)


def test_a_mistake_that_transformers_finds(server: Any, folders: dict[str, Path]) -> None:
    """`generate` raises `ValueError` before it calls a policy. A value that no configuration can have gets the
    server's own status 500: it fails before `generate`.
    """
    import openai

    with pytest.raises(openai.BadRequestError) as refused:
        server.completions.create(model=str(folders["qwen3"]), prompt=WORDS, **of_request(max_length=2))
    assert "max_length" in refused.value.body["detail"]


@pytest.mark.parametrize("name", ["qwen3", "embedded", "dream"])
def test_continuous_batching_does_not_leave_the_policy_out(
    name: str, server: Any, folders: dict[str, Path]
) -> None:
    """With `--continuous-batching`, the server calls `generate` only where the model cannot batch requests."""
    from transformers.cli.serving.model_manager import ModelManager
    from transformers.cli.serving.utils import GenerationState, Modality

    manager = ModelManager(device="cpu", trust_remote_code=True)
    model = manager._load_model(manager.process_model_name(str(folders[name])))
    assert not GenerationState(continuous_batching=True).use_continuous_batching(model, Modality.LLM)


def test_an_error_of_a_model_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers it with status 500, as for every model."""
    pytest.importorskip("starlette", reason="the server needs `pip install dsldec[serve]`")
    monkeypatch.setattr("dsldec.engines.transformers.generate.is_serving", lambda: True)
    model, fn = tiny.model(*tiny.NATIVE["qwen3"]), custom_generate("static", mask_id=tiny.MASK)
    ids = torch.tensor([[5, 6]])
    fn.generate(ids, model=model, max_new_tokens=4)

    def fail(*_: Any) -> None:
        raise ValueError("odd shapes")

    model.register_forward_hook(fail)
    with pytest.raises(ValueError, match="odd shapes"):
        fn.generate(ids, model=model, max_new_tokens=4)


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
