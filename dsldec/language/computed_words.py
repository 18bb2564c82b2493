"""The words that compute: reductions, arithmetic, selections, orders, runs and distances, counts.

Not here: the words that read (`read_words`).
"""

from __future__ import annotations

from dataclasses import replace

from .word_types import (
    A_MASK,
    AN_INT,
    CONDITIONS,
    INT,
    MASK_SLOT,
    NUMBER_SLOT,
    NUMBERS,
    Extent,
    Kind,
    Slot,
    Type,
    Word,
)

MOST_PICKS = 256  # picks of `thin`, whose loop is unrolled in the compiled step

_COUNT = Slot("k", INT, Extent.ROW)
_BY = Slot("by", NUMBERS, named=True, score=True)
_EACH = Slot("each", frozenset({Kind.GROUP, Kind.INT}), named=True, optional=True)
_WHILE = Slot("while", CONDITIONS, named=True)
_PAIR = (Slot("a", NUMBERS), Slot("b", NUMBERS))
_OVER = Slot("over", frozenset({Kind.MASK}), named=True, optional=True, default="masked")
_SHARE = frozenset({Kind.PROB, Kind.REAL, Kind.INT})
_STEPS = Slot("n", INT, Extent.ROW)
_SIGMA = Slot("sigma", NUMBERS, Extent.ROW)


def _named(
    name: str,
    kinds: frozenset[Kind],
    extent: Extent = Extent.POSITION,
    *,
    optional: bool = False,
    default: str = "",
) -> Slot:
    return Slot(name, kinds, extent, named=True, optional=optional or bool(default), default=default)


def _reduction(name: str, operation: str, meaning: str, *, groups: bool = True) -> Word:
    """A reduction of a number per position over a mask, to one number per row, or one for each group."""
    slots = (NUMBER_SLOT, _OVER, _EACH) if groups else (NUMBER_SLOT, _OVER)
    return Word(name, slots, None, meaning, reduction=operation, keeps_nonnegative=True)


def _function(name: str, kind: Kind, meaning: str, operation: str = "") -> Word:
    """A rising function of one number."""
    return Word(
        name,
        (NUMBER_SLOT,),
        Type(kind, Extent.POSITION),
        meaning,
        spread=True,
        operation=operation or name,
        rising=True,
        keeps_nonnegative=True,
    )


def _schedule(name: str, ends: int, meaning: str) -> Word:
    return Word(name, (_STEPS,), AN_INT, meaning, nonnegative=True, schedule=ends)


REDUCTIONS = (
    Word(
        "any",
        (MASK_SLOT, _EACH),
        Type(Kind.BOOL, Extent.ROW),
        "whether the mask holds any position; with `each=pos // 16`, at each position: whether it holds one of the same block",
    ),
    Word(
        "count",
        (MASK_SLOT, _EACH),
        AN_INT,
        "number of positions in the mask; with `each=pos // 16`, at each position: number of those in the same block; with "
        "`each=run(m)` in the same run (0 where the int is below 0, and outside all runs)",
        nonnegative=True,
    ),
    Word(
        "fraction",
        (MASK_SLOT,),
        Type(Kind.REAL, Extent.ROW),
        "share of the window's positions that are in the mask",
        nonnegative=True,
    ),
    Word(
        "first",
        (MASK_SLOT,),
        Type(Kind.REAL, Extent.ROW),
        "first position in the mask; no value if the mask is empty",
        nonnegative=True,
    ),
    Word(
        "last",
        (MASK_SLOT,),
        Type(Kind.REAL, Extent.ROW),
        "last position in the mask; no value if the mask is empty",
        nonnegative=True,
    ),
    _reduction("sum", "sum", "sum of x over the mask; 0 if the mask is empty; `each=` as in `count`"),
    _reduction(
        "mean",
        "mean",
        "mean of x over the mask; no value if the mask is empty; `each=` as in `count`, no value outside all groups",
    ),
    Word(
        "quantile",
        (NUMBER_SLOT, Slot("q", _SHARE, Extent.ROW), _OVER),
        None,
        "the x over the mask at the share q of the way from the smallest to the largest, with linear interpolation between two; "
        "no value if the mask is empty, or q is below 0 or above 1",
        keeps_nonnegative=True,
        aliases=("percentile", "median"),
    ),
    replace(
        _reduction(
            "std",
            "std",
            "population standard deviation of x over the mask; no value if the mask is empty",
            groups=False,
        ),
        nonnegative=True,
    ),
    replace(
        _reduction(
            "min",
            "least",
            "smallest x over the mask, no value if the mask is empty; `each=` as in `mean`; min(a, b): the smaller number",
        ),
        elementwise=_PAIR,
        operation="minimum",
        rising=True,
    ),
    replace(
        _reduction(
            "max",
            "greatest",
            "largest x over the mask, no value if the mask is empty; `each=` as in `mean`; max(a, b): the larger number",
        ),
        elementwise=_PAIR,
        operation="maximum",
        rising=True,
    ),
)

ARITHMETIC = (
    Word(
        "abs",
        (NUMBER_SLOT,),
        None,
        "absolute value of x",
        operation="absolute",
        nonnegative=True,
        keeps_nonnegative=True,
    ),
    Word(
        "clamp",
        (NUMBER_SLOT, Slot("least", NUMBERS), Slot("most", NUMBERS)),
        None,
        "the larger of x and `least`, but at most `most`",
        rising=True,
        keeps_nonnegative=True,
    ),
    replace(_function("exp", Kind.REAL, "e to the power of x"), nonnegative=True),
    replace(
        _function("log", Kind.REAL, "natural logarithm of x; of a probability it is in nats"),
        keeps_nonnegative=False,
    ),
    _function("sqrt", Kind.REAL, "square root of x"),
    _function("floor", Kind.INT, "the largest int that is not above x"),
    _function("ceil", Kind.INT, "the smallest int that is not below x"),
    _function("int", Kind.INT, "x without its fraction", operation="truncate"),
)

SELECTORS = (
    Word(
        "top",
        (MASK_SLOT, _COUNT, _BY, _EACH),
        A_MASK,
        "the k best positions of the mask by the score; with `each=run(m)` the k best of each run, with `each=pos // 16` the k best of "
        "each block (without positions where the int is below 0)",
        selects=True,
    ),
    Word(
        "prefix",
        (MASK_SLOT, _BY, _WHILE, _EACH),
        A_MASK,
        "sorts the mask by the score, best first, and selects the longest beginning in which `while` is true at every position",
        selects=True,
    ),
    Word(
        "lowest",
        (MASK_SLOT, _COUNT, Slot("by", NUMBERS, named=True)),
        A_MASK,
        "the k positions of the mask with the lowest score, which may be high or low when sure",
        selects=True,
    ),
    Word(
        "thin",
        (
            MASK_SLOT,
            _BY,
            Slot("while", CONDITIONS, named=True, optional=True, default="true"),
            _named("gap", NUMBERS, Extent.ROW, optional=True),
            _named("kernel", frozenset({Kind.KERNEL}), Extent.ROW, optional=True),
            Slot("at_most", INT, Extent.RUN, named=True, largest=MOST_PICKS),
        ),
        A_MASK,
        "picks the best position by the score, repeatedly, and stops when `while` is false at a pick or after `at_most` picks; each pick "
        "removes all positions nearer than `gap`, or multiplies the scores around it by `kernel`",
        one_of=("gap", "kernel"),
        selects=True,
    ),
    Word(
        "sample",
        (MASK_SLOT, _COUNT, Slot("by", NUMBERS, named=True)),
        A_MASK,
        "k different positions of the mask, drawn at random with probabilities proportional to the score",
        random=True,
        selects=True,
    ),
    Word(
        "random",
        (Slot("x", INT, optional=True),),
        Type(Kind.REAL, Extent.ROW),
        "a random number above 0 and below 1 for the row, new in each step; `random(x)`: one for each value of the int x, as in "
        "`random(pos)`; each place in the policy where the word is written draws its own numbers",
        random=True,
        nonnegative=True,
    ),
    Word(
        "chance",
        (MASK_SLOT, Slot("p", NUMBERS)),
        A_MASK,
        "selects each position of the mask with probability p",
        random=True,
        selects=True,
    ),
)

ORDERS = (
    Word(
        "rank",
        (),
        Type(Kind.INT, Extent.POSITION),
        "in `while`: 1 for the best position, 2 for the next, and so on",
        within="prefix",
        steady=True,
        nonnegative=True,
        rises_in_order=True,
    ),
    Word(
        "cumsum",
        (NUMBER_SLOT,),
        None,
        "in `while`: sum of x over the position and all better ones",
        within="prefix",
        keeps_nonnegative=True,
    ),
    Word(
        "cummax",
        (NUMBER_SLOT,),
        None,
        "in `while`: largest x of the position and all better ones",
        within="prefix",
        keeps_nonnegative=True,
        rises_in_order=True,
    ),
)

GEOMETRY = (
    Word(
        "dilate",
        (MASK_SLOT, Slot("r", INT, Extent.ROW)),
        A_MASK,
        "positions at a distance of at most r from the mask",
    ),
    Word(
        "run",
        (MASK_SLOT,),
        Type(Kind.GROUP, Extent.POSITION),
        "the runs of adjacent positions in the mask, for `each=`",
    ),
    Word("run_count", (MASK_SLOT,), AN_INT, "number of runs in the mask", nonnegative=True),
    Word(
        "run_length",
        (MASK_SLOT,),
        Type(Kind.INT, Extent.POSITION),
        "length of the run that contains the position; 0 outside all runs",
        nonnegative=True,
    ),
    Word(
        "runs_holding",
        (MASK_SLOT, Slot("seed", frozenset({Kind.MASK}))),
        A_MASK,
        "the runs of the mask that contain a position of `seed`",
        selects=True,
    ),
    Word(
        "grow",
        (
            MASK_SLOT,
            _named("over", frozenset({Kind.MASK})),
            _named("right", frozenset({Kind.MASK}), default="over"),
            _named("gap", INT, Extent.ROW, default="0"),
            _named("apart", frozenset({Kind.BOOL}), Extent.ROW, default="false"),
            _named("trim", frozenset({Kind.MASK}), optional=True),
        ),
        A_MASK,
        "extends every run of the mask to the left over positions of `over` and to the right over positions of `right`; it crosses at most "
        "`gap` other positions in a row and ends at the last position of `over` or `right`; with `apart` it does not enter another run; "
        "then both ends are cut back to the mask `trim`",
    ),
    Word(
        "trim",
        (MASK_SLOT, _named("to", frozenset({Kind.MASK}))),
        A_MASK,
        "every run of the mask, with both ends cut back to positions of `to`",
        selects=True,
    ),
    Word(
        "shift",
        (Slot("x", frozenset({*NUMBERS, Kind.TOKEN, Kind.MASK})), Slot("n", INT, Extent.ROW)),
        None,
        "x moved n positions to the right, or to the left if n is negative: a mask, a number or an id of each position; a position whose "
        "value would come from outside the window is not in the mask, has no value, or an id that is equal to no id",
    ),
    Word(
        "distance",
        (MASK_SLOT,),
        Type(Kind.REAL, Extent.POSITION),
        "distance to the nearest position of the mask; no value if the mask is empty",
        nonnegative=True,
    ),
    Word(
        "density",
        (MASK_SLOT, _SIGMA),
        Type(Kind.REAL, Extent.POSITION),
        "sum, over the positions of the mask, of the normal density with standard deviation sigma at their distance",
        keeps_nonnegative=True,
    ),
    Word(
        "gaussian",
        (_SIGMA,),
        Type(Kind.KERNEL, Extent.ROW),
        "the kernel 1 - exp(-d² / sigma²) of the distance d, for `kernel=`",
    ),
)

NETWORKS = (
    Word(
        "learned",
        (
            Slot("network", frozenset({Kind.NETWORK}), Extent.RUN),
            Slot("x", NUMBERS | CONDITIONS, many=True),
        ),
        Type(Kind.REAL, Extent.POSITION),
        "the network's number for the position, from the numbers x (a condition is 1 or 0); no value outside the window",
    ),
)

COUNTS = (
    _schedule(
        "even",
        1,
        "this step's share of the masks at the window's start, divided into n steps, larger shares first; after n steps, all masks left",
    ),
    _schedule(
        "linear",
        0,
        "number of masks to write so that the share 1 - s / n of the masks at the window's start, rounded down, is left after s steps",
    ),
    _schedule(
        "cosine",
        0,
        "number of masks to write so that the share cos(pi / 2 * s / n) of the masks at the window's start, rounded down, is left after s steps",
    ),
)

COMPUTED_WORDS = (*REDUCTIONS, *ARITHMETIC, *SELECTORS, *ORDERS, *GEOMETRY, *NETWORKS, *COUNTS)
