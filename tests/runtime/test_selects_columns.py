"""A denoiser called for the logits of some columns gives the same logits as for all columns, and is called
for few columns.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime.decode import Decoded

from ..backends.policies import random_policy
from ..shipped import BRANCHING, CORE
from ..toy import MASK, ToyDenoiser
from .families import Padded
from .test_infill import RULES, TEXTS, policy
from .test_lookahead_paths import undrafting
from .test_poll import DRAWN, GUIDED, LENIENT

EOS, BLOCK, LENGTH = 5, 4, 11
PROMPTS = [[9, *[6] * 14], [25, 0, 8], [1], [30, *[4] * 9]]
SLIDING = "policy p():\n  window sliding(max_masks=3, max_length=5)\n  commit top(masked, 1, by=conf)\n"
UNTIL = "policy p():\n  window until(1, 7, 13, 18, 22, 24, 26, 37, min=2, max=5)\n  commit top(masked, 1, by=conf)\n"
AT_ONCE = "policy p():\n  window blocks(3)\n  commit masked\n"
WINDOWS = {AT_ONCE: 3, DRAWN: 9, LENIENT: 8, GUIDED: 8, SLIDING: 5, UNTIL: 5}


class Ending(ToyDenoiser):
    """Some rows end early."""

    eos_id = EOS

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        logits[:, :, EOS] = torch.where(
            ((ids != MASK).sum(1) > 9) & (ids[:, 0] % 3 == 1), 9.0, -32.0
        ).unsqueeze(1)
        return logits


class SelectsColumns:
    """Any denoiser, asked for some columns; `widths` holds of how many."""

    selects_columns = True

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser
        self.widths: list[int] = []

    def __call__(self, ids: Tensor, columns: Tensor | None = None, **how: Any) -> Tensor:
        logits: Tensor = self.denoiser(ids, **how)
        if columns is None:
            self.widths.append(ids.shape[1])
            return logits
        assert columns.dtype == torch.int64
        assert columns.shape[0] == ids.shape[0]
        assert 0 <= int(columns.min()) <= int(columns.max()) < ids.shape[1]
        self.widths.append(columns.shape[1])
        return torch.stack([row[which] for row, which in zip(logits, columns, strict=True)])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)


def told(decoded: Decoded) -> str:
    """All that is said."""
    return repr(
        (
            decoded.ids,
            decoded.forwards,
            decoded.rows,
            decoded.tokens,
            decoded.proposed,
            decoded.accepted,
            decoded.trace,
            decoded.errors,
        )
    )


def assert_same(denoiser: Any, prompts: list[list[int]], of: dsldec.Policy, most: int, **how: Any) -> None:
    """With chosen columns as without; of no more than so many columns, where there are more."""
    how = {"gen_length": LENGTH, "backend": "eager", "trace": True, "batch": 3, **how}
    whole = dsldec.decode(denoiser, prompts, of, **how)
    selects = SelectsColumns(denoiser)
    assert told(dsldec.decode(selects, prompts, of, **how)) == told(whole)
    assert max(selects.widths) <= most


def drafts_of(name: str) -> tuple[int | None, ...]:
    itself = name.startswith("freedave") or "lookahead" in name or name in BRANCHING
    return (None,) if itself else (1, 3)


@pytest.mark.parametrize("verify_rows", ["batch", "sequential"])
@pytest.mark.parametrize("name", [*CORE, *WINDOWS], ids=lambda name: name[:20].replace("\n", " "))
def test_chosen_columns_are_enough(name: str, verify_rows: str) -> None:
    of = dsldec.load(name, **({"block": BLOCK} if "\n" not in name else {}))
    for drafts in drafts_of(name)[-1:] if verify_rows == "sequential" else drafts_of(name):
        most = WINDOWS.get(name, BLOCK) * of.drafts(drafts)
        assert_same(Padded(Ending(7, 1.0)), PROMPTS, of, most, lookahead=drafts, verify_rows=verify_rows)


@pytest.mark.parametrize(
    "name", ["static", "factor", GUIDED, SLIDING], ids=lambda name: name[:20].replace("\n", " ")
)
def test_of_a_plain_callable_too(name: str) -> None:
    of = dsldec.load(name, **({"block": 2} if "\n" not in name else {}))
    for drafts in (1, 3):
        assert_same(
            Ending(7, 1.0),
            [[1, 2, 3]] * 2 + [[8, 9], [4, 0, 9]],
            of,
            WINDOWS.get(name, 2) * drafts,
            lookahead=drafts,
        )


@pytest.mark.parametrize("name", RULES)
def test_of_infillings_too(name: str) -> None:
    """Where drafts may pass over text that is given, the region is what they may reach."""
    of = dsldec.load(policy(RULES[name][0]))
    region = max(len(text) for text in TEXTS.values())
    window = of.facts.block_length(region, of.parameters)
    texts = [[8] * 9 + text + [3] * 5 for text in TEXTS.values()]
    for drafts in (1, 3):
        assert_same(
            Padded(Ending(3, 1.0)),
            texts,
            of,
            window if drafts == 1 else region,
            infill=True,
            lookahead=drafts,
        )
    masks_alone = [[*prompt, *[MASK] * LENGTH] for prompt in PROMPTS]
    assert_same(Padded(Ending(3, 1.0)), masks_alone, of, 3 * min(window, LENGTH), infill=True, lookahead=3)


@pytest.mark.parametrize(
    "name", ["static", "factor", GUIDED, SLIDING, UNTIL], ids=lambda name: name[:20].replace("\n", " ")
)
def test_of_models_that_see_blocks_too(name: str) -> None:
    class InBlocks(Padded):
        block_length = 4

    of = dsldec.load(name, **({"block": 4} if "\n" not in name else {}))
    for drafts in (1, 3):
        most = WINDOWS.get(name, 4) if drafts == 1 else LENGTH + 3
        assert_same(InBlocks(Ending(7, 1.0)), PROMPTS, of, most, lookahead=drafts)


def test_of_random_policies_too() -> None:
    for seed in range(3):
        of = dsldec.load(undrafting(seed) if seed % 2 else random_policy(seed)[0])
        most = of.facts.block_length(LENGTH, of.parameters) * of.drafts(3 if seed % 2 else None)
        assert_same(Padded(Ending(7, 2.0)), PROMPTS, of, max(most, 0), lookahead=3 if seed % 2 else None)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in (*CORE, *WINDOWS) if len(drafts_of(name)) > 1])
def test_of_more_drafts_too(name: str) -> None:
    of = dsldec.load(name, **({"block": BLOCK} if "\n" not in name else {}))
    for drafts in (2, 4, 6):
        assert_same(Padded(Ending(7, 1.0)), PROMPTS, of, WINDOWS.get(name, BLOCK) * drafts, lookahead=drafts)


@pytest.mark.slow
def test_of_many_random_policies_too() -> None:
    for seed in range(500, 540):
        of = dsldec.load(undrafting(seed))
        for drafts in (1, 2, 4):
            most = of.facts.block_length(LENGTH, of.parameters) * drafts
            assert_same(Padded(Ending(7, 2.0)), PROMPTS, of, most, lookahead=drafts)
            texts = [[8] * 9 + text + [3] * 5 for text in TEXTS.values()]
            assert_same(Padded(Ending(7, 2.0)), texts, of, 25, lookahead=drafts, infill=True)


def test_where_all_is_read_nothing_is_chosen() -> None:
    selects = SelectsColumns(ToyDenoiser(7, 1.0))
    dsldec.decode(selects, [[]], "static", gen_length=8, backend="eager")
    assert selects.widths == [8] * 8
