"""The rules for every text: no exception, every diagnostic can be drawn, the formatted text has the same
meaning, an accepted policy runs.

Only cases need torch, because they are run. Not here: the time limit (`worker`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from dsldec import policy as policies
from dsldec.codes import CODES
from dsldec.diagnostics import Diagnostic, PolicyError
from dsldec.language.fmt import formatted
from dsldec.language.limits import MOST_DIAGNOSTICS
from dsldec.source import Source
from dsldec.tools import explain, show
from dsldec.tools.check import record

GEN_LENGTH = 256
MOST_SECONDS = 2.0  # of processor time, for each stage of one text
slowest = 0.0


class Fault(Exception):
    """Something that does not hold, in words that stay the same while the text is shrunk."""


def claim(holds: bool, what: str) -> None:
    if not holds:
        raise Fault(what)


def soon(stage: Callable[..., Any], *given: Any) -> Any:
    """What a stage gives, within the time that a text may take."""
    global slowest
    began = time.process_time()
    result = stage(*given)
    seconds = time.process_time() - began
    slowest = max(slowest, seconds)
    claim(seconds <= MOST_SECONDS, f"slow: `{stage.__name__}`")
    return result


def policy_holds(text: str) -> None:
    """Raises `Fault`, or what the package raised."""
    found, diagnostics = soon(policies.check, text)
    soon(drawn, diagnostics)
    claim(found is not None or bool(diagnostics), "a text is refused without a reason")
    claim(
        (found is None) == any(d.code.startswith("E") for d in diagnostics),
        "errors and acceptance do not agree",
    )
    after, wrong = soon(formatted, Source(text))
    drawn(wrong)
    claim(after is not None or bool(wrong), "a text is not formatted without a reason")
    claim(
        found is None or after is not None or wrong[0].code in ("E0104", "E0108"),
        "an accepted policy is not formatted",
    )
    if after is not None:
        formatted_holds(after, found, diagnostics)
    if found is not None:
        printed(text, found)
    elif "\n" in text:
        try:
            policies.load(text)
        except PolicyError as error:
            claim(len(error.diagnostics) == len(diagnostics), "`load` and `check` say different things")
        else:
            raise Fault("`load` takes what `check` refuses")


def drawn(diagnostics: list[Diagnostic]) -> None:
    """Every diagnostic draws itself, for people and programs, and there are no more than anybody reads."""
    claim(len(diagnostics) <= MOST_DIAGNOSTICS, "more diagnostics than the limit")
    for diagnostic in diagnostics:
        shown = str(diagnostic)
        claim(diagnostic.code in CODES and bool(diagnostic.message), "a diagnostic without code or message")
        claim(all(line.isprintable() for line in shown.split("\n")), "a diagnostic steers the terminal")
        span = diagnostic.span
        claim(
            span is None or 0 <= span.start <= span.end <= len(span.source.text),
            "a diagnostic outside its text",
        )
        json.dumps(record("x.policy", diagnostic))


def formatted_holds(text: str, found: policies.Policy | None, diagnostics: list[Diagnostic]) -> None:
    """What is formatted stays as it is when it is formatted again, and means what it meant."""
    claim(formatted(Source(text)) == (text, []), "formatting twice differs from formatting once")
    again, more = policies.check(text)
    claim(
        [d.code for d in more] == [d.code for d in diagnostics], "formatting changes what is said of a text"
    )
    same = again is None if found is None else again is not None and str(again.program) == str(found.program)
    claim(same, "formatting changes what a policy does")


def printed(text: str, found: policies.Policy) -> None:
    """An accepted policy explains itself, and every stage that needs no torch prints it."""
    claim(bool(soon(explained, found)), "a policy is not explained")
    for stage in ("tree", "facts", "ir"):
        claim(bool(soon(shown, text, stage)), f"stage {stage} prints nothing")


def explained(found: policies.Policy) -> list[str]:
    return [*explain._of_policy(found, GEN_LENGTH)]


def shown(text: str, stage: str) -> list[str]:
    return [*show.STAGES[stage](text if "\n" in text else text + "\n", [])]


def cases_hold(policy: str, text: str) -> None:
    """A file of cases is read, and run where it can be, and whatever is wrong is told."""
    from dsldec.tools.cases import read_cases
    from dsldec.tools.verdict import outcome_of

    found, wrong = soon(read_cases, Source(text, "x.cases"))
    drawn(wrong)
    claim(bool(found or wrong), "a file of cases says nothing")
    loaded = policies.load(policy)
    for case in found:
        outcome = outcome_of(case, loaded, "x.cases")
        drawn(list(outcome.diagnostics))
        claim(bool(str(outcome)) or not outcome.diagnostics, "a case fails without a word")
