"""The meaning of words and statements, in cases small enough to follow on paper."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.source import Source
from dsldec.tools.cases import read_cases
from dsldec.tools.verdict import outcome_of

BEST = "commit top(masked, 1, by=conf)"


def policy(*lines: str, window: str = "blocks(4)") -> str:
    return f"policy p(block: int = 4 in 1..9):\n  window {window}\n" + "".join(
        f"  {line}\n" for line in lines
    )


CASES = {
    "a state per block starts anew with the block": (
        policy("state n: int = 0 per block", "set n = n + 1", "commit top(masked, n, by=conf) at least 1 by conf", window="blocks(3)"),
        """
        gen 6
        conf .3 .2 .1 .6 .5 .4
        commit 0
        conf .  .2 .1 .6 .5 .4
        commit 1 2
        conf .  .  .  .6 .5 .4
        commit 3
        conf .  .  .  .  .5 .4
        commit 4 5
        done
        """,
    ),
    "a state per sequence goes on": (
        policy(
            "state n: int = 0 per sequence",
            "set n = n + 1",
            "commit top(masked, n, by=conf) at least 1 by conf", window="blocks(3)",
        ),
        """
        gen 6
        conf .3 .2 .1 .6 .5 .4
        commit 0
        conf .  .2 .1 .6 .5 .4
        commit 1 2
        conf .  .  .  .6 .5 .4
        commit 3 4 5
        done
        """,
    ),
    "a state of each position, and what was one step before": (
        policy(
            "state up: int each = 0 per block",
            "set up = up + 1 if conf > before(conf) else 0",
            "commit masked and up >= 2 at least 1 by -pos"),
        """
        conf .1 .2 .3 .4
        commit 0
        conf .  .3 .4 .3
        commit 1
        conf .  .  .5 .5
        commit 2
        conf .  .  .  .6
        commit 3
        done
        """,
    ),
    "same(before) is false in a window's first step": (
        policy("commit masked and same(before) at least 1 by conf", window="blocks(2)"),
        """
        gen 4
        conf  .2 .3 .1 .1
        token 5  6  7  8
        commit 1
        conf  .2 .  .1 .1
        token 5  .  7  8
        commit 0
        conf  .  .  .1 .2
        token .  .  7  8
        commit 3
        conf  .  .  .1 .
        token .  .  9  .
        commit 2
        done
        """,
    ),
    "KL is infinite in a window's first step": (
        policy("commit masked and kl(before) > 100 at least 1 by conf", window="blocks(3)"),
        """
        conf .1 .2 .3
        kl    0  0  0
        commit 0 1 2
        done
        """,
    ),
    "the JS divergence is infinite in a window's first step": (
        policy("commit masked and js(before) < 0.2 at least 1 by conf", window="blocks(3)"),
        """
        gen 4
        conf .1 .2 .3 .4
        js    0  0  0  0
        commit 2
        conf .1 .2 .  .4
        js   .1 .3 .  .1
        commit 0
        conf .  .2 .  .4
        js   .  .3 .  .1
        commit 1
        conf .  .  .  .4
        js   .  .  .  .1
        commit 3
        done
        """,
    ),
    "a reduction by group gives each position the value of its group": (
        policy(
            "commit masked and count(masked, each=pos // 3) < 3 and conf >= max(conf, each=run(masked)) at least 1 by conf",
            window="all",
        ),
        """
        start _ _ _ 7 _ _ _
        conf .9 .1 .2 .  .3 .8 .4
        commit 5        # one of positions 3 to 5 is written, and 5 is the best of its run
        """,
    ),
    "outside all groups, counts are 0 and the others have no value": (
        policy(
            "out = count(masked, each=pos - 2) == 0 and sum(conf, each=pos - 2) == 0 and not any(masked, each=pos - 2)",
            "none = not (mean(conf, each=pos - 2) >= 0) and not (max(conf, each=pos - 2) >= 0)",
            "commit masked and out and none at least 1 by conf",
        ),
        """
        conf .1 .2 .3 .4
        commit 0 1
        """,
    ),
    "a window ends at the first position of a mask, or has its full length": (
        policy("commit masked", window="until(conf > 0.5, min=2, max=4)"),
        """
        gen 7
        conf .9 .1 .6 .7 .1 .1 .1
        commit 0 1 2
        conf .  .  .  .9 .1 .1 .1
        commit 3 4 5 6
        done
        """,
    ),
    "a window ends at the best position of a mask": (
        policy("commit masked", window="until(conf > 0.5, max=4, by=conf)"),
        """
        gen 5
        conf .6 .1 .9 .7 .1
        commit 0 1 2
        conf .  .  .  .1 .1
        commit 3 4
        done
        """,
    ),
    "a state of the window before decides the length": (
        policy(
            "state n: int = 1 per sequence", "commit masked", "set n = n + 1",
            window="until(length=n, max=4)",
        ),
        """
        gen 7
        conf .9 .9 .1 .1 .1 .1 .1
        commit 0
        conf .  .9 .1 .1 .1 .1 .1
        commit 1 2
        conf .  .  .  .1 .1 .1 .1
        commit 3 4 5
        conf .  .  .  .  .  .  .1
        commit 6
        done
        """,
    ),
    "refresh is asked for by a step": (
        policy("commit top(masked, 1, by=conf)", "refresh when steps_in_window == 1"),
        """
        conf .4 .3 .2 .1
        commit 0
        refresh -
        conf .  .3 .2 .1
        commit 1
        refresh
        conf .  .  .2 .1
        commit 2
        refresh -
        """,
    ),
    "next takes effect after the step, and the first that holds wins": (
        policy(
            "phase one:", "  next two when step == 0", "  next three when step == 0", "  commit top(masked, 1, by=conf)",
            "phase two:", "  commit top(masked, 1, by=-pos)", "  next three",
            "phase three:", "  commit masked",
        ),
        """
        conf .1 .2 .3 .4
        commit 3
        phase one
        conf .1 .2 .3 .
        commit 0
        phase two
        conf .  .2 .3 .
        commit 1 2
        phase three
        done
        """,
    ),
    "visits are counted, and else is taken without a forward": (
        policy(
            "phase wide at most 2 visits else narrow:", "  commit masked and conf > 0.8", "  next wide when idle",
            "  next wide when steps_in_phase >= 1",
            "phase narrow:", "  commit top(masked, 1, by=conf)",
        ),
        """
        conf .9 .1 .1 .1
        commit 0
        phase wide
        conf .  .1 .1 .1
        commit
        phase wide
        conf .  .9 .1 .1
        commit 1
        phase wide
        conf .  .  .1 .9
        commit 3
        phase wide
        conf .  .  .9 .
        commit 2
        phase narrow
        done
        """,
    ),
    "a full window goes to the first phase, whatever next says": (
        policy("phase one:", "  commit masked", "  next two", "phase two:", "  commit top(masked, 1, by=conf)", window="blocks(2)"),
        """
        gen 4
        conf .1 .2 .3 .4
        commit 0 1
        phase one
        conf .  .  .3 .4
        commit 2 3
        phase one
        done
        """,
    ),
    "a state per phase returns to its start when the phase is entered": (
        policy(
            "state seen: mask = false per look",
            "phase look:",
            "  commit top(masked and not seen, 1, by=conf) at least 1 by -pos",
            "  set seen = seen or pos < 2",
            "  next rest when step == 1",
            "phase rest:", "  commit masked and seen at least 1 by conf", "  next look",
        ),
        """
        conf .4 .3 .2 .1
        commit 0
        phase look
        conf .  .3 .2 .1
        commit 2
        phase look
        conf .  .3 .  .4
        commit 1
        phase rest
        conf .  .  .  .4
        commit 3
        phase look
        done
        """,
    ),
    "finish needs the end of the text, and takes effect after the step": (
        policy("finish when eos_closed", BEST),
        """
        conf  .9 .8 .1 .1
        token 5 eos 6  7
        commit 0
        conf  .  .8 .1 .1
        token .  eos 6  7
        commit 1
        done
        """,
    ),
    "revoke takes the least sure first, at most its budget": (
        policy(
            "commit masked and conf > 0.5 at least 1 by conf",
            "revoke committed and p(canvas) < 0.5 at most committed_before - 1 by -p(canvas)",
        ),
        """
        conf .9 .8 .7 .1
        p     0  0  0  0
        commit 0 1 2
        conf .9 .8 .7 .2
        p    .9 .1 .2 .2
        commit 3
        revoke 1 2
        conf .9 .9 .1 .9
        p    .9  0  0 .9
        commit 1
        conf .9 .9 .9 .9
        p    .9 .9 0 .9
        commit 2
        done
        """,
    ),
    "an edit that changes nothing takes nothing of the budget": (
        policy("edit committed as token at most 1 by -pos", BEST, window="blocks(3)"),
        """
        start 4 5 _
        conf  .1 .1 .1
        token 4  6  7
        edit  1
        commit 2
        done
        """,
    ),
    "a full window stays while it is edited": (
        policy(
            "edit committed as token at most 4",
            "commit masked",
            "stay at most 3 when edited_now + committed_now > 0", window="blocks(2)",
        ),
        """
        conf  .1 .1
        token 4  5
        commit 0 1
        conf  .1 .1
        token 4  6
        edit  1
        conf  .1 .1
        token 4  6
        done
        """,
    ),
    "and no longer than it may": (
        policy("edit committed as token at most 4", "commit masked", "stay at most 1", window="blocks(2)"),
        """
        conf  .1 .1
        token 4  5
        commit 0 1
        conf  .1 .1
        token 5  6
        edit  0 1
        done
        """,
    ),
    "age counts the steps since a position was written": (
        policy(
            "commit top(masked, 1, by=-pos)",
            "revoke committed and age >= 2 at most committed_now - 1",
            "commit top(masked, 1, by=pos + sum(age, over=committed))",
        ),
        """
        conf .1 .1 .1 .1
        commit 0 3
        conf .  .1 .1 .
        commit 1 2
        done
        """,
    ),
    "committed_before is 0 in a window's first step": (
        policy("commit top(masked, committed_before + 1, by=conf) at least 1 by conf", window="blocks(3)"),
        """
        gen 6
        conf .3 .2 .1 .6 .5 .4
        commit 0
        conf .  .2 .1 .6 .5 .4
        commit 1 2
        conf .  .  .  .6 .5 .4
        commit 3
        conf .  .  .  .  .5 .4
        commit 4 5
        done
        """,
    ),
    "even shares, the larger ones first, and then all that is left": (
        policy("commit top(masked, even(3), by=conf)", window="blocks(8)"),
        """
        conf .8 .7 .6 .5 .4 .3 .2 .1
        commit 0 1 2
        conf .  .  .  .5 .4 .3 .2 .1
        commit 3 4 5
        conf .  .  .  .  .  .  .2 .1
        commit 6 7
        done
        """,
    ),
    "a cosine writes few at first": (
        policy("commit top(masked, cosine(4), by=conf)", window="blocks(8)"),
        """
        conf .8 .7 .6 .5 .4 .3 .2 .1
        commit 0
        conf .  .7 .6 .5 .4 .3 .2 .1
        commit 1 2
        conf .  .  .  .5 .4 .3 .2 .1
        commit 3 4
        conf .  .  .  .  .  .3 .2 .1
        commit 5 6 7
        done
        """,
    ),
    "a sliding window begins at the first mask and holds so many": (
        policy(BEST, window="sliding(max_masks=2, max_length=4)"),
        """
        gen 5
        conf .1 .2 .9 .9 .9
        commit 1
        conf .1 .  .3 .9 .9
        commit 2
        conf .1 .  .  .3 .9
        commit 3
        conf .1 .  .  .  .9
        commit 0
        conf .  .  .  .  .9
        commit 4
        done
        """,
    ),
    "a window until a proposed token": (
        policy("commit masked", window="until(7, min=2, max=4)"),
        """
        gen 6
        conf  .5 .5 .5 .5 .5 .5
        token 7  5  7  5  5  5
        commit 0 1 2
        conf  .  .  .  .5 .5 .5
        token .  .  .  7  5  5
        commit 3 4 5
        done
        """,
    ),
    "each group for itself": (
        policy("commit top(masked, 1, by=conf, each=pos // 2)"),
        """
        conf .1 .2 .9 .8
        commit 1 2
        conf .1 .  .  .8
        commit 0 3
        done
        """,
    ),
    "a reduction is over the masks, or over its own set": (
        policy("commit masked and mean(conf, over=pos < 2) < conf < mean(conf) at least 1 by conf"),
        """
        conf .1 .3 .9 .25
        commit 1 3
        conf .4 .2 .6 .9
        commit 0
        conf .5 .5 .7 .1
        commit 2
        done
        """,
    ),
    "a run grows over gaps, and two of them unite": (
        policy("commit grow(masked and conf > 0.8, over=conf > 0.5, gap=1) at least 1 by conf", window="blocks(9)"),
        """
        gen 9
        conf .6 .1 .9 .1 .1 .6 .9 .1 .6
        commit 0 1 2 5 6 7 8
        conf .  .  .  .1 .2 .  .  .  .
        commit 4
        conf .  .  .  .1 .  .  .  .  .
        commit 3
        done
        """,
    ),
    "thin keeps picks apart": (
        policy("commit thin(masked, by=conf, while=conf > 0.2, gap=2, at_most=3) at least 1 by conf", window="blocks(6)"),
        """
        conf .5 .9 .8 .7 .6 .1
        commit 1 3
        conf .5 .  .8 .  .6 .1
        commit 2 4 0
        conf .  .  .  .  .  .1
        commit 5
        done
        """,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_meaning(name: str) -> None:
    text, rows = CASES[name]
    checked, diagnostics = dsldec.check(text)
    assert checked is not None, "\n\n".join(map(str, diagnostics))
    lines = [line.strip() for line in rows.strip().split("\n")]
    (case,), wrong = read_cases(Source("\n".join([f"case {name}", *(f"  {line}" for line in lines), ""])))
    assert wrong == []
    outcome = outcome_of(case, checked, "meaning.cases")
    assert str(outcome) == "", f"{text}\n{outcome}"
