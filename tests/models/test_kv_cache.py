"""With cached keys and values, a call with a part of the canvas gives the same logits as a call with the
whole canvas.

The oracle is the denoiser itself, called with the whole canvas and without a cache.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.models.blocks import BlockMask, as_truth
from dsldec.models.head import picked
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.kv_cache import InputRows, KVCache
from dsldec.models.probe import square_mask

from . import tiny
from .tiny import MASK, denoiser_of

LENGTHS = (24, 17)
DEEP: dict[str, dict[str, Any]] = {
    "eurobert": {"num_hidden_layers": 3, "num_key_value_heads": 1},
    "modernbert": {"num_hidden_layers": 3, "local_attention": 8},
    "bert": {"num_hidden_layers": 3},
    "distilbert": {"n_layers": 3},
    "albert": {"num_hidden_layers": 3},
    "llama": {"num_hidden_layers": 3, "num_key_value_heads": 1},
    "qwen2": {"num_hidden_layers": 3},
    "gemma3": {
        "num_hidden_layers": 3,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "qwen3": {"num_hidden_layers": 3},
}


def deep(family: str, **given: Any) -> HuggingFaceDenoiser:
    made: HuggingFaceDenoiser = denoiser_of(family, DEEP[family], **given)
    return made


def canvas(seed: int = 0) -> Tensor:
    """Two canvases; of the second, the last ids are padding."""
    return torch.randint(3, tiny.SIZE, (2, LENGTHS[0]), generator=torch.Generator().manual_seed(seed))


def fed(
    memory: KVCache,
    ids: Tensor,
    spans: list[tuple[int, int, int]],
    right: list[int] | None = None,
    columns: Any = None,
) -> Tensor:
    """Feed for each (row, begin, end) these columns, seeing all that is kept left of them and from `right` on
    (the end, unless given).
    """
    width = max(end - begin for _, begin, end in spans)
    tokens = torch.full((len(spans), width), 7)
    for one, (row, begin, end) in enumerate(spans):
        tokens[one, : end - begin] = ids[row, begin:end]
    rows, begin, end = (torch.tensor(each) for each in zip(*spans, strict=True))
    sees = end if right is None else torch.tensor(right)
    return memory(
        tokens, InputRows(begin, end - begin, rows, begin, sees, torch.tensor(LENGTHS)[rows]), columns
    )


def kept_whole(denoiser: HuggingFaceDenoiser, ids: Tensor, length: int = 24) -> tuple[KVCache, Tensor]:
    memory = denoiser.kv_cache(2, length)
    logits = fed(memory, ids, [(0, 0, LENGTHS[0]), (1, 0, LENGTHS[1])])
    memory.store(torch.arange(2), torch.zeros(2, dtype=torch.int64), torch.tensor(LENGTHS))
    return memory, logits


def near(given: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(given, expected, rtol=tolerance, atol=tolerance)


def near_plain(given: Tensor, plain: Tensor, spans: list[tuple[int, int, int]]) -> None:
    for one, (row, begin, end) in enumerate(spans):
        near(given[one, : end - begin], plain[row, begin:end])


@pytest.mark.parametrize("length", [24, 31])
@pytest.mark.parametrize("family", DEEP)
def test_a_whole_canvas_gives_what_the_plain_call_gives(family: str, length: int) -> None:
    denoiser, ids = deep(family), canvas()
    plain = denoiser(ids, list(LENGTHS))
    _, whole = kept_whole(denoiser, ids, length)
    near(whole[0], plain[0])
    near(whole[1, :17], plain[1, :17])


SPANS = [(1, 6, 11), (0, 13, 17), (1, 0, 3), (0, 0, 7), (0, 20, 24)]


@pytest.mark.parametrize("family", DEEP)
def test_a_part_hears_what_is_kept_on_both_sides_or_on_the_left(family: str) -> None:
    denoiser, ids = deep(family), canvas()
    plain = denoiser(ids, list(LENGTHS))
    memory, _ = kept_whole(denoiser, ids)
    near_plain(fed(memory, ids, SPANS), plain, SPANS)
    to_the_end = [(0, 9, 24), (1, 5, 17), (1, 16, 17)]
    near_plain(fed(memory, ids, to_the_end), plain, to_the_end)


@pytest.mark.parametrize("family", ["eurobert", "gemma3"])
def test_a_fed_row_among_others_equals_the_row_alone(family: str) -> None:
    denoiser, ids = deep(family), canvas()
    memory, _ = kept_whole(denoiser, canvas(1))
    together = fed(memory, ids, SPANS)
    for one, (row, begin, end) in enumerate(SPANS):
        near(together[one, : end - begin], fed(memory, ids, [(row, begin, end)])[0], 1e-5)


@pytest.mark.parametrize("family", ["eurobert", "bert"])
def test_what_stands_outside_is_heard_as_it_was_when_it_was_kept(family: str) -> None:
    denoiser, old = deep(family), canvas()
    memory, _ = kept_whole(denoiser, old)
    new = old.clone()
    new[:, 14:17] = 40  # right of the block
    span = [(0, 8, 12), (1, 8, 12)]
    near_plain(fed(memory, new, span), denoiser(old, list(LENGTHS)), span)
    assert (fed(memory, new, span)[0] - denoiser(new, list(LENGTHS))[0, 8:12]).abs().max() > 1e-2
    again = torch.stack([old[0], new[1]])  # of the first row, what was kept stays
    fed(memory, new, [(0, 0, 24), (1, 0, 17)])
    memory.store(torch.tensor([0, 1]), torch.zeros(2, dtype=torch.int64), torch.tensor([0, 17]))
    near_plain(fed(memory, new, span), denoiser(again, list(LENGTHS)), span)


def test_of_a_call_only_the_columns_that_are_named_are_kept() -> None:
    """Left and right of a block, as the dual cache has it: the block's own columns stay as they were."""
    denoiser, old, new = deep("eurobert"), canvas(), canvas(1)
    memory, _ = kept_whole(denoiser, old)
    fed(memory, new, [(0, 0, 24), (1, 0, 17)])
    both = torch.arange(2)
    memory.store(both, torch.tensor([0, 0]), torch.tensor([8, 8]))
    memory.store(both, torch.tensor([12, 12]), torch.tensor([24, 17]))
    block = [(0, 8, 12), (1, 8, 12)]
    near_plain(fed(memory, new, block), denoiser(new, list(LENGTHS)), block)
    beside = [(0, 12, 15), (1, 12, 15)]
    assert (fed(memory, new, beside)[0] - denoiser(new, list(LENGTHS))[0, 12:15]).abs().max() > 1e-2


def test_drafts_are_several_fed_rows_of_one_and_any_of_them_can_be_kept() -> None:
    denoiser, ids = deep("qwen3"), canvas()
    drafts = [ids.clone() for _ in range(3)]
    for one, draft in enumerate(drafts):
        draft[:, 8:12] = 30 + one
    memory, _ = kept_whole(denoiser, ids)
    tokens = torch.stack(
        [draft[row, 8:12] for row, draft in ((0, drafts[0]), (1, drafts[1]), (0, drafts[1]), (0, drafts[2]))]
    )
    rows, begin = torch.tensor([0, 1, 0, 0]), torch.full((4,), 8)
    given = memory(tokens, InputRows(begin, begin - 4, rows, begin, begin + 4, torch.tensor(LENGTHS)[rows]))
    memory.store(torch.tensor([2, 1]), begin[:2], begin[:2] + 4)
    alone, _ = kept_whole(denoiser, ids)
    near(given[2:3], fed(alone, drafts[1], [(0, 8, 12)]), 1e-5)
    alone.store(torch.zeros(2, dtype=torch.int64), torch.tensor([8, 0]), torch.tensor([12, 0]))
    near(given[1:2], fed(alone, drafts[1], [(1, 8, 12)]), 1e-5)
    alone.store(torch.zeros(2, dtype=torch.int64), torch.tensor([0, 8]), torch.tensor([0, 12]))
    after = [(0, 12, 20), (1, 12, 17)]
    near_plain(fed(memory, ids, after), torch.nn.functional.pad(fed(alone, ids, after), (0, 0, 12, 0)), after)


@pytest.mark.parametrize("family", ["eurobert", "modernbert", "qwen3"])
def test_padding_is_neither_heard_nor_kept(family: str) -> None:
    denoiser, ids = deep(family), canvas()
    memory, _ = kept_whole(denoiser, ids)
    rows = torch.arange(2)
    sizes = InputRows(
        torch.tensor([20, 4]),
        torch.tensor([4, 0]),
        rows,
        torch.tensor([20, 0]),
        torch.tensor([24, 17]),
        torch.tensor(LENGTHS),
    )
    one = memory(torch.cat([ids[:, 20:24], torch.full((2, 6), 9)], 1), sizes)
    memory.store(rows, torch.tensor([20, 0]), torch.tensor([24, 17]))
    other = memory(torch.cat([ids[:, 20:24], torch.full((2, 6), 33)], 1), sizes)
    assert torch.equal(one[0, :4], other[0, :4])
    assert other.isfinite().all()
    plain = denoiser(ids, list(LENGTHS))
    near_plain(fed(memory, ids, SPANS), plain, SPANS)


def test_chosen_columns_are_those_of_the_canvas() -> None:
    denoiser, ids = deep("eurobert"), canvas()
    memory, _ = kept_whole(denoiser, ids)
    at = torch.tensor([[10, 8, 8], [11, 9, 6]])
    near(fed(memory, ids, [(0, 8, 12), (1, 6, 12)], columns=at), picked(denoiser(ids, list(LENGTHS)), at))


@pytest.mark.parametrize("family", ["eurobert", "qwen3"])
def test_logits_that_speak_of_the_next_position_are_there_for_the_first_one_fed(family: str) -> None:
    denoiser, ids = deep(family, shift_logits=True), canvas()
    plain = denoiser(ids, list(LENGTHS))
    memory, whole = kept_whole(denoiser, ids)
    near(whole[0], plain[0])
    near_plain(fed(memory, ids, SPANS), plain, SPANS)
    at = torch.tensor([[8, 11], [6, 7]])
    near(fed(memory, ids, [(0, 8, 12), (1, 6, 12)], columns=at), picked(plain, at))


def in_blocks() -> HuggingFaceDenoiser:
    """A model that hears its own block of 8 and those before it."""
    return deep("qwen3", block_length=8, mask=BlockMask(8, as_truth, torch.float32))


def test_in_a_model_causal_between_blocks_nothing_is_lost() -> None:
    denoiser, ids = in_blocks(), canvas()
    plain = denoiser(ids, LENGTHS)
    memory, _ = kept_whole(denoiser, ids)
    for spans in ([(0, 8, 24), (1, 8, 17)], [(0, 8, 16), (1, 8, 16)], [(0, 16, 24), (1, 8, 17)]):
        part = fed(memory, ids, spans, right=[LENGTHS[row] for row, _, _ in spans])
        for one, (row, begin, end) in enumerate(spans):
            near(part[one, : end - begin], plain[row, begin:end], 1e-5)


def test_blocks_kept_one_after_another_are_a_whole_canvas() -> None:
    denoiser, ids = in_blocks(), canvas()
    plain, memory = denoiser(ids, LENGTHS), denoiser.kv_cache(2, 24)
    for begin in (0, 8, 16):
        ends = [min(begin + 8, length) for length in LENGTHS]
        spans = [(row, begin, end) for row, end in enumerate(ends)]
        part = fed(memory, ids, spans, right=list(LENGTHS))
        for row, _, end in spans:
            near(part[row, : end - begin], plain[row, begin:end], 1e-5)
        memory.store(torch.arange(2), torch.full((2,), begin), torch.tensor(ends))


def test_what_is_kept_on_the_right_is_not_heard_in_a_model_causal_between_blocks() -> None:
    denoiser, ids = in_blocks(), canvas()
    memory, _ = kept_whole(denoiser, ids)
    near(fed(memory, ids, [(0, 8, 16)]), denoiser(ids)[:1, 8:16], 1e-5)


@pytest.mark.parametrize("family", ["eurobert", "qwen3", "gemma3"])
def test_half_precision_is_kept_as_it_is(family: str) -> None:
    denoiser, ids = deep(family), canvas()
    denoiser.model.bfloat16()
    plain = denoiser(ids, list(LENGTHS)).float()
    memory, whole = kept_whole(denoiser, ids)
    assert whole.dtype == torch.bfloat16
    bound = 0.03 * float(plain.abs().max())
    for one, (row, begin, end) in enumerate(SPANS):
        assert (
            fed(memory, ids, SPANS)[one, : end - begin].float() - plain[row, begin:end]
        ).abs().max() < bound


def test_memory_is_counted() -> None:
    memory, _ = kept_whole(deep("llama"), canvas())
    assert memory.layers == 3
    assert (
        memory.bytes == 3 * 2 * (2 * 1 * 25 * 8) * 4
    )  # keys and values of one head; a column for what is not kept


def implementations(denoiser: HuggingFaceDenoiser) -> set[str]:
    return {
        module.config._attn_implementation for module in denoiser.model.modules() if hasattr(module, "config")
    }


def test_a_model_is_left_as_it_was_after_errors_too() -> None:
    denoiser, ids = deep("modernbert"), canvas()
    before, plain = implementations(denoiser), denoiser(ids)
    memory, _ = kept_whole(denoiser, ids)
    assert implementations(denoiser) == before
    with pytest.raises(IndexError):
        fed(memory, ids + 10**6, [(0, 0, 4)])
    assert implementations(denoiser) == before
    assert torch.equal(denoiser(ids), plain)
    with pytest.raises(RuntimeError, match="needs a call before it"):
        memory.store(torch.arange(2), torch.arange(2), torch.arange(2))


def test_the_embedded_model_keeps() -> None:
    denoiser = from_pretrained()
    ids = torch.tensor([denoiser.encode("What is 3+4?") + [denoiser.mask_id] * 16])
    length = ids.shape[1]
    memory, nothing, whole = denoiser.kv_cache(1, length), torch.tensor([0]), torch.tensor([length])
    near(memory(ids, InputRows(nothing, whole, nothing, nothing, whole, whole)), denoiser(ids))
    memory.store(nothing, nothing, whole)
    first, count = torch.tensor([length - 16]), torch.tensor([8])
    near(
        memory(ids[:, -16:-8], InputRows(first, count, nothing, first, first + 8, whole)),
        denoiser(ids)[:, -16:-8],
    )


@pytest.mark.parametrize(
    ("family", "vary", "says"),
    [
        ("roberta", {}, "does not use the given position ids"),
        ("own code", {}, "takes no position ids"),
        ("gemma2", {}, "passes `softcap` to attention"),
        ("deberta", {}, "computes attention in its own way"),
        ("bert", {"max_position_embeddings": 5}, "takes only 5 tokens"),
    ],
)
def test_what_cannot_keep_is_told_in_words(
    family: str, vary: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny.NATIVE, "gemma2", ("Gemma2ForCausalLM", tiny.BOTH_SIDES | {"head_dim": 8}))
    monkeypatch.setitem(tiny.NATIVE, "deberta", ("DebertaForMaskedLM", tiny.BERT_SIZES))
    denoiser = denoiser_of(family, vary, **({"max_length": 5} if vary else {}))
    ids = torch.tensor([[5, 6, 7, MASK]])
    plain = denoiser(ids)
    with pytest.raises(dsldec.UsageError, match=says) as error:
        denoiser.kv_cache(1, 8)
    assert error.value.diagnostic.code == "E0414"
    assert '`cache="none"`' in str(error.value.diagnostic.help)
    assert torch.equal(denoiser(ids), plain)


def test_no_square_mask_is_needed() -> None:
    """Rows are kept apart by what is seen, whatever form of mask the plain call takes."""
    denoiser, ids = deep("qwen3", mask=square_mask), canvas()
    _, whole = kept_whole(denoiser, ids)
    near(whole[1, :17], denoiser(ids, list(LENGTHS))[1, :17])


def test_what_stands_between_left_and_the_first_one_fed_is_not_heard() -> None:
    denoiser, ids = deep("eurobert"), canvas()
    given = {}
    for id_at_8 in (40, 41):
        memory, _ = kept_whole(denoiser, ids)
        fed(memory, torch.full_like(ids, id_at_8), [(0, 8, 9)])
        memory.store(torch.zeros(2, dtype=torch.int64), torch.tensor([8, 0]), torch.tensor([9, 0]))
        for left in (8, 9):
            first, count, row, right, lengths = (torch.tensor([number]) for number in (12, 4, 0, 16, 24))
            given[id_at_8, left] = memory(
                ids[:1, 12:16], InputRows(first, count, row, torch.tensor([left]), right, lengths)
            )
    assert torch.equal(given[40, 8], given[41, 8])
    assert not torch.equal(given[40, 9], given[41, 9])


def test_what_is_no_number_stays_in_its_row_and_goes_with_it() -> None:
    """As by a row that failed, whose place another one takes: shorter, so that some of what was kept stays."""
    denoiser, ids = deep("eurobert"), canvas()
    embedding = denoiser.model.get_input_embeddings().weight
    memory, sound = kept_whole(denoiser, ids)
    was, embedding.data[MASK] = embedding.data[MASK].clone(), torch.nan
    failed = fed(memory, torch.stack([ids[0], torch.full_like(ids[1], MASK)]), [(0, 0, 24), (1, 0, 17)])
    memory.store(torch.arange(2), torch.zeros(2, dtype=torch.int64), torch.tensor(LENGTHS))
    assert failed[1].isnan().all()
    near(failed[0], sound[0], 1e-5)
    embedding.data[MASK] = was
    first, count, length = torch.tensor([0]), torch.tensor([6]), torch.tensor([6])
    again = memory(ids[:1, :6], InputRows(first, count, torch.tensor([1]), first, length, length))
    near(again, denoiser(ids[:1, :6]))
