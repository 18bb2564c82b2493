"""The statements, the words after `window`, `draw` and `logits`, and the keywords."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .word_types import CONDITIONS, IDS, INT, NUMBERS, Extent, Kind, Slot, Word

MOST_POSITIONS = 65536  # the most positions of a window

_TEMPERATURE = Slot("temperature", NUMBERS, Extent.ROW)


def _table(*words: Word) -> Mapping[str, Word]:
    return MappingProxyType({word.name: word for word in words})


WINDOWS = _table(
    Word("all", (), None, "all generated positions"),
    Word(
        "blocks",
        (Slot("n", INT, Extent.RUN, largest=MOST_POSITIONS),),
        None,
        "blocks of n positions, one after the other from left to right",
    ),
    Word(
        "sliding",
        (
            Slot("max_masks", INT, Extent.RUN, named=True),
            Slot("max_length", INT, Extent.RUN, named=True, largest=MOST_POSITIONS),
        ),
        None,
        "from the first masked position on, until the window has `max_masks` masked positions or the length `max_length`; it moves with "
        "every step",
    ),
    Word(
        "until",
        (
            Slot("ids", IDS, Extent.RUN, many=True, optional=True, or_mask=True),
            Slot("length", INT, Extent.ROW, named=True, optional=True),
            Slot("min", INT, Extent.RUN, named=True, optional=True, default="1"),
            Slot("max", INT, Extent.RUN, named=True, largest=MOST_POSITIONS),
            Slot("by", NUMBERS, named=True, score=True, optional=True),
            Slot("when", CONDITIONS, named=True, optional=True, default="true"),
        ),
        None,
        "the window's first forward decides its end: the first position (with `by`: the best one by the score) where the token is "
        "one of the ids, `when` is true and the length is at least `min`; without one, the window has `max` positions. "
        "until(mask, max=): the same for the positions of a mask. until(length=, max=): the window has this number of positions, "
        "at least `min` and at most `max`",
        one_of=("ids", "length"),
    ),
)

NOISES = _table(
    Word(
        "uniform",
        (),
        None,
        "ids drawn from the whole vocabulary without MASK, all equally likely; new ones in every step, by the seed, the request id, the "
        "position and the step",
        random=True,
    ),
)

DRAWS = _table(
    Word("argmax", (), None, "the likeliest id"),
    Word(
        "gumbel",
        (_TEMPERATURE,),
        None,
        "an id sampled with the probabilities at that temperature; temperature 0 is argmax",
        random=True,
        passes=2,
    ),
    Word(
        "nucleus",
        (_TEMPERATURE, Slot("top_p", NUMBERS, Extent.RUN), Slot("top_k", INT, Extent.RUN, optional=True)),
        None,
        "an id sampled from the smallest set of likeliest ids with a total probability of `top_p`, at most `top_k` ids; it sorts the "
        "vocabulary, which takes ten times the memory of the logits",
        random=True,
        passes=8,
    ),
)

TRANSFORMS = _table(
    Word("ban", (Slot("ids", IDS, Extent.RUN, many=True),), None, "gives these ids the probability 0"),
    Word(
        "bias",
        (Slot("table", frozenset({Kind.TABLE}), Extent.RUN),),
        None,
        "adds the table's numbers to the logits of all ids; bias(id, amount): adds the amount to the logit of one id",
        elementwise=(Slot("id", IDS, Extent.RUN), Slot("amount", NUMBERS, Extent.RUN)),
    ),
    Word(
        "temperature",
        (Slot("x", NUMBERS, Extent.ROW),),
        None,
        "divides the logits by x, which may change with the step; a temperature below 0.001, also 0 and no value, counts as 0.001, and one "
        "above 1000000 as 1000000",
        passes=1,
    ),
    Word(
        "cfg",
        (Slot("scale", NUMBERS, Extent.RUN),),
        None,
        "classifier-free guidance: u + (scale + 1) * (logits - u), where u are the logits without the prompt",
    ),
    Word(
        "constrain",
        (Slot("pattern", frozenset({Kind.PATTERN}), Extent.RUN),),
        None,
        "the text matches the pattern: `token` is the id of the likeliest full text of the window that agrees with all written ids and "
        "leaves a match possible; it chooses after all other `logits` lines",
    ),
)

# By the statement before them; these words have no value.
SHAPES: Mapping[str, Mapping[str, Word]] = MappingProxyType(
    {"window": WINDOWS, "noise": NOISES, "draw": DRAWS, "logits": TRANSFORMS}
)

# Words that are read only at their place. Parameters, states and names may have these names too.
READ_AT_THEIR_PLACE = frozenset({"temperature", "uniform"})

# Each statement once: its form and its meaning.
STATEMENTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "window": (
            "window all | blocks(n) | sliding(...) | until(...)",
            "the positions where a step may write; one line, before all others",
        ),
        "noise": (
            "noise uniform",
            "the denoiser sees random ids at positions that are not written, and not MASK",
        ),
        "draw": (
            "draw argmax | gumbel(temperature) | nucleus(temperature, top_p, top_k)",
            "how `token` is chosen; argmax without this line",
        ),
        "logits": (
            "logits ban(ids) | bias(table) | temperature(x) | cfg(scale) | constrain(pattern)",
            "changes the logits before any observation; with `constrain`, the text matches a pattern",
        ),
        "lookahead": (
            "lookahead N [accept exact | accept COND]",
            "draft N steps ahead and verify them in one forward; `exact` gives the same result as the policy without this line",
        ),
        "state": (
            "state NAME: KIND [each] = EXPR per block | sequence | PHASE",
            "a value carried from step to step",
        ),
        "def": ("def NAME(a, b) = EXPR", "a function; its body replaces every call"),
        "set": ("set NAME = EXPR", "a state's new value"),
        "commit": (
            "commit MASK [as IDS] [at least N by SCORE] [at most N by SCORE]",
            "write the token at these masked positions",
        ),
        "revoke": (
            "revoke MASK at most N [by SCORE]",
            "mask these written positions again, the least confident ones first",
        ),
        "edit": ("edit MASK as IDS at most N [by SCORE]", "replace the ids at these written positions"),
        "fill": ("fill [when COND]", "write every masked position of the window now"),
        "stay": (
            "stay at most N [when COND]",
            "stay in a full window for one more step, at most N times, to edit or to revoke",
        ),
        "refresh": (
            "refresh [when COND]",
            "the next forward of the row computes all its keys and values anew, and stores them in the KV cache "
            "`prefix` or `dual`; without such a cache, nothing changes",
        ),
        "next": (
            "next PHASE [when COND]",
            "the phase of the next step; the first `next` whose condition holds counts",
        ),
        "finish": ("finish [when COND]", "the row ends with this step"),
        "branch": (
            "branch N as NAME:",
            "make N candidates of the next canvas: the indented statements run once for each NAME from 0 to N - 1",
        ),
        "pick": (
            "pick by SCORE",
            "forward all candidates, and go on with the best one by a score of its own canvas and observations",
        ),
        "phase": (
            "phase NAME [at most N visits] [when COND] [else PHASE]:",
            "statements of the steps in this phase",
        ),
    }
)
KEYWORDS = frozenset(
    "policy and or not orelse if else at least most by in true false as when per each accept exact".split()
) | frozenset(STATEMENTS)

# Keywords that a parameter, a state or a value may have as its name: no statement begins with them, and no
# place reads both the keyword and a name.
SOFT_KEYWORDS = frozenset("at least most by in as per each accept".split())

# Words that a later version will use. A diagnostic distinguishes them from misspelt words.
RESERVED = frozenset("shadow shadow_p hook".split())
