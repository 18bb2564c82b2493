"""Does a row end at a stop string, a stop id and no sooner than its least length, as slow code says?

The reference of stop strings decodes without them, reads the ids one by one, and cuts there.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime import decode_loop
from dsldec.runtime.decode import Decoded, stream
from dsldec.runtime.poll import SyncPoll
from dsldec.runtime.requests import continued
from dsldec.runtime.stops import StopStrings

from ..backends.policies import random_policy
from ..toy import MASK, ToyDenoiser
from .families import Padded
from .test_lookahead_paths import undrafting
from .test_poll import DRAWN, LENIENT

EOS, END_OF_TURN = 5, 6
PIECES = [
    b"a",
    b"b",
    b" ",
    b"\n",
    b"c",
    b"",
    b"",
    b"\xc3",
    b"\xa4",
    b"\xe2\x82",
    b"\xac",
    b"ab",
    b"ba",
    b"  ",
    b"#",
]
REVOKING = """policy takes_back():
  window blocks(6)
  commit top(masked, 2, by=conf)
  revoke committed and p(canvas) < 0.5 at most committed_before - 1 by -p(canvas)
"""
SLIDING = "policy slides():\n  window sliding(max_masks=3, max_length=8)\n  commit top(masked, 1, by=conf)\n"
HOT = "policy hot():\n  window blocks(4)\n  draw gumbel(temperature=6)\n  commit top(masked, 2, by=conf)\n"
LEFT_TO_RIGHT = "policy left():\n  window blocks(1)\n  commit top(masked, 1, by=conf)\n"
WHOLE = REVOKING.replace("blocks(6)", "all").replace("takes_back", "takes_all_back")


class Texts(ToyDenoiser):
    """Bytes of letters, spaces and parts of characters; two ids end a text, one of them also a row."""

    stop_ids = frozenset((EOS, END_OF_TURN))

    def __init__(self, seed: int, eos_id: int | None = EOS) -> None:
        super().__init__(seed, 1.0)
        self.eos_id = eos_id

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, :, EOS] -= 2
        return logits

    def unstripped_text(self, ids: Sequence[int]) -> str:
        end = next((at for at, id_ in enumerate(ids) if id_ in self.stop_ids), len(ids))
        return b"".join(PIECES[id_ % len(PIECES)] for id_ in ids[:end]).decode("utf-8", "replace")

    def decode_text(self, ids: Sequence[int]) -> str:
        return self.unstripped_text(ids).strip()

    def encode(self, text: str) -> list[int]:
        return [ord(one) % MASK for one in text]


def read_slowly(denoiser: Texts, ids: Sequence[int], stops: Sequence[str]) -> tuple[str, int, bool]:
    """The text before the first stop string of ids that are read one by one, and the ids read."""
    content = ids[: ids.index(EOS)] if EOS in ids else ids
    for count in range(1, len(content) + 1):
        text = denoiser.unstripped_text(content[:count]).rstrip("\ufffd")
        if at := [text.find(stop) for stop in stops if stop in text]:
            return text[: min(at)].strip(), count, True
    return denoiser.decode_text(ids), len(content), False


def some_stops(rng: random.Random, text: str) -> list[str]:
    """Parts of a text, and a text that may not be in it."""
    stops = []
    for _ in range(rng.randint(1, 2)):
        begin = rng.randrange(max(1, len(text)))
        stops.append(text[begin : begin + rng.randint(1, 4)] or "a")
    return [stop.replace("\ufffd", "#") for stop in [*stops, rng.choice(("ab", "ä", "€", "\n", " a", "zz"))]]


def decoded(denoiser: Any, prompts: Any, policy: Any, **how: Any) -> Decoded:
    return dsldec.decode(denoiser, prompts, policy, **{"backend": "eager"} | how)


def assert_cut_as_slowly(policy: dsldec.Policy, seed: int) -> tuple[int, int]:
    """Gives how many rows were cut, and how many forwards that spared."""
    rng, denoiser = random.Random(seed), Texts(seed % 5, rng_eos(seed))
    prompts = [[rng.randrange(7, MASK) for _ in range(rng.randrange(5))] for _ in range(4)]
    length = rng.randint(6, 14)
    whole = [
        decoded(denoiser, [prompt], policy, gen_length=length, request_ids=[id_])
        for id_, prompt in enumerate(prompts)
    ]
    stops = some_stops(rng, whole[0].text[0] or "")
    model = Padded(denoiser) if rng.random() < 0.5 else denoiser
    for name in ("unstripped_text", "decode_text", "stop_ids"):
        setattr(model, name, getattr(denoiser, name))
    together = decoded(model, prompts, policy, gen_length=length, stop=stops, batch=rng.randint(1, 4))
    cut = spared = 0
    for row, alone in enumerate(whole):
        generated = alone.ids[0].tolist()[len(prompts[row]) :]
        text, tokens, stopped = read_slowly(denoiser, generated, stops)
        assert together.text[row] == text, (seed, row, stops, policy.name)
        assert int(together.tokens[row]) == tokens
        assert int(together.forwards[row]) <= int(alone.forwards[0])
        got = together.ids[row].tolist()[len(prompts[row]) :]
        assert got[:tokens] == generated[:tokens]
        if stopped:
            assert together.finish_reason[row] == "stop"
            filled = [] if denoiser.eos_id is None else [EOS] * (length - tokens)
            assert got[tokens:] == filled
            cut, spared = cut + 1, spared + int(alone.forwards[0] - together.forwards[row])
        else:
            assert together.finish_reason[row] == alone.finish_reason[0]
    return cut, spared


def rng_eos(seed: int) -> int | None:
    return EOS if seed % 3 else None


FIXED = (REVOKING, WHOLE, SLIDING, LEFT_TO_RIGHT, DRAWN, LENIENT)


def test_a_text_is_cut_where_a_slow_reader_cuts_it() -> None:
    cut = spared = 0
    for seed, text in enumerate([*FIXED, *FIXED, *(random_policy(seed)[0] for seed in range(4))]):
        more, saved = assert_cut_as_slowly(dsldec.load(text), seed)
        cut, spared = cut + more, spared + saved
    assert cut > 20
    assert spared > 20


@pytest.mark.slow
def test_many_texts_are_cut_where_a_slow_reader_cuts_them() -> None:
    for seed in range(100, 260):
        assert_cut_as_slowly(dsldec.load(random_policy(seed)[0]), seed)


@pytest.mark.parametrize("drafts", [2, 4])
def test_drafts_change_no_end(drafts: int) -> None:
    rng, ends = random.Random(drafts), 0
    for seed in range(6):
        denoiser = Texts(seed % 5)
        policy = undrafting(seed) if seed % 2 else "static"
        prompts = [[rng.randrange(7, MASK)] for _ in range(3)]
        plain = decoded(denoiser, prompts, policy, gen_length=10)
        stops = some_stops(rng, plain.text[0] or "")
        one = decoded(denoiser, prompts, policy, gen_length=10, stop=stops, stop_ids=[9])
        many = decoded(denoiser, prompts, policy, gen_length=10, stop=stops, stop_ids=[9], lookahead=drafts)
        assert (one.text, one.finish_reason, one.tokens.tolist()) == (
            many.text,
            many.finish_reason,
            many.tokens.tolist(),
        )
        assert all(torch.equal(a, b) for a, b in zip(one.ids, many.ids, strict=True))
        ends += one.finish_reason.count("stop")
    assert ends > 3


def test_the_backends_end_alike() -> None:
    denoiser, prompts = Texts(3), [[8], [9, 10]]
    how: dict[str, Any] = {"gen_length": 8, "stop": ["a", "b"], "stop_ids": 9, "min_length": 3}
    for text in (REVOKING, LEFT_TO_RIGHT):
        eager, reference = (
            decoded(denoiser, prompts, text, backend=name, **how) for name in ("eager", "reference")
        )
        assert [ids.tolist() for ids in eager.ids] == [ids.tolist() for ids in reference.ids]
        assert (eager.text, eager.finish_reason) == (reference.text, reference.finish_reason)


class Fixed:
    """Writes the same ids in every row, from left to right."""

    mask_id, eos_id, vocab_size = MASK, EOS, MASK + 1

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids, self.reads = list(ids), 0

    def __call__(self, ids: Tensor) -> Tensor:
        logits = torch.zeros(*ids.shape, self.vocab_size)
        for at in range(1, ids.shape[1]):
            logits[:, at, self.ids[(at - 1) % len(self.ids)]] = 20.0 - at / 8
        return logits

    def unstripped_text(self, ids: Sequence[int]) -> str:
        self.reads += 1
        return Texts(0).unstripped_text(ids)

    def decode_text(self, ids: Sequence[int]) -> str:
        return Texts(0).decode_text(ids)


A, B, SPACE, LINE, C, HALF, REST = 0, 1, 2, 3, 4, 7, 8


@pytest.mark.parametrize(
    ("ids", "stop", "text", "tokens"),
    [
        ([A, B, C, A], "bc", "a", 3),  # over a border of tokens
        ([A, HALF, REST, B], "ä", "a", 3),  # a character of two tokens
        ([LINE, LINE, A, B], "\n\n", "", 2),  # the spaces in front count
        ([A, LINE, LINE, B], "\n\n", "a", 3),
        ([A, SPACE, B, C], ["zz", "b"], "a", 3),
        ([11, B, C, A], ["b", "ab"], "", 1),  # two in one token: the first in the text
        ([A, B, C, A], "zz", "abca", 4),
        ([A, EOS, B, C], "b", "a", 1),  # no text after the end of the text
    ],
)
def test_a_stop_string_ends_a_text_before_it(ids: list[int], stop: Any, text: str, tokens: int) -> None:
    row = decoded(Fixed(ids), [[9]], LEFT_TO_RIGHT, gen_length=4, stop=stop)
    assert (row.text[0], int(row.tokens[0])) == (text, tokens)
    assert row.finish_reason == ["length" if tokens == 4 else "stop"]
    assert int(row.forwards[0]) == tokens + (EOS in ids)


def test_a_text_that_the_policy_takes_back_ends_nothing() -> None:
    """The id at the first place is taken back in the step after, and another one stays."""

    class Changes(Fixed):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            late = ids[:, 3] != MASK
            logits[:, 1, A] = torch.where(late, -20.0, 25.0)
            logits[:, 1, C] = torch.where(late, 20.0, -20.0)
            return logits

    how: dict[str, Any] = {"gen_length": 6, "backend": "eager"}
    ids = [A, B, B, B, B, B]
    whole = decoded(Changes(ids), [[9]], REVOKING, trace=True, **how)
    assert any(0 in step.revoked for step in whole.trace[0])
    assert (whole.text[0] or "").startswith("c")
    assert decoded(Changes(ids), [[9]], REVOKING, stop="a", **how).text == whole.text
    assert decoded(Changes(ids), [[9]], REVOKING, stop="c", **how).text == [""]


def test_the_text_is_read_only_where_final_ids_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    class Backwards(Fixed):
        def __call__(self, ids: Tensor) -> Tensor:
            logits = super().__call__(ids)
            logits[:, 1] /= 2  # the first position is written last
            return logits

    model = Backwards([A, B, C, A, B, C])
    decoded(model, [[9]], "static", gen_length=6, stop="z")
    assert model.reads == 1
    monkeypatch.setattr(StopStrings, "after", None)
    decoded(Fixed([A, B]), [[9]], LEFT_TO_RIGHT, gen_length=6, stop_ids=[C], min_length=2)


def test_a_cache_changes_no_end() -> None:
    denoiser: Any = dsldec.from_pretrained()
    how: dict[str, Any] = {"gen_length": 32, "cache": "dual"}
    policy, prompts = dsldec.load("threshold", block=8), ["What is 14+18?", "Compute 3*6."]
    whole = decoded(denoiser, prompts, policy, **how)
    cut = decoded(denoiser, prompts, policy, stop=["It", "="], **how)
    for text, short in zip(whole.text, cut.text, strict=True):
        assert short == min((text or "").split("It")[0], (text or "").split("=")[0], key=len).strip()
    assert int(cut.forwards.sum()) < int(whole.forwards.sum())


def test_a_host_that_reads_texts_waits_for_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def polling(device: Any, *, watched: bool) -> SyncPoll:
        seen.append(watched)
        return SyncPoll()

    monkeypatch.setattr(decode_loop, "polling", polling)
    for stop in (None, "z"):
        decoded(Fixed([A, B]), [[9]], LEFT_TO_RIGHT, gen_length=2, stop=stop, stop_ids=[C])
    assert seen == [False, True]


def test_a_session_ends_a_request_at_its_own_ids() -> None:
    """Beside a request with other ids, and after a change of the batch."""
    denoiser, policy = Texts(2), dsldec.load("static", block=4)
    with_slots = {"mask_id": MASK, "vocab_size": MASK + 1, "eos_id": EOS, "gen_length": 8}
    session = dsldec.Session.of(policy, slots=2, columns=9, **with_slots)  # type: ignore[arg-type]
    each: list[dict[str, Any]] = [{"stop_ids": (9, 10, 12), "min_length": 3}, {"stop_ids": (30,)}]
    whole = decoded(denoiser, [[8], [11]], policy, gen_length=8).ids
    each[1]["stop_ids"] = (int(whole[1][4]),)
    wanted = [
        decoded(denoiser, [prompt], policy, gen_length=8, **own)
        for prompt, own in zip(([8], [11]), each, strict=True)
    ]
    for slot, own in enumerate(each):
        session.admit(slot, replace(continued(slot, [[8], [11]][slot], 8), **own))
    order = [0, 1]
    while not session.done.all():
        session.step(denoiser(session.canvas))
        session.join(session.take([1, 0]))
        order.reverse()
    for slot, number in enumerate(order):
        tokens = int(wanted[number].tokens[0])
        assert session.canvas[slot, 1 : 2 + tokens].tolist() == wanted[number].ids[0][1 : 2 + tokens].tolist()
    assert [one.finish_reason for one in wanted].count(["stop"]) >= 1


# --- ids


def test_a_stop_id_ends_a_row_as_the_end_of_text_does() -> None:
    """In a decode that goes on behind it, the ids up to it are the same."""
    ended = 0
    for seed in range(12):
        denoiser = Texts(seed % 5, rng_eos(seed))
        policy = dsldec.load(random_policy(seed)[0])
        if policy.facts.revises:
            continue
        rng = random.Random(seed)
        whole = decoded(denoiser, [[8], [9]], policy, gen_length=9, stop_at_eos=False)
        stop = rng.sample([id_ for ids in whole.ids for id_ in ids.tolist()[1:]], 2)
        cut = decoded(denoiser, [[8], [9]], policy, gen_length=9, stop_at_eos=False, stop_ids=stop)
        for row in range(2):
            generated = whole.ids[row].tolist()[1:]
            ends = {*stop, denoiser.eos_id}
            tokens = next((at for at, id_ in enumerate(generated) if id_ in ends), len(generated))
            assert int(cut.tokens[row]) == tokens
            assert cut.ids[row].tolist()[1:][: tokens + 1] == generated[: tokens + 1]
            of_stop = next((at for at, id_ in enumerate(generated) if id_ in stop), len(generated))
            assert cut.text[row] == denoiser.decode_text(generated[:of_stop])
            assert int(cut.forwards[row]) <= int(whole.forwards[row])
            ended += cut.finish_reason[row] == "stop"
    assert ended > 5


def test_the_ids_after_a_stop_id() -> None:
    ids = [A, B, C, A]
    row = decoded(Fixed(ids), [[9]], LEFT_TO_RIGHT, gen_length=4, stop_ids=B)
    assert (row.ids[0].tolist(), row.text, row.tokens.tolist()) == ([9, A, B, EOS, EOS], ["a"], [1])
    none = Fixed(ids)
    none.eos_id = None  # type: ignore[assignment]
    row = decoded(none, [[9]], LEFT_TO_RIGHT, gen_length=4, stop_ids=[B])
    assert (row.ids[0].tolist(), row.text, row.finish_reason) == ([9, A, B], ["a"], ["stop"])


def test_a_word_of_the_policy_is_about_the_end_of_text_alone() -> None:
    text = "policy closes():\n  window all\n  commit top(masked, 1, by=conf)\n  finish when eos_closed\n"
    row = decoded(Fixed([A, B, EOS, C]), [[9]], text, gen_length=4, stop_at_eos=False, stop_ids=[C])
    assert (row.ids[0].tolist()[1:4], int(row.forwards[0])) == ([A, B, EOS], 3)


def test_a_special_token_as_a_stop_string_is_a_stop_id() -> None:
    model: Any = Fixed([A, B, C, A])
    model.special_id = {"<end>": B}.get
    row = decoded(model, [[9]], LEFT_TO_RIGHT, gen_length=4, stop=["<end>", "zz"])
    assert (row.text, row.finish_reason, row.tokens.tolist()) == (["a"], ["stop"], [1])


# --- the least length


class Early(Texts):
    """Bans the ends of a text at the first positions after a prompt."""

    def __init__(self, seed: int, begin: int, least: int, ends: Sequence[int]) -> None:
        super().__init__(seed)
        self.places, self.ends = slice(begin, begin + least), list(ends)

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        for end in self.ends:
            logits[:, self.places, end] = float("-inf")
        return logits


def test_no_end_is_written_before_the_least_length() -> None:
    changed = 0
    for seed, text in enumerate([*FIXED, *(random_policy(seed)[0] for seed in range(3))]):
        prompt, stops = [8] * (seed % 3), [9, 10]
        banned = Early(seed % 5, len(prompt), 6, [EOS, END_OF_TURN, *stops])
        how: dict[str, Any] = {"gen_length": 9, "stop_ids": stops, "request_ids": [seed]}
        want = decoded(banned, [prompt], text, **how)
        got = decoded(Texts(seed % 5), [prompt], text, min_length=6, **how)
        assert got.ids[0].tolist() == want.ids[0].tolist(), text
        assert not {EOS, END_OF_TURN, *stops} & {*got.ids[0].tolist()[len(prompt) :][:6]}
        changed += decoded(Texts(seed % 5), [prompt], text, **how).ids[0].tolist() != got.ids[0].tolist()
    assert changed > 3


def test_prompts_side_by_side_have_their_own_lengths() -> None:
    model, prompts = Padded(Texts(2)), [[8], [9, 10], [11]]
    together = decoded(model, prompts, "threshold", gen_length=[4, 9, 6], batch=2)
    for row, (prompt, length) in enumerate(zip(prompts, (4, 9, 6), strict=True)):
        alone = decoded(Texts(2), [prompt], "threshold", gen_length=length)
        assert together.ids[row].tolist() == alone.ids[0].tolist()


# --- samples


def test_a_sample_draws_its_own_numbers_whatever_is_beside_it() -> None:
    model, prompts = Padded(Texts(1)), [[8], [9, 10]]
    how: dict[str, Any] = {"gen_length": 8, "seed": 3}
    one, four = (decoded(model, prompts, HOT, n=n, **how) for n in (1, 4))
    two = decoded(model, prompts, HOT, n=2, batch=1, **how)
    ids = [[row.tolist() for row in of.ids] for of in (one, two, four)]
    assert ids[2][::4] == ids[0]  # sample 0 is the answer without samples
    assert [*ids[2][:2], *ids[2][4:6]] == ids[1]
    assert len({tuple(row) for row in ids[2]}) > 4
    rows = sorted(stream(model, prompts, HOT, n=4, **how), key=lambda row: row.index)
    assert [(row.index, row.sample) for row in rows] == [(at, at % 4) for at in range(8)]
    assert [row.ids.tolist() for row in rows] == ids[2]


def test_equal_samples_are_decoded_once(caplog: pytest.LogCaptureFixture) -> None:
    denoiser = Texts(1)
    one = decoded(denoiser, [[8], [9]], "threshold", gen_length=8)
    calls = len(denoiser.calls)
    three = decoded(denoiser, [[8], [9]], "threshold", gen_length=8, n=3)
    assert len(denoiser.calls) == 2 * calls
    assert [ids.tolist() for ids in three.ids] == [ids.tolist() for ids in one.ids for _ in range(3)]
    assert three.forwards.tolist() == [int(count) for count in one.forwards for _ in range(3)]
    assert "W0401" in caplog.text


# --- mistakes


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ({"min_length": 9}, "E0409", "`min_length=9` is more than the 8 tokens to generate"),
        ({"gen_length": [8, 8]}, "E0409", "there is 1 prompt and 2 values of `gen_length`"),
        ({"infill": True, "stop": "a"}, "E0423", "`stop` cannot be used with `infill=True`"),
        ({"infill": True, "min_length": 2}, "E0423", "the gaps give the number of tokens"),
        ({"system": "Be brief."}, "E0409", "this prompt is ids"),
        ({"n": 0}, "E0409", "`n` must be a whole number of 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(how: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(dsldec.UsageError, match=code) as error:
        decoded(Texts(1), [[8]], "threshold", **{"gen_length": 8} | how)
    assert says in str(error.value)


def test_stop_strings_need_a_tokenizer() -> None:
    with pytest.raises(dsldec.UsageError, match="this denoiser has no tokenizer"):
        decoded(ToyDenoiser(1, 1.0), [[8]], "threshold", gen_length=4, stop="a")


def test_a_tokenizer_that_fails_fails_its_row_alone() -> None:
    class Breaks(Fixed):
        def unstripped_text(self, ids: Sequence[int]) -> str:
            raise RuntimeError("no such id")

    rows = list(stream(Breaks([A, B, C]), [[9]], LEFT_TO_RIGHT, gen_length=3, stop="z", backend="eager"))
    assert rows[0].error is not None
    assert (rows[0].error.code, rows[0].finish_reason) == ("E0410", "error")
