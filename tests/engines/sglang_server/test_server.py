"""`sglang serve --dllm-algorithm DslDec` on a CPU gives the tokens of `dsldec.decode`, and of SGLang's own
algorithm where the rule is the same.

The model computes in float32 on both sides, and no two of its confidences are as near as their rounding.
"""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

import pytest

import dsldec

from .conftest import BUILT_IN, Serve, Served
from .server import NotStarted, asked
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
DICO = [("dico", "fdfo"), ("dico", "sync")]
DRAWN = [("drawn", "fdfo"), ("drawn", "sync")]
ANY = [(BUILT_IN, "fdfo"), ("threshold", "fdfo"), ("static", "sync"), *DICO]


def on(*servers: tuple[str, str]) -> pytest.MarkDecorator:
    """The servers of a test: name and mode."""
    return pytest.mark.parametrize("served", servers, indirect=True, ids="-".join, scope="session")


def decoded(
    denoiser: dsldec.Denoiser,
    prompt: list[int],
    policy: dsldec.Policy,
    length: int = LENGTH,
    *,
    stop_at_eos: bool = False,
    **options: Any,
) -> list[int]:
    """The ids that `dsldec.decode` generates for one prompt. The engine decodes whole blocks, and cuts after."""
    whole = -(-(len(prompt) + length) // BLOCK) * BLOCK - len(prompt)
    rows = dsldec.decode(denoiser, [prompt], policy, gen_length=whole, stop_at_eos=stop_at_eos, **options)
    return rows.ids[0][len(prompt) :][:length].tolist()


def together(served: Served, prompts: list[list[int]], **sampling: Any) -> list[list[int]]:
    """The answers to requests that are sent at the same time."""
    with ThreadPoolExecutor(len(prompts)) as threads:
        return list(threads.map(lambda prompt: served.server.ids(prompt, LENGTH, **sampling), prompts))


@on(*ANY)
def test_the_tokens_are_those_of_decode(served: Served, denoiser: dsldec.Denoiser) -> None:
    want = [decoded(denoiser, prompt, served.policy) for prompt in PROMPTS]
    assert [served.server.ids(prompt, LENGTH) for prompt in PROMPTS] == want
    assert together(served, PROMPTS * 2) == want * 2  # more than four at a time; the cache has every prompt


@on(*DICO)
def test_requests_come_and_go(served: Served, denoiser: dsldec.Denoiser) -> None:
    pick = random.Random(1)
    requests = [
        ([pick.randrange(10, 150_000) for _ in range(pick.randint(1, 24))], pick.randint(1, 32))
        for _ in range(16)
    ]
    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda request: served.server.ids(*request), requests))
    assert got == [decoded(denoiser, prompt, served.policy, length) for prompt, length in requests]


@on(*DRAWN)
def test_a_random_policy_draws_by_the_seed_of_the_request(served: Served, denoiser: dsldec.Denoiser) -> None:
    for seed in (0, 5):
        want = [decoded(denoiser, prompt, served.policy, seed=seed) for prompt in PROMPTS]
        assert together(served, PROMPTS, sampling_seed=seed) == want
    # Without a seed, the request's id seeds it.
    ask = asked(PROMPTS[0], LENGTH)
    first, again, other = (
        served.server.post("/generate", ask | {"rid": rid})[1]["output_ids"] for rid in "aab"
    )
    assert first == again != other


@on(("threshold", "fdfo"), ("dico", "sync"))
def test_a_streamed_answer_is_the_plain_one(served: Served) -> None:
    want = served.server.ids(PROMPTS[0], LENGTH)
    events = [event["output_ids"] for event in served.server.events("/generate", asked(PROMPTS[0], LENGTH))]
    assert len({len(ids) for ids in events if ids}) > 1  # before the end too
    assert all(ids == want[: len(ids)] for ids in events)
    assert events[-1] == want


@on(("threshold", "fdfo"))
def test_the_openai_routes(served: Served, denoiser: dsldec.Denoiser) -> None:
    body = {"model": "any", "max_tokens": LENGTH, "ignore_eos": True, "skip_special_tokens": False}
    strict = {"custom_params": {"confidence": 0.9}}
    messages = {"messages": [{"role": "user", "content": words(PROMPTS[0])}]}
    for own, policy in ({}, served.policy), (strict, served.policy.bind(confidence=0.9)):
        want = words(decoded(denoiser, PROMPTS[0], policy))
        status, answer = served.server.post("/v1/chat/completions", body | messages | own)
        assert status == 200, answer
        assert answer["choices"][0]["message"]["content"].split() == want.split()
        pieces = served.server.events("/v1/completions", body | {"prompt": words(PROMPTS[0])} | own)
        assert "".join(piece["choices"][0]["text"] for piece in pieces).split() == want.split()


@on(("threshold", "fdfo"))
def test_the_end_of_text_ends_an_answer(served: Served, denoiser: dsldec.Denoiser) -> None:
    policy = served.policy.bind(confidence=0.9)  # the model generates its end-of-text id under it
    asks = asked(PROMPTS[0], LENGTH, ignore_eos=False, custom_params={"confidence": 0.9})
    status, answer = served.server.post("/generate", asks)
    want = decoded(denoiser, PROMPTS[0], policy, stop_at_eos=True)
    assert denoiser.eos_id in want
    end = want.index(denoiser.eos_id)
    assert status == 200
    assert answer["meta_info"]["finish_reason"]["type"] == "stop"
    assert answer["output_ids"][: end + 1] == want[: end + 1]
    assert answer["text"].split() == words(want[:end]).split()


@on(("threshold", "fdfo"))
def test_each_request_has_its_own_parameters(served: Served, denoiser: dsldec.Denoiser) -> None:
    values = [0.1, 0.5, 0.9, 0.99]
    with ThreadPoolExecutor(4) as threads:
        own = [{"confidence": value} for value in values]
        got = list(threads.map(lambda one: served.server.ids(PROMPTS[0], LENGTH, custom_params=one), own))
    want = [decoded(denoiser, PROMPTS[0], served.policy.bind(confidence=value)) for value in values]
    assert got == want
    assert want[0] != want[-1]


@on(("threshold", "fdfo"))
@pytest.mark.parametrize(
    ("own", "says"),
    [({"confidense": 0.5}, "confidense"), ({"confidence": 7}, "confidence"), ({"block": 2}, "block")],
)
def test_a_wrong_parameter_is_the_clients_mistake(own: dict[str, Any], says: str, served: Served) -> None:
    status, answer = served.server.post("/generate", asked(PROMPTS[0], LENGTH, custom_params=own))
    assert status == 400
    assert says in str(answer)
    assert "E04" in str(answer)
    assert len(served.server.ids(PROMPTS[0], LENGTH)) == LENGTH  # the server goes on


@on(("threshold", "fdfo"), ("dico", "sync"))
def test_a_row_without_finite_logits_fails_alone(served: Served, denoiser: dsldec.Denoiser) -> None:
    broken = asked([10, 11, BROKEN, 12, 13], LENGTH)
    with ThreadPoolExecutor(3) as threads:
        failed = threads.submit(served.server.post, "/generate", broken)
        others = [threads.submit(served.server.ids, prompt, LENGTH) for prompt in PROMPTS[:2]]
        status, answer = failed.result()
        got = [other.result() for other in others]
    assert status == 500, answer
    assert "E0406" in str(answer)
    assert got == [decoded(denoiser, prompt, served.policy) for prompt in PROMPTS[:2]]
    assert "E0406" in str(list(served.server.events("/generate", broken))[-1])


@on(*DICO)
def test_an_aborted_request_leaves_nothing_behind(served: Served, denoiser: dsldec.Denoiser) -> None:
    server, reasons, begun = served.server, [], threading.Event()

    def follow() -> None:
        for event in server.events("/generate", asked(PROMPTS[0], 1500) | {"rid": "long"}):
            if event["output_ids"]:
                begun.set()
            reasons.append(event["meta_info"]["finish_reason"])

    thread = threading.Thread(target=follow)
    thread.start()
    assert begun.wait(60)
    other = server.ids(PROMPTS[1], LENGTH)  # beside it
    assert server.post("/abort_request", {"rid": "long"})[0] == 200
    thread.join(60)
    assert reasons[-1]["type"] == "abort"
    assert other == decoded(denoiser, PROMPTS[1], served.policy)
    # The same prompt and id again.
    status, answer = server.post("/generate", asked(PROMPTS[0], LENGTH) | {"rid": "long"})
    assert status == 200
    assert answer["output_ids"] == decoded(denoiser, PROMPTS[0], served.policy)


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("policy whole():\n  window all\n  commit top(masked, 1, by=conf)\n", "E0450"),
        ("policy wrong():\n  window blocks(4)\n  commit tpo(masked, 1, by=conf)\n", "E02"),
    ],
)
def test_a_policy_that_cannot_run_stops_the_start(policy: str, says: str, serve: Serve) -> None:
    with pytest.raises(NotStarted) as caught:
        serve("DslDec", {"policy": policy})
    assert says in str(caught.value)
    assert "server_args=" not in str(caught.value)  # before the engine starts its processes
