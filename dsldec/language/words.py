"""Every word of the language, once: what it takes, what it gives, what it means.

The checks, the backends and the tests read this table. Not here: how a word is computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a value is.

    `MASK` is a bool for each window position, `TABLE` a number for each id of the vocabulary; `GROUP`,
    `KERNEL` and `PREVIOUS` are what `run(mask)`, `gaussian(sigma)` and a bare `before` are, and fit in no
    other place; `UNKNOWN` follows a mistake already reported.
    """

    PROB = "prob"
    NATS = "nats"
    LOGIT = "logit"
    REAL = "real"
    INT = "int"
    TOKEN = "token"
    TABLE = "table"
    BOOL = "bool"
    MASK = "mask"
    GROUP = "group"
    KERNEL = "kernel"
    PREVIOUS = "previous step"
    UNKNOWN = "unknown"


class Extent(IntEnum):
    """How many values there are: one for the run, one a row, one a position. A lower place broadcasts to a
    higher one.
    """

    RUN = 0
    ROW = 1
    POSITION = 2


class Polarity(StrEnum):
    """Whether a score is high where the denoiser is sure, or low; `NONE` where neither can be said."""

    HIGH = "high when sure"
    LOW = "low when sure"
    NONE = "unknown"


@dataclass(frozen=True, slots=True)
class Type:
    """Kind, place and polarity of a value."""

    kind: Kind
    extent: Extent
    polarity: Polarity = Polarity.NONE


@dataclass(frozen=True, slots=True)
class Slot:
    """What a word takes at one argument: a value of one of `kinds`, at most at `place`; `score`: not low when
    sure.

    `named`: written `name=`; `optional`: may be left out, and then stands for `default` if that is said;
    `static`: a number or a parameter, which then sizes the compiled step; `many`: one or more of them.
    """

    name: str
    kinds: frozenset[Kind]
    extent: Extent = Extent.POSITION
    named: bool = False
    score: bool = False
    optional: bool = False
    default: str = ""
    static: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its slots, what it gives (`None`: the kind of its numbers), and its meaning in one line.

    `within` names the word in whose arguments alone it may stand; `elementwise` are other slots it may be
    called with, and then it gives a number wherever those have one. `spread`: it gives a value wherever its
    arguments have one, of the kind of `gives` but at their place. `keeps_polarity`: what it gives is high
    where its argument is.
    """

    name: str
    slots: tuple[Slot, ...]
    gives: Type | None
    meaning: str
    within: str | None = None
    elementwise: tuple[Slot, ...] = ()
    spread: bool = False
    keeps_polarity: bool = False


NUMBERS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT, Kind.REAL, Kind.INT})
CONDITIONS = frozenset({Kind.BOOL, Kind.MASK})
IDS = frozenset({Kind.TOKEN, Kind.INT})
STATE_KINDS = frozenset({*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.MASK})
PARAMETER_KINDS = frozenset({*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.TABLE})
UNITS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT})

KEPT_IDS = 256  # of a distribution that the next step looks back at; of 126,464 ids, 0.6 % of the memory

_INT = frozenset({Kind.INT})
_MASK = Slot("mask", frozenset({Kind.MASK}))
_COUNT = Slot("k", _INT, Extent.ROW)
_BY = Slot("by", NUMBERS, named=True, score=True)
_EACH = Slot("each", frozenset({Kind.GROUP, Kind.INT}), named=True, optional=True)
_WHILE = Slot("while", CONDITIONS, named=True)
_NUMBER = Slot("x", NUMBERS)
_PAIR = (Slot("a", NUMBERS), Slot("b", NUMBERS))
_OVER = Slot("over", frozenset({Kind.MASK}), named=True, optional=True, default="masked")
_STEPS = Slot("n", _INT, Extent.ROW)
_PREVIOUS = Slot("before", frozenset({Kind.PREVIOUS}))
_SIGMA = Slot("sigma", NUMBERS, Extent.ROW)

_A_MASK = Type(Kind.MASK, Extent.POSITION)
_AN_INT = Type(Kind.INT, Extent.ROW)


def _per_position(name: str, kind: Kind, polarity: Polarity, meaning: str) -> Word:
    return Word(name, (), Type(kind, Extent.POSITION, polarity), meaning)


def _per_row(name: str, kind: Kind, meaning: str) -> Word:
    return Word(name, (), Type(kind, Extent.ROW), meaning)


def _named(
    name: str,
    kinds: frozenset[Kind],
    place: Extent = Extent.POSITION,
    *,
    optional: bool = False,
    default: str = "",
) -> Slot:
    return Slot(name, kinds, place, named=True, optional=optional or bool(default), default=default)


def _function(name: str, kind: Kind, meaning: str) -> Word:
    """A rising function of one number."""
    return Word(name, (_NUMBER,), Type(kind, Extent.POSITION), meaning, spread=True, keeps_polarity=True)


_WORDS = (
    # Observations
    _per_position(
        "token",
        Kind.TOKEN,
        Polarity.NONE,
        "the id that is written: the best one other than MASK, or what `draw` chose",
    ),
    _per_position("conf", Kind.PROB, Polarity.HIGH, "probability of the token"),
    _per_position("doubt", Kind.PROB, Polarity.LOW, "1 - conf, without cancellation"),
    _per_position("margin", Kind.PROB, Polarity.HIGH, "probability of the best id minus that of the second"),
    _per_position("logit_margin", Kind.LOGIT, Polarity.HIGH, "logit of the best id minus that of the second"),
    _per_position(
        "entropy", Kind.NATS, Polarity.LOW, "entropy of the distribution over the vocabulary, in nats"
    ),
    Word(
        "p",
        (Slot("ids", IDS),),
        Type(Kind.PROB, Extent.POSITION, Polarity.HIGH),
        "probability of an id: `p(canvas)` judges what stands there",
    ),
    Word(
        "of",
        (Slot("table", frozenset({Kind.TABLE}), Extent.RUN), Slot("ids", IDS)),
        Type(Kind.REAL, Extent.POSITION),
        "the table's number of an id, as in `of(frequency, token)`; no value for what is no id",
    ),
    Word(
        "kl",
        (
            _PREVIOUS,
            Slot("keep", _INT, Extent.RUN, named=True, optional=True, default=str(KEPT_IDS), static=True),
        ),
        Type(Kind.NATS, Extent.POSITION, Polarity.LOW),
        "`kl(before)`: KL divergence of this step's distribution from the step's before; +inf in a window's first step; of the step "
        "before, the `keep` likeliest ids are kept and the rest as one: never more than the divergence of all ids, which are kept if "
        "they are no more than that",
    ),
    Word(
        "same",
        (_PREVIOUS,),
        _A_MASK,
        "`same(before)`: the token is that of the step before; false in a window's first step",
    ),
    Word(
        "before",
        (Slot("x", frozenset({*NUMBERS, *CONDITIONS, Kind.TOKEN})),),
        None,
        "x as this window's previous step began; no value (false for a mask) in a window's first step",
    ),
    # Canvas
    _per_position(
        "canvas", Kind.TOKEN, Polarity.NONE, "the id that stands there, MASK where nothing is written"
    ),
    Word(
        "draft",
        (),
        Type(Kind.TOKEN, Extent.POSITION),
        "in `accept`: the id that the draft to be accepted holds there, as in `p(draft) >= 0.9`",
        within="accept",
    ),
    Word("masked", (), _A_MASK, "positions of the window that are not written yet"),
    Word("committed", (), _A_MASK, "positions of the window that are written"),
    Word("after_eos", (), _A_MASK, "positions right of the first end-of-text token written"),
    _per_position("pos", Kind.INT, Polarity.NONE, "the position, 0 for the first generated one"),
    _per_position(
        "age",
        Kind.INT,
        Polarity.NONE,
        "steps since the position was written, 0 if that was in this step or it is masked",
    ),
    # Sequence facts
    _per_row("window_start", Kind.INT, "the window's first position"),
    _per_row("window_end", Kind.INT, "the position after the last one of the window that may be written"),
    _per_row("window_length", Kind.INT, "how many positions of the window may be written"),
    _per_row(
        "generation_length", Kind.INT, "how many positions there are from the first generated one to the last"
    ),
    _per_row("progress", Kind.REAL, "share of these positions that is not masked"),
    _per_row("step", Kind.INT, "the row's steps before this one"),
    _per_row("steps_in_window", Kind.INT, "steps before this one since the window began"),
    _per_row("steps_in_phase", Kind.INT, "steps before this one since the phase was entered"),
    _per_row("visits", Kind.INT, "how often this phase was entered in this window, this time included"),
    _per_row("idle", Kind.BOOL, "whether this step has committed nothing so far"),
    _per_row("committed_now", Kind.INT, "how many positions this step has committed so far"),
    _per_row("edited_now", Kind.INT, "how many positions this step has edited so far"),
    _per_row("committed_before", Kind.INT, "how many positions this window's step before committed"),
    _per_row(
        "eos_closed", Kind.BOOL, "whether an end-of-text token is written and nothing before it is masked"
    ),
    # Reductions: one value a row, of a mask over the whole window
    Word("any", (_MASK,), Type(Kind.BOOL, Extent.ROW), "whether the mask holds a position"),
    Word("count", (_MASK,), _AN_INT, "how many positions the mask holds"),
    Word("fraction", (_MASK,), Type(Kind.REAL, Extent.ROW), "share of the window that the mask holds"),
    Word("first", (_MASK,), Type(Kind.REAL, Extent.ROW), "the mask's first position; no value over nothing"),
    Word("last", (_MASK,), Type(Kind.REAL, Extent.ROW), "the mask's last position; no value over nothing"),
    # Reductions of a score over a mask
    Word("sum", (_NUMBER, _OVER), None, "sum of x over the mask, 0 over nothing"),
    Word("mean", (_NUMBER, _OVER), None, "mean of x over the mask; no value over nothing"),
    Word(
        "std",
        (_NUMBER, _OVER),
        None,
        "standard deviation of x over the mask (of a population); no value over nothing",
    ),
    Word(
        "min",
        (_NUMBER, _OVER),
        None,
        "smallest x over the mask; no value over nothing; min(a, b): the smaller",
        elementwise=_PAIR,
    ),
    Word(
        "max",
        (_NUMBER, _OVER),
        None,
        "largest x over the mask; no value over nothing; max(a, b): the larger",
        elementwise=_PAIR,
    ),
    # Arithmetic
    Word("abs", (_NUMBER,), None, "x without its sign"),
    Word(
        "clamp",
        (_NUMBER, Slot("least", NUMBERS), Slot("most", NUMBERS)),
        None,
        "x, but not below least nor above most",
    ),
    _function("exp", Kind.REAL, "e to the power of x"),
    _function("log", Kind.REAL, "natural logarithm of x; of a probability it is in nats"),
    _function("sqrt", Kind.REAL, "square root of x"),
    _function("floor", Kind.INT, "the largest int that is not above x"),
    _function("ceil", Kind.INT, "the smallest int that is not below x"),
    _function("int", Kind.INT, "x without its fraction"),
    # Selectors
    Word(
        "top",
        (_MASK, _COUNT, _BY, _EACH),
        _A_MASK,
        "the k best positions of the mask; of each run with `each=run(m)`, of each block with `each=pos // 16` (ints below 0 are left out)",
    ),
    Word(
        "prefix",
        (_MASK, _BY, _WHILE, _EACH),
        _A_MASK,
        "the longest run of best positions of the mask in which `while` holds for every one",
    ),
    Word(
        "thin",
        (
            _MASK,
            _BY,
            Slot("while", CONDITIONS, named=True, optional=True, default="true"),
            _named("gap", NUMBERS, Extent.ROW, optional=True),
            _named("kernel", frozenset({Kind.KERNEL}), Extent.ROW, optional=True),
            Slot("at_most", _INT, Extent.RUN, named=True, static=True),
        ),
        _A_MASK,
        "picks the best again and again, until `while` fails at the pick; a pick drives out what is nearer than the gap, or weakens "
        "all scores around it by the kernel",
    ),
    Word(
        "sample",
        (_MASK, _COUNT, Slot("by", NUMBERS, named=True)),
        _A_MASK,
        "k positions of the mask drawn at random, each with a chance in proportion to its score",
    ),
    Word(
        "chance", (_MASK, Slot("p", NUMBERS)), _A_MASK, "positions of the mask, each kept with probability p"
    ),
    # Inside `while`
    Word(
        "rank",
        (),
        Type(Kind.INT, Extent.POSITION),
        "1 for the best position, 2 for the next",
        within="prefix",
    ),
    Word("cumsum", (_NUMBER,), None, "sum of x over this position and all better ones", within="prefix"),
    Word("cummax", (_NUMBER,), None, "largest x of this position and all better ones", within="prefix"),
    # Geometry
    Word(
        "dilate",
        (_MASK, Slot("r", _INT, Extent.ROW)),
        _A_MASK,
        "positions at most r away from one of the mask",
    ),
    Word(
        "run",
        (_MASK,),
        Type(Kind.GROUP, Extent.POSITION),
        "the runs of adjacent positions of the mask, for `each=`",
    ),
    Word("run_count", (_MASK,), _AN_INT, "how many runs the mask has"),
    Word(
        "run_length",
        (_MASK,),
        Type(Kind.INT, Extent.POSITION),
        "length of the run a position is in, 0 outside",
    ),
    Word(
        "runs_holding",
        (_MASK, Slot("seed", frozenset({Kind.MASK}))),
        _A_MASK,
        "the runs of the mask that hold a seed",
    ),
    Word(
        "grow",
        (
            _MASK,
            _named("over", frozenset({Kind.MASK})),
            _named("right", frozenset({Kind.MASK}), default="over"),
            _named("gap", _INT, Extent.ROW, default="0"),
            _named("apart", frozenset({Kind.BOOL}), Extent.ROW, default="false"),
            _named("trim", frozenset({Kind.MASK}), optional=True),
        ),
        _A_MASK,
        "every run walks outwards over `over` (to the right over `right`), stops before more than `gap` misses in a row and ends on its "
        "last pass; `apart` keeps it out of other runs; `trim` cuts both its ends back to that mask",
    ),
    Word(
        "trim",
        (_MASK, _named("to", frozenset({Kind.MASK}))),
        _A_MASK,
        "every run of the mask with both ends cut back to `to`",
    ),
    Word(
        "shift",
        (_MASK, Slot("n", _INT, Extent.ROW)),
        _A_MASK,
        "the mask moved n positions to the right, to the left if n is below 0",
    ),
    Word(
        "distance",
        (_MASK,),
        Type(Kind.REAL, Extent.POSITION),
        "positions to the nearest one of the mask; no value if it is empty",
    ),
    Word(
        "density",
        (_MASK, _SIGMA),
        Type(Kind.REAL, Extent.POSITION),
        "sum over the mask of the normal density, of deviation sigma, at a position's distance",
    ),
    Word(
        "gaussian",
        (_SIGMA,),
        Type(Kind.KERNEL, Extent.ROW),
        "the kernel 1 - exp(-d² / sigma²) of the distance d, for `kernel=`",
    ),
    # Counts
    Word(
        "even",
        (_STEPS,),
        _AN_INT,
        "this step's share of the masks the window began with, split over n steps, larger shares first; after them all that is left",
    ),
    Word(
        "linear",
        (_STEPS,),
        _AN_INT,
        "how many masks are due so that, of those the window began with, 1 - s / n are left after s steps",
    ),
    Word(
        "cosine",
        (_STEPS,),
        _AN_INT,
        "how many masks are due so that, of those the window began with, cos(pi / 2 * s / n) are left after s steps",
    ),
)

WORDS: Mapping[str, Word] = MappingProxyType({word.name: word for word in _WORDS})

# What may stand after `window`, `draw` and `logits`; they are no values.
WINDOWS: Mapping[str, Word] = MappingProxyType(
    {
        word.name: word
        for word in (
            Word("all", (), None, "everything that is generated"),
            Word(
                "blocks", (Slot("n", _INT, Extent.RUN, static=True),), None, "n positions after n positions"
            ),
            Word(
                "sliding",
                (
                    Slot("max_masks", _INT, Extent.RUN, named=True),
                    Slot("max_length", _INT, Extent.RUN, named=True, static=True),
                ),
                None,
                "from the first mask on, until it holds `max_masks` masks or is `max_length` long; it moves with every step",
            ),
            Word(
                "until",
                (
                    Slot("ids", IDS, Extent.RUN, many=True),
                    Slot("min", _INT, Extent.RUN, named=True, optional=True, default="1"),
                    Slot("max", _INT, Extent.RUN, named=True, static=True),
                    Slot("by", NUMBERS, named=True, score=True, optional=True),
                    Slot("when", CONDITIONS, named=True, optional=True, default="true"),
                ),
                None,
                "up to the first token that its first forward proposes and that is one of the ids (the best by a score, with `by`)",
            ),
        )
    }
)
_TEMPERATURE = Slot("temperature", NUMBERS, Extent.RUN)
DRAWS: Mapping[str, Word] = MappingProxyType(
    {
        word.name: word
        for word in (
            Word("argmax", (), None, "the likeliest id"),
            Word(
                "gumbel",
                (_TEMPERATURE,),
                None,
                "an id drawn with the probabilities at that temperature; 0 is argmax",
            ),
            Word(
                "nucleus",
                (
                    _TEMPERATURE,
                    Slot("top_p", NUMBERS, Extent.RUN),
                    Slot("top_k", _INT, Extent.RUN, optional=True),
                ),
                None,
                "drawn from the fewest likeliest ids that hold `top_p` of the probability, at most `top_k` of them; sorts the vocabulary, "
                "which takes ten times the memory of the logits",
            ),
        )
    }
)
TRANSFORMS: Mapping[str, Word] = MappingProxyType(
    {
        word.name: word
        for word in (
            Word("ban", (Slot("ids", IDS, Extent.RUN, many=True),), None, "these ids have no probability"),
            Word(
                "bias",
                (Slot("table", frozenset({Kind.TABLE}), Extent.RUN),),
                None,
                "adds a table's numbers to the logits of all ids; bias(id, amount): an amount to that of one",
                elementwise=(Slot("id", IDS, Extent.RUN), Slot("amount", NUMBERS, Extent.RUN)),
            ),
            Word(
                "cfg",
                (Slot("scale", NUMBERS, Extent.RUN),),
                None,
                "classifier-free guidance: away from the logits without the prompt, by (scale + 1) times the difference",
            ),
        )
    }
)

# Each statement once: how it is written and what it does.
STATEMENTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "window": (
            "window all | blocks(n) | sliding(...) | until(...)",
            "where a step may write; once, first",
        ),
        "draw": (
            "draw argmax | gumbel(temperature) | nucleus(temperature, top_p, top_k)",
            "how `token` is chosen; argmax if left out",
        ),
        "logits": (
            "logits ban(ids) | bias(table) | cfg(scale)",
            "what is done to the logits before anything is observed",
        ),
        "lookahead": (
            "lookahead N [accept exact | accept COND]",
            "draft N steps ahead and verify them in one forward: `exact` gives what the policy without it gives",
        ),
        "state": (
            "state NAME: KIND [each] = EXPR per block | sequence | PHASE",
            "a value carried from step to step",
        ),
        "def": ("def NAME(a, b) = EXPR", "a function of your own, written out wherever it is called"),
        "set": ("set NAME = EXPR", "a state's new value"),
        "commit": (
            "commit MASK [as IDS] [at least N by SCORE] [at most N by SCORE]",
            "write the token at these masked positions",
        ),
        "revoke": (
            "revoke MASK at most N [by SCORE]",
            "these written positions become MASK again, what is least sure first",
        ),
        "edit": ("edit MASK as IDS at most N [by SCORE]", "write over these written positions"),
        "fill": ("fill [when COND]", "write every masked position of the window now"),
        "stay": (
            "stay at most N [when COND]",
            "a full window is kept for one more step, at most N times: for edits, and for revoking",
        ),
        "next": ("next PHASE [when COND]", "the phase of the next step; the first that holds wins"),
        "finish": ("finish [when COND]", "the row ends with this step"),
        "phase": (
            "phase NAME [at most N visits] [when COND] [else PHASE]:",
            "statements of the steps in this phase",
        ),
    }
)
KEYWORDS = frozenset(
    "policy and or not orelse if else at least most by in true false as when per each accept exact".split()
) | frozenset(STATEMENTS)

# The rest of the language as designed. Using one of these is told apart from a misspelling.
RESERVED = frozenset("branch pick shadow shadow_p hook".split())
