"""Which program tests an answer with code? The code of a problem, the answer, and the test.

An answer is the rest of a file, the body of a function, or a text with a code block. Candidates are tried in
order: the first one that compiles is run. Not here: how it is run (`code_runner`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .problems import Problem

INDENT = "    "
_BLOCK = re.compile(
    r"^[ \t]*```[ \t]*(?:python3?|py)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
# A completion of a function ends before the next part of the file (Chen et al., 2021, section 3.1).
_NEXT_PART = re.compile(r"\n(?:class |def |async def |#|if |print\(|assert |@|```)")


def programs(problem: Problem, answer: str) -> list[str]:
    """The candidate programs, each with the test at its end."""
    test = f"\n\n{problem.test}\n"
    if problem.entry_point and re.search(r"^def check\(", problem.test or "", re.MULTILINE):
        test += f"\ncheck({problem.entry_point})\n"
    return [f"{program}{test}" for program in dict.fromkeys(_without_test(problem, answer))]


def _without_test(problem: Problem, answer: str) -> Iterator[str]:
    code = _in_block(answer, problem.entry_point)
    name = problem.entry_point
    if name is None or re.search(rf"^(?:async )?(?:def|class) {re.escape(name)}\b", code, re.MULTILINE):
        # The start of the problem has imports and helpers. It compiles alone: the body of its function is the
        # docstring.
        yield f"{problem.code}\n\n{code}"
        yield code
        return
    body = _NEXT_PART.split(code, maxsplit=1)[0]
    # The text of an answer begins without spaces, also that of an indented body.
    yield f"{problem.code}{INDENT}{body}" if not body[:1].isspace() else f"{problem.code}{body}"
    yield problem.code + "\n".join(f"{INDENT}{line}" for line in body.split("\n"))
    yield f"{problem.code}{body}"


def _in_block(answer: str, entry_point: str | None) -> str:
    """The code of the block that defines the function, else of the first block, else the whole answer."""
    blocks = [match[1] for match in _BLOCK.finditer(answer)]
    named = [block for block in blocks if entry_point and re.search(rf"\b{re.escape(entry_point)}\b", block)]
    return (named or blocks or [answer])[0]
