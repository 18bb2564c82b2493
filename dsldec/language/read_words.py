"""The words that a step reads: observations of the logits, the canvas, the row and its window.

Not here: the words that compute with these (`computed_words`).
"""

from __future__ import annotations

from dataclasses import replace

from .word_types import (
    A_MASK,
    CONDITIONS,
    IDS,
    INT,
    NUMBERS,
    TABLES,
    Extent,
    Kind,
    Polarity,
    Slot,
    Type,
    Word,
)

NO_ID = -1  # equal to no id of a canvas, in place of an id that there is not
KEPT_IDS = 256  # ids of a stored distribution; for 126,464 ids, this takes 0.6 % of the memory of all
MOST_KEPT = 2**20  # more ids than any vocabulary has

_PREVIOUS = Slot("before", frozenset({Kind.PREVIOUS}))
_KEEP = Slot("keep", INT, Extent.RUN, named=True, optional=True, default=str(KEPT_IDS), largest=MOST_KEPT)
_TABLE = Slot("table", frozenset({Kind.TABLE}), Extent.RUN)


def _observed(name: str, kind: Kind, polarity: Polarity, meaning: str) -> Word:
    is_number = kind in NUMBERS
    return Word(
        name, (), Type(kind, Extent.POSITION, polarity), meaning, observation=True, nonnegative=is_number
    )


def _row_int(name: str, meaning: str, *, steady: bool = True, late: bool = False) -> Word:
    return Word(name, (), Type(Kind.INT, Extent.ROW), meaning, steady=steady, late=late, nonnegative=True)


OBSERVED = (
    _observed(
        "token",
        Kind.TOKEN,
        Polarity.NONE,
        "the id that `commit` writes: the likeliest id other than MASK, or the id that `draw` samples",
    ),
    _observed(
        "likeliest",
        Kind.TOKEN,
        Polarity.NONE,
        "the likeliest id other than MASK, also where `draw` samples another one as `token`",
    ),
    replace(
        _observed("conf", Kind.PROB, Polarity.HIGH, "probability of the token"),
        aliases=("confidence", "probability"),
        complement="doubt",
    ),
    replace(
        _observed("doubt", Kind.PROB, Polarity.LOW, "1 - conf, computed without cancellation"),
        aliases=("uncertainty",),
        complement="conf",
    ),
    _observed(
        "margin",
        Kind.PROB,
        Polarity.HIGH,
        "probability of the likeliest id minus that of the second likeliest",
    ),
    _observed("logit_margin", Kind.LOGIT, Polarity.HIGH, "largest logit minus the second largest"),
    _observed("entropy", Kind.NATS, Polarity.LOW, "entropy of the distribution over the vocabulary, in nats"),
    replace(
        _observed(
            "p",
            Kind.PROB,
            Polarity.HIGH,
            "probability of an id; `p(canvas)` is the probability of the id on the canvas",
        ),
        slots=(Slot("ids", IDS),),
    ),
    Word(
        "of",
        (Slot("table", TABLES, Extent.RUN), Slot("index", IDS)),
        Type(Kind.REAL, Extent.POSITION),
        "the table's number for an id, as in `of(frequency, token)`; no value for an id outside the table. Of a table by step: its number "
        "for an int, as in `of(taus, step)`; beyond its end the last one, no value below 0",
    ),
    replace(
        _observed(
            "kl",
            Kind.NATS,
            Polarity.LOW,
            "`kl(before)`: KL divergence of this step's distribution from that of the previous step; +inf in a window's first step. "
            "The step stores the probabilities of the `keep` likeliest ids and the sum of all others (of a vocabulary of at most `keep` "
            "ids, all probabilities). The result is never above the divergence over all ids",
        ),
        slots=(_PREVIOUS, _KEEP),
        passes=1,
    ),
    replace(
        _observed(
            "js",
            Kind.NATS,
            Polarity.LOW,
            "`js(before)`: Jensen-Shannon divergence of this step's distribution and that of the previous step, from 0 to log 2; +inf in a "
            "window's first step. `keep` as in `kl`, with the same stored distribution. The result is never above the divergence over all ids",
        ),
        slots=(_PREVIOUS, _KEEP),
        passes=1,
    ),
    Word(
        "same",
        (_PREVIOUS,),
        A_MASK,
        "`same(before)`: the token is the token of the previous step; false in a window's first step",
        carried_bytes=8,
    ),
    Word(
        "before",
        (Slot("x", frozenset({*NUMBERS, *CONDITIONS, Kind.TOKEN})),),
        None,
        "the value of x at the start of this window's previous step; no value (false for a mask) in a window's first step",
    ),
)

CANVAS = (
    Word(
        "canvas",
        (),
        Type(Kind.TOKEN, Extent.POSITION),
        "the id on the canvas, MASK where nothing is written",
    ),
    Word(
        "draft",
        (),
        Type(Kind.TOKEN, Extent.POSITION),
        "in `accept`: the id of the draft at the position, as in `p(draft) >= 0.9`",
        within="accept",
        steady=True,
        carried_bytes=8,
    ),
    Word("masked", (), A_MASK, "positions of the window that are not written yet", aliases=("mask",)),
    Word("committed", (), A_MASK, "positions of the window that are written", aliases=("unmasked",)),
    Word("after_eos", (), A_MASK, "positions to the right of the first end-of-text token on the canvas"),
    Word(
        "pos",
        (),
        Type(Kind.INT, Extent.POSITION),
        "the position; the first generated one is 0",
        aliases=("position",),
        steady=True,
        nonnegative=True,
    ),
    Word(
        "age",
        (),
        Type(Kind.INT, Extent.POSITION),
        "steps since the position was written; 0 if it is masked or was written in this step",
        nonnegative=True,
        carried_bytes=8,
    ),
)

ROW = (
    _row_int("window_start", "the first position of the window"),
    _row_int("window_end", "the position after the last one that may be written in the window"),
    _row_int("window_length", "number of positions that may be written in the window"),
    _row_int("generation_length", "number of positions from the first generated one to the last"),
    Word(
        "progress",
        (),
        Type(Kind.REAL, Extent.ROW),
        "share of the `generation_length` positions that is not masked",
        nonnegative=True,
    ),
    replace(_row_int("step", "number of steps of the row before this one"), counter=True),
    replace(_row_int("steps_in_window", "number of steps in this window before this one"), counter=True),
    replace(
        _row_int("steps_in_phase", "number of steps before this one since the row entered the phase"),
        counter=True,
    ),
    _row_int("visits", "number of times that the row entered this phase in this window, this time included"),
    Word(
        "idle",
        (),
        Type(Kind.BOOL, Extent.ROW),
        "whether this step has committed nothing so far",
        late=True,
    ),
    replace(
        _row_int(
            "committed_now",
            "number of positions that this step has committed so far",
            steady=False,
            late=True,
        ),
        gain=True,
    ),
    _row_int("edited_now", "number of positions that this step has edited so far", steady=False, late=True),
    replace(
        _row_int("committed_before", "number of positions that the previous step of this window committed"),
        gain=True,
    ),
    Word(
        "eos_closed",
        (),
        Type(Kind.BOOL, Extent.ROW),
        "whether an end-of-text token is on the canvas and no position before it is masked",
    ),
)


def _special(name: str, meaning: str, *aliases: str) -> Word:
    return Word(name, (), Type(Kind.TOKEN, Extent.RUN), meaning, steady=True, aliases=aliases)


# Ids of the model. Where it does not have one, the word is equal to no id.
SPECIAL = (
    _special(
        "eos",
        "the model's end-of-text token, the one that `after_eos` and `eos_closed` mean; equal to no id if the model has none",
        "eos_token",
        "eos_token_id",
        "eos_id",
        "eot",
    ),
    _special(
        "bos",
        "the model's token for the beginning of a text; equal to no id if the model has none",
        "bos_token",
    ),
    _special("pad", "the model's padding token; equal to no id if the model has none", "pad_token"),
)

READ_WORDS = (*OBSERVED, *CANVAS, *ROW, *SPECIAL)
