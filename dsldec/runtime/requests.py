"""What is asked of a run, one request a prompt: the canvas it starts from, and which part of that is to be
generated.

Most requests are a prompt and masks after it. An infilling is a text with masks in it, which are decoded in
place: what is generated lies between its first mask and its last, and what is given there stays. For a model
that sees blocks, counted from the start of the canvas, the first window begins where a block does, so that
the windows of a policy and the blocks of the model lie on each other: it is short by what the prompt has of
that block. Not here: what a denoiser takes (`models.denoiser`), how requests become rows (`rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..diagnostics import Diagnostic, UsageError
from ..options import is_whole, not_whole
from ..spelling import shown


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to decode.

    `index`: its place in the run; `text`: ids as they were given, `masks`: how many MASKs come after them
    (many requests may wait, and each is laid out only when it has a row); `begin`, `length`: the first column
    and the number of positions of the generation region, from where results count; `lead`: how many columns
    before that the first window begins; `infills`: text was given after a MASK, so that an end-of-text token
    ends nothing; `gaps`: text is given between its masks.
    """

    index: int
    text: Sequence[int]
    masks: int
    begin: int
    length: int
    lead: int = 0
    infills: bool = False
    gaps: bool = False  # asked of every row at every forward

    @property
    def columns(self) -> int:
        """How many columns its canvas has."""
        return len(self.text) + self.masks

    def canvas(self, mask_id: int) -> list[int]:
        """Ids, MASK where something is to be written."""
        return [*self.text, *[mask_id] * self.masks]

    @property
    def region(self) -> slice:
        """The columns of the generation region."""
        return slice(self.begin, self.begin + self.length)

    @property
    def windows(self) -> int:
        """The positions that its windows cover."""
        return self.lead + self.length

    def asked(self, mask_id: int) -> list[int]:
        """The columns that are to be written: MASKs before the region are given, as all of a prompt is."""
        canvas = self.canvas(mask_id)
        return [at for at in range(self.begin, self.begin + self.length) if canvas[at] == mask_id]


def continued(index: int, prompt: Sequence[int], gen_length: int, block_length: int | None) -> Request:
    """A prompt, and so many masks after it; `block_length` of a model whose blocks the windows are to lie on."""
    return Request(index, prompt, gen_length, len(prompt), gen_length, len(prompt) % (block_length or 1))


def infilled(index: int, text: Sequence[int], mask_id: int, block_length: int | None) -> Request:
    """A text whose masks are decoded in place. Raises `UsageError` (E0409) where it has none."""
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
