"""The requests of a run, one a prompt: the canvas at the start, and the part of it that is generated.

Most requests are a prompt and masks after it. An infilling is a text with masks, decoded in place: its
generation region is from its first mask to its last, and given text in it stays. A block-causal model counts
its blocks from the start of the canvas. There the first window begins where a block begins, so that the
windows of the policy and the blocks of the model are the same columns; the prompt's part of that block is not
written. A host that shows one block at a time makes a request for each block. Not here: the ids that a
denoiser takes (`models.denoiser`), the rows of a batch (`rows`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..options import is_whole, not_whole
from ..patterns.automaton import TokenAutomaton
from ..spelling import shown


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to decode, or one of its samples.

    Attributes:
        index: The place in the results of the run.
        text: The given ids.
        masks: The number of MASKs after `text`. The canvas is made only when the request has a row, since
            many requests may wait.
        begin: The first column of the generation region; results count from there. Negative where only
            columns after it are shown.
        length: The positions of the generation region.
        lead: The columns between the start of the first window and the region.
        infills: Whether text was given after a MASK, so that an end-of-text token does not end the row.
        gaps: Whether text is given between the masks.
        key: The start of the random numbers (`noise.key(seed, request_id, sample)`).
        parameters: The values that replace those of the policy.
        sample: The number of the sample of its prompt.
        stop_ids: Ids that end the row as the end-of-text id does.
        text_ends: More ids at which the denoiser ends a text; they do not end the row.
        min_length: The positions at whose start no end-of-text id, stop id or end of a text is written.
        pattern: The pattern that the text of the region matches; `None` for any text.
        stop: Stop strings, for the loop of `decode`: a host without a tokenizer does not read them.
    """

    index: int
    text: Sequence[int]
    masks: int
    begin: int
    length: int
    lead: int = 0
    infills: bool = False
    gaps: bool = False  # read for every row in every forward
    key: int = 0
    parameters: Mapping[str, Value] | None = None
    sample: int = 0
    stop_ids: tuple[int, ...] = ()
    text_ends: tuple[int, ...] = ()
    min_length: int = 0
    stop: tuple[str, ...] = ()
    pattern: TokenAutomaton | None = None

    @property
    def columns(self) -> int:
        """The number of columns of the canvas."""
        return len(self.text) + self.masks

    def canvas(self, mask_id: int) -> list[int]:
        """The ids of the canvas, MASK at each position to write."""
        return [*self.text, *[mask_id] * self.masks]

    @property
    def region(self) -> slice:
        """The columns of the generation region."""
        return slice(self.begin, self.begin + self.length)

    @property
    def windows(self) -> int:
        """The positions that its windows cover."""
        return self.lead + self.length

    def to_write(self, mask_id: int) -> list[int]:
        """The columns to write. MASKs before the region belong to the prompt, and are not written."""
        canvas = self.canvas(mask_id)
        return [at for at in range(self.begin, self.begin + self.length) if canvas[at] == mask_id]


def continued(index: int, prompt: Sequence[int], gen_length: int, block_length: int | None = None) -> Request:
    """A prompt, and `gen_length` masks after it. `block_length` of a block-causal model: windows then begin
    where its blocks begin.
    """
    return Request(index, prompt, gen_length, len(prompt), gen_length, len(prompt) % (block_length or 1))


NO_REQUEST = Request(-1, (), 0, 0, 0)  # of a row that decodes nothing


def block_shown(
    index: int, ids: Sequence[int], start: int, generation_length: int, mask_id: int, key: int = 0
) -> Request:
    """The request of a host that shows one block: its ids, MASK at each position to write.

    `start`: the block's first position, counted from the first generated one; negative for a block that
    begins in the prompt. `generation_length`: positions of the whole text to generate, of all blocks.
    """
    return next_block(Request(index, (), 0, 0, generation_length, key=key), ids, start, mask_id)


def next_block(request: Request, ids: Sequence[int], start: int, mask_id: int) -> Request:
    """The same request, where the host shows another block of it."""
    end = min(len(ids), request.length - start)
    given = any(id_ != mask_id for id_ in ids[max(0, -start) : end])
    return replace(request, text=list(ids), begin=-start, lead=-start, gaps=given)


def infilled(index: int, text: Sequence[int], mask_id: int, block_length: int | None) -> Request:
    """The request of a text whose masks are decoded in place. Raises `UsageError` (E0409) without a mask."""
    masks = [at for at, id_ in enumerate(text) if id_ == mask_id]
    if not masks:
        message = f"prompt {index} has no mask to decode in place"
        raise UsageError(
            Diagnostic("E0409", message, help=f"put the mask id, {mask_id}, at each position to fill")
        )
    length = masks[-1] + 1 - masks[0]
    return Request(
        index,
        text,
        0,
        masks[0],
        length,
        masks[0] % (block_length or 1),
        infills=True,
        gaps=len(masks) < length,
    )


def require_request_ids(request_ids: Sequence[int], count: int) -> None:
    """Check that there is one id for each of `count` prompts. Two prompts may have one id: they draw the same
    numbers. Raises `UsageError` (E0409).
    """
    if not hasattr(request_ids, "__len__") or len(request_ids) != count:
        given = (
            f"{len(request_ids)} request ids"
            if hasattr(request_ids, "__len__")
            else f"the request ids are {shown(request_ids)}"
        )
        prompts = "is 1 prompt" if count == 1 else f"are {count} prompts"
        help = "give a list of one id a prompt, or none"
        raise UsageError(Diagnostic("E0409", f"there {prompts} and {given}", help=help))
    for one in request_ids:
        if not is_whole(one):
            raise UsageError(not_whole("request_ids", one))
