"""How an explanation is printed: the text around the position, the policy's lines with carets, the lines.

Not here: the explanation (`explained`), the steps of an answer (`explained_run`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...explained.step_record import StepRecord
from ...explained.why import Why, WhyLine
from ...source import Span
from ...terminal import printable
from .explained_run import ExplainedRun, deciding

AROUND = 8  # positions before and after the one that is explained
LONGEST_LINE = 160
MASKED = "_"


def explanation(run: ExplainedRun, step: int, why: Why) -> Iterator[str]:
    """The lines that explain a position."""
    head, _, rest = str(why).partition("\n")
    yield head
    yield ""
    yield from around(run, step, why.position)
    drawn = list(policy_lines(line.span for line in why.lines if line.decides and line.span is not None))
    yield from ["", *drawn] if drawn else []
    yield ""
    yield rest


def around(run: ExplainedRun, step: int, position: int) -> Iterator[str]:
    """The text around a position, before and after a step, with the position in brackets."""
    first, last = max(0, position - AROUND), min(run.length, position + AROUND + 1)
    for name, canvas in (("before", run.canvases[step]), ("after", run.canvases[step + 1])):
        some = canvas[first:last]
        cells = [piece(run, id_) for id_ in some]
        cells[position - first] = f"[{cells[position - first]}]"
        texts = all(id_ == run.mask_id or id_ in run.texts for id_ in some)
        joined = ("" if texts and any(id_ in run.texts for id_ in some) else " ").join(cells)
        dots = "..." if first else "", "..." if last < run.length else ""
        yield f"  {name:<7}{dots[0]}{joined}{dots[1]}".rstrip()


def piece(run: ExplainedRun, id_: int) -> str:
    """An id as a piece of the text."""
    if id_ == run.mask_id:
        return MASKED
    return printable(run.texts[id_]).replace("\n", "␊") if id_ in run.texts else str(id_)


def policy_lines(spans: Iterable[Span]) -> Iterator[str]:
    """The lines of a policy with carets under some places. A place of several lines is marked in its first
    one.
    """
    marked: dict[int, list[Span]] = {}
    for span in dict.fromkeys(spans):
        marked.setdefault(span.line, []).append(span)
    if not marked:
        return
    width = len(str(max(marked)))
    source = next(iter(marked.values()))[0].source
    yield f"{' ' * width}--> {printable(source.name)}"
    for number in sorted(marked):
        text = source.line(number)
        shown = "".join(c if c.isprintable() and printable(c) == c else " " for c in text[:LONGEST_LINE])
        carets = [" "] * len(shown)
        for span in marked[number]:
            end = min(len(shown), span.column - 1 + max(1, span.end - span.start))
            carets[span.column - 1 : end] = "^" * max(0, end - span.column + 1)
        yield f"{number:>{width}} | {shown}".rstrip()
        yield f"{' ' * width} | {''.join(carets)}".rstrip()


# --- a step, and all steps


def step_lines(
    run: ExplainedRun, step: int, record: StepRecord, phase_lines: Sequence[WhyLine]
) -> Iterator[str]:
    """The writes of a step, a position a line, and why it ran this phase and left it."""
    yield title_of(run, step)
    written = run.written(step)
    if not written:
        yield "  it wrote nothing"
    for position in written:
        why, token = run.why(step, position), run.token(run.canvases[step + 1][position])
        assert why is not None
        yield f"  position {position}: {token} {why.outcome}: {'; '.join(deciding(why))}"
    yield ""
    yield from ("  " * (line.depth + 1) + line.text for line in phase_lines)


def title_of(run: ExplainedRun, step: int) -> str:
    """The step, its phase and its window."""
    record = run.records[step]
    if record is None:
        return f"step {step}, without recorded values"
    name = record.explained.watched.program.phases[record.phase]
    phase = f", phase {name}" if name else ""
    return f"step {step}{phase}, window of positions {record.start} to {record.end - 1}"


def run_lines(run: ExplainedRun) -> Iterator[str]:
    """All steps, a step a line."""
    yield run.title
    for step in range(len(run.records)):
        after = run.canvases[step + 1]
        written = ", ".join(f"{position} {run.token(after[position])}" for position in run.written(step))
        yield f"  {title_of(run, step)}: {written or 'nothing'}"
