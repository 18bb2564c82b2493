"""`sglang serve --dllm-algorithm DslDec` on a CPU gives the tokens of `dsldec.decode`, and of SGLang's own
algorithm where the rule is the same.

The model computes in float32 on both sides, and no two of its confidences are as near as their rounding.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import pytest

import dsldec

from .conftest import SYNC, Served
from .server import NotStarted, Server, asked
from .tiny_sdar import BLOCK, BROKEN, PROMPTS, words

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("sglang") is None, reason="needs the extra `sglang`"),
    pytest.mark.skipif(
        not entry_points(group="sglang.srt.plugins", name="dsldec"),
        reason="needs the entry point: `pip install --no-deps -e .`",
    ),
]

LENGTH = 24
CONFIDENCE = 0.4  # steps of one token and of several
DRAWN = "policy drawn():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"
POLICIES: dict[str, dict[str, Any]] = {
    "threshold": {"confidence": CONFIDENCE, "block": BLOCK},
    "static": {"tokens": 2, "block": BLOCK},
    "dico": {"block": BLOCK},
}
MODES = {"fdfo": (), "sync": SYNC}


def decoded(
    denoiser: dsldec.Denoiser,
    prompt: list[int],
    policy: str | dsldec.Policy,
    length: int = LENGTH,
    *,
    stop_at_eos: bool = False,
    **options: Any,
) -> list[int]:
    """The ids that `dsldec.decode` generates for one prompt. The engine decodes whole blocks, and cuts after."""
    whole = -(-(len(prompt) + length) // BLOCK) * BLOCK - len(prompt)
    row = dsldec.decode(denoiser, [prompt], policy, gen_length=whole, stop_at_eos=stop_at_eos, **options).ids[
        0
    ]
    return row[len(prompt) :][:length].tolist()


def served(serve: Served, name: str, mode: str = "fdfo") -> Server:
    return serve("DslDec", {"policy": name, "parameters": POLICIES[name]}, *MODES[mode])


def together(server: Server, prompts: list[list[int]], **sampling: Any) -> list[list[int]]:
    """The answers to requests that are sent at the same time."""
    with ThreadPoolExecutor(len(prompts)) as threads:
        return list(threads.map(lambda prompt: server.ids(prompt, LENGTH, **sampling), prompts))


def test_the_built_in_algorithm_has_the_same_tokens(serve: Served, denoiser: dsldec.Denoiser) -> None:
    server = serve("LowConfidence", {"threshold": CONFIDENCE})
    policy = dsldec.load("threshold", **POLICIES["threshold"])
    assert together(server, PROMPTS) == [decoded(denoiser, prompt, policy) for prompt in PROMPTS]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_the_tokens_of_decode(
    name: str, mode: str, serve: Served, denoiser: dsldec.Denoiser
) -> None:
    server = served(serve, name, mode)
    policy = dsldec.load(name, **POLICIES[name])
    want = [decoded(denoiser, prompt, policy) for prompt in PROMPTS]
    assert [server.ids(prompt, LENGTH) for prompt in PROMPTS] == want
    assert together(server, PROMPTS * 2) == want * 2  # more than four at a time; the cache has every prompt


@pytest.mark.parametrize("mode", MODES)
def test_a_random_policy_draws_by_the_seed_of_the_request(
    mode: str, serve: Served, denoiser: dsldec.Denoiser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "drawn.policy"
    file.write_text(DRAWN)
    server = serve("DslDec", {"policy": str(file)}, *MODES[mode])
    for seed in (0, 5):
        want = [decoded(denoiser, prompt, DRAWN, seed=seed) for prompt in PROMPTS]
        assert together(server, PROMPTS, sampling_seed=seed) == want
    # Without a seed, the request's id seeds it.
    ask = asked(PROMPTS[0], LENGTH)
    first, again, other = (server.post("/generate", ask | {"rid": rid})[1]["output_ids"] for rid in "aab")
    assert first == again != other


def test_a_streamed_answer_is_the_plain_one(serve: Served) -> None:
    server = served(serve, "threshold")
    want = server.ids(PROMPTS[0], LENGTH)
    events = [event["output_ids"] for event in server.events("/generate", asked(PROMPTS[0], LENGTH))]
    assert len({len(ids) for ids in events}) > LENGTH // BLOCK - 1  # block by block
    assert all(ids == want[: len(ids)] for ids in events)
    assert events[-1] == want


def test_the_openai_routes(serve: Served, denoiser: dsldec.Denoiser) -> None:
    server = served(serve, "threshold")
    policy = dsldec.load("threshold", **POLICIES["threshold"])
    body = {"model": "any", "max_tokens": LENGTH, "ignore_eos": True}
    strict = {"custom_params": {"confidence": 0.9}}
    messages = {"messages": [{"role": "user", "content": words(PROMPTS[0])}]}
    for own, bound in ({}, policy), (strict, policy.bind(confidence=0.9)):
        want = words(decoded(denoiser, PROMPTS[0], bound))
        status, answer = server.post("/v1/chat/completions", body | messages | own)
        assert status == 200, answer
        assert answer["choices"][0]["message"]["content"].split() == want.split()
        pieces = server.events("/v1/completions", body | {"prompt": words(PROMPTS[0])} | own)
        assert "".join(piece["choices"][0]["text"] for piece in pieces).split() == want.split()


def test_the_end_of_text_ends_an_answer(serve: Served, denoiser: dsldec.Denoiser) -> None:
    server = served(serve, "threshold")
    status, answer = server.post("/generate", asked(PROMPTS[0], LENGTH, ignore_eos=False))
    policy = dsldec.load("threshold", **POLICIES["threshold"])
    want = decoded(denoiser, PROMPTS[0], policy, stop_at_eos=True)
    assert denoiser.eos_id in want
    end = want.index(denoiser.eos_id)
    assert status == 200
    assert answer["meta_info"]["finish_reason"]["type"] == "stop"
    assert answer["output_ids"][: end + 1] == want[: end + 1]
    assert answer["text"].split() == words(want[:end]).split()


def test_each_request_has_its_own_parameters(serve: Served, denoiser: dsldec.Denoiser) -> None:
    server = served(serve, "threshold")
    values = [0.1, 0.5, 0.9, 0.99]
    with ThreadPoolExecutor(4) as threads:
        got = list(
            threads.map(
                lambda value: server.ids(PROMPTS[0], LENGTH, custom_params={"confidence": value}), values
            )
        )
    policy = dsldec.load("threshold", **POLICIES["threshold"])
    want = [decoded(denoiser, PROMPTS[0], policy.bind(confidence=value)) for value in values]
    assert got == want
    assert want[0] != want[-1]


@pytest.mark.parametrize(
    ("own", "says"),
    [({"confidense": 0.5}, "confidense"), ({"confidence": 7}, "confidence"), ({"block": 2}, "block")],
)
def test_a_wrong_parameter_is_the_clients_mistake(own: dict[str, Any], says: str, serve: Served) -> None:
    server = served(serve, "threshold")
    status, answer = server.post("/generate", asked(PROMPTS[0], LENGTH, custom_params=own))
    assert status == 400
    assert says in str(answer)
    assert "E04" in str(answer)
    assert len(server.ids(PROMPTS[0], LENGTH)) == LENGTH  # the server goes on


def test_a_row_without_finite_logits_fails_alone(serve: Served, denoiser: dsldec.Denoiser) -> None:
    server = served(serve, "threshold")
    policy = dsldec.load("threshold", **POLICIES["threshold"])
    broken = asked([10, 11, BROKEN, 12, 13], LENGTH)
    with ThreadPoolExecutor(3) as threads:
        failed = threads.submit(server.post, "/generate", broken)
        others = [threads.submit(server.ids, prompt, LENGTH) for prompt in PROMPTS[:2]]
        status, answer = failed.result()
        assert [other.result() for other in others] == [decoded(denoiser, p, policy) for p in PROMPTS[:2]]
    assert status >= 400, answer
    assert "E0406" in str(answer)
    events = list(server.events("/generate", broken))
    assert "E0406" in str(events[-1])


@pytest.mark.parametrize("mode", MODES)
def test_an_aborted_request_leaves_nothing_behind(
    mode: str, serve: Served, denoiser: dsldec.Denoiser
) -> None:
    server = served(serve, "dico", mode)
    policy = dsldec.load("dico", **POLICIES["dico"])
    begun, reasons = threading.Event(), []

    def long() -> None:
        for event in server.events("/generate", asked(PROMPTS[0], 1500) | {"rid": "long"}):
            if event["output_ids"]:
                begun.set()
            reasons.append(event["meta_info"]["finish_reason"])

    thread = threading.Thread(target=long)
    thread.start()
    assert begun.wait(60)
    other = server.ids(PROMPTS[1], LENGTH)  # beside it
    assert server.post("/abort_request", {"rid": "long"})[0] == 200
    thread.join(60)
    assert reasons[-1]["type"] == "abort"
    assert other == decoded(denoiser, PROMPTS[1], policy)
    # The same request again, with the same id.
    status, answer = server.post("/generate", asked(PROMPTS[0], LENGTH) | {"rid": "long"})
    assert status == 200
    assert answer["output_ids"] == decoded(denoiser, PROMPTS[0], policy)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy whole():\n  window all\n  commit top(masked, 1, by=conf)\n", "E0450"),
        ("policy wrong():\n  window blocks(4)\n  commit tpo(masked, 1, by=conf)\n", "E02"),
    ],
)
def test_a_policy_that_cannot_run_stops_the_start(
    text: str, says: str, serve: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "refused.policy"
    file.write_text(text)
    with pytest.raises(NotStarted) as caught:
        serve("DslDec", {"policy": str(file)})
    assert says in str(caught.value)
    assert "server_args=" not in str(caught.value)  # before the engine starts its processes
