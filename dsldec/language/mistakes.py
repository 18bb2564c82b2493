"""Why is a line not a statement? The answer is a diagnostic in the user's words.

The parser reports the piece at which it stopped, and the terminals that it accepts there. `RULES` are tried
in order, and the first match gives the diagnostic. All diagnostics mark their own line, never the next one.
Not here: brackets, quotes and strange characters (`lines`), indentation (`layout`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .. import fixes
from ..diagnostics import Diagnostic, Fix, did_you_mean
from ..source import Span
from .lines import BEGINNERS, Line
from .scan import Piece, PieceKind
from .words import KEYWORDS, RESERVED, SHAPES, STATEMENTS, WORDS

LONGEST_SHOWN = 40
_HEADER = "policy NAME(a: KIND = 1 in 0..8):"
_OPERATORS = frozenset(
    {"AND", "OR", "ORELSE", "IF", "COMPARE", "SUM_OPERATOR", "PRODUCT_OPERATOR", "POWER_OPERATOR"}
)
_VALUES = frozenset({"NAME", "NUMBER", "TRUE", "FALSE", "NOT", "MINUS"})
_BEFORE_A_NAME = frozenset("next phase set state def per else policy".split())
# Keywords that begin no statement. One rule each accepts them.
_SMALL_WORDS = frozenset({"visits", "each"})

# The text that a user types for a terminal of the grammar.
_TYPED = {
    "LPAR": "`(`", "RPAR": "`)`", "COLON": "`:`", "EQUAL": "`=`", "COMMA": "`,`", "__ANON_0": "`..`", "_NL": "the end of the line",
    "NAME": "a name", "NUMBER": "a number", "TRUE": "`true`", "FALSE": "`false`", "STRING": "a text in quotes", "MINUS": "`-`",
    "AS": "`as IDS`", "AT": "`at least N by SCORE`", "LEAST": "`least`", "MOST": "`most`", "BY": "`by SCORE`", "WHEN": "`when COND`",
    "PER": "`per block`", "VISITS": "`visits`", "IN": "`in 0..8`", "EACH": "`each`", "ELSE": "`else`", "POLICY": "`policy`",
    "ACCEPT": "`accept exact`", "EXACT": "`exact`", "VBAR": "`|`",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stuck:
    """The parser stopped at piece `at` of a line (`len(line.pieces)`: at its end), where it accepts the
    terminals in `accepts`.
    """

    line: Line
    at: int
    accepts: frozenset[str]

    def piece(self, offset: int = 0) -> Piece | None:
        at = self.at + offset
        return self.line.pieces[at] if 0 <= at < len(self.line.pieces) else None

    def text(self, offset: int = 0) -> str:
        piece = self.piece(offset)
        return piece.text if piece is not None else ""

    def span(self, piece: Piece) -> Span:
        return self.line.part(piece.start, piece.end)

    @property
    def depth(self) -> int:
        before = [piece.text for piece in self.line.pieces[: self.at]]
        return before.count("(") - before.count(")")

    @property
    def is_let(self) -> bool:
        return len(self.line.pieces) > 1 and self.line.pieces[1].text == "="


def explained(stuck: Stuck) -> Diagnostic:
    """The diagnostic for a line that is not part of the language."""
    return next(diagnostic for rule in RULES if (diagnostic := rule(stuck)) is not None)


def _short(text: str) -> str:
    line = text.split("\n", 1)[0]
    return line if len(line) <= LONGEST_SHOWN and line == text else line[: LONGEST_SHOWN - 3] + "..."


def _wrong(
    stuck: Stuck,
    piece: Piece,
    message: str,
    help: str = "",
    label: str = "",
    fix: Fix | str | None = None,
) -> Diagnostic:
    """The diagnostic of a piece. A `fix` that is a text is written in place of the piece."""
    span = stuck.span(piece)
    return Diagnostic("E0101", message, span, label, help, Fix(span, fix) if isinstance(fix, str) else fix)


# --- the first word -----------------------------------------------------------------------------------------


def _not_yet(stuck: Stuck) -> Diagnostic | None:
    head = stuck.line.pieces[0]
    if head.text not in RESERVED or stuck.is_let:
        return None
    return Diagnostic(
        "E0106", f"`{head.text}` is a word of the language that this version cannot use yet", stuck.span(head)
    )


def _word_as_name(stuck: Stuck) -> Diagnostic | None:
    head = stuck.line.pieces[0]
    if not stuck.is_let or head.text not in KEYWORDS or stuck.at > 1:
        return None
    return _wrong(
        stuck,
        head,
        f"`{head.text}` is a word of the language and cannot be a name",
        f"write another name: `my_{head.text} = ...`",
        fix=f"my_{head.text}",
    )


def _not_a_statement(stuck: Stuck) -> Diagnostic | None:
    head, second = stuck.line.pieces[0], stuck.line.pieces[1].text if len(stuck.line.pieces) > 1 else ""
    if head.kind is not PieceKind.WORD or head.text in BEGINNERS or second in ("=", "=="):
        return None
    if head.text == "else":
        return _wrong(stuck, head, "`else` stands without `if`", "write `x = A if CONDITION else B`")
    message = f"`{_short(head.text)}` is not a statement"
    if head.text in _ELSEWHERE:
        is_word_too_many = head.text in _TOO_MANY and len(stuck.line.pieces) > 1
        fix: Fix | str | None = None
        if is_word_too_many:
            fix = Fix(Span(stuck.line.source, head.start, stuck.line.pieces[1].start), "")
        return _wrong(stuck, head, message, _ELSEWHERE[head.text], fix=fix)
    for before, words in SHAPES.items():
        if head.text in words:
            slots = ", ".join(slot.name for slot in words[head.text].slots if not slot.optional)
            whole = f"{head.text}({slots})" if slots else head.text
            help_, fix = f"write it after `{before}`: `{before} {whole}`", f"{before} {head.text}"
            return _wrong(stuck, head, message, help_, fix=fix)
    close = did_you_mean(head.text, BEGINNERS)
    statements = ", ".join(f"`{word}`" for word in sorted(STATEMENTS))
    return _wrong(
        stuck,
        head,
        message,
        f"did you mean `{close}`?"
        if close
        else f"a line starts with {statements}, or gives a value a name: `sure = conf > 0.9`",
        fix=close,
    )


_ELSEWHERE = {
    "if": "choose a value with `x = A if CONDITION else B`, a moment with `next PHASE when CONDITION`",
    "elif": "choose a value with `x = A if CONDITION else B`",
    "for": "a policy has no loops: its statements run once a step, for all positions",
    "while": "a policy has no loops: its statements run once a step; write `next PHASE when CONDITION`",
    "let": "an assignment needs no word before it: `x = conf > 0.9`",
    "var": "an assignment needs no word before it: `x = conf > 0.9`",
    "const": "an assignment needs no word before it: `x = conf > 0.9`",
    "return": "a function is one line: `def near(m) = dilate(m, 4) and not m`",
    "import": "a policy imports nothing: all words are defined",
    "pass": "leave the line out",
    "unmask": "positions are written by `commit`: `commit masked and conf > 0.9 at least 1 by conf`",
    "transfer": "positions are written by `commit`: `commit masked and conf > 0.9 at least 1 by conf`",
    "remask": "tokens become MASK again by `revoke MASK at most N by doubt`",
    "fork": "write `branch 4 as i:`, and below its block `pick by mean(conf)`",
    "split": "write `branch 4 as i:`, and below its block `pick by mean(conf)`",
    "candidates": "write `branch 4 as i:`, and below its block `pick by mean(conf)`",
    "beam": "write `branch 4 as i:`, and below its block `pick by mean(conf)`",
    "choose": "write `pick by mean(conf)`",
    "select": "write `pick by mean(conf)`",
    "best": "write `pick by mean(conf)`",
}

_TOO_MANY = frozenset({"let", "var", "const"})  # words that other languages write before a name


# --- headers ------------------------------------------------------------------------------------------------


def _policy_header(stuck: Stuck) -> Diagnostic | None:
    """Parameters without brackets, a parameter without its kind."""
    pieces = stuck.line.pieces
    if stuck.line.head != "policy" or stuck.at < 1:
        return None
    if stuck.at == 2 and stuck.piece() is not None and pieces[1].kind is PieceKind.WORD:
        return _wrong(
            stuck,
            pieces[1],
            "brackets are missing behind the policy's name",
            f"write `policy {_short(pieces[1].text)}(...):`",
        )
    if stuck.depth != 1 or stuck.piece() is None or stuck.piece(-1) is None:
        return None
    before, name = pieces[stuck.at - 1], pieces[stuck.at - 1].text
    if stuck.accepts == {"COLON"} and pieces[stuck.at].kind is PieceKind.WORD:
        kind = pieces[stuck.at]
        return _wrong(
            stuck,
            kind,
            f"a `:` is missing before `{_short(kind.text)}`",
            f"write `{_short(name)}: {_short(kind.text)}`",
            fix=fixes.after(stuck.span(before), ":"),
        )
    if stuck.accepts == {"COLON"}:
        return _wrong(
            stuck,
            before,
            f"the parameter `{_short(name)}` lacks its kind",
            f"write `{_short(name)}: real = 1`",
            fix=fixes.after(stuck.span(before), ": real = 1"),
        )
    if "EQUAL" in stuck.accepts:
        value, colon = pieces[stuck.at], max(at for at in range(stuck.at) if pieces[at].text == ":")
        name, kind_of = pieces[colon - 1].text, " ".join(piece.text for piece in pieces[colon + 1 : stuck.at])
        return _wrong(
            stuck,
            value,
            f"a `=` is missing before `{_short(value.text)}`",
            f"write `{_short(name)}: {_short(kind_of)} = {_short(value.text)}`",
            fix=fixes.before(stuck.span(value), "= "),
        )
    return None


def _header_end(stuck: Stuck) -> Diagnostic | None:
    """A header without its colon, or with text after it."""
    pieces, here = stuck.line.pieces, stuck.piece()
    if stuck.line.head not in ("policy", "phase", "branch"):
        return None
    if here is None and "COLON" in stuck.accepts:
        whole = stuck.line.part(stuck.line.start, stuck.line.end).text
        help_ = f"write `{whole}:`" if whole == _short(whole) else "write `:` at its end"
        fix = fixes.after(stuck.span(pieces[-1]), ":")
        return _wrong(stuck, pieces[-1], "this header lacks its `:`", help_, "after this", fix)
    if here is not None and stuck.text(-1) == ":" and stuck.depth == 0:
        return _wrong(
            stuck,
            here,
            "a header must be the last on its line",
            "start a new line, indented by two more spaces",
        )
    return None


def _choice_in_phase_header(stuck: Stuck) -> Diagnostic | None:
    here = stuck.piece()
    if here is None or here.text != "if" or stuck.line.head != "phase" or stuck.depth:
        return None
    return _wrong(
        stuck,
        here,
        "a choice in a phase's header needs brackets",
        "put brackets round it: `(A if CONDITION else B)`",
    )


# --- inside a line ------------------------------------------------------------------------------------------


def _equal(stuck: Stuck) -> Diagnostic | None:
    here = stuck.piece()
    if here is None or stuck.at == 0:
        return None
    if here.text == "=" and stuck.accepts & _OPERATORS:
        return _wrong(stuck, here, "`=` assigns a value and does not compare", "write `==`", fix="==")
    if here.text == "==" and "EQUAL" in stuck.accepts | _let_accepts(stuck):
        return _wrong(stuck, here, "`==` compares and does not assign a value", "write `=`", fix="=")
    return None


def _let_accepts(stuck: Stuck) -> frozenset[str]:
    return (
        frozenset({"EQUAL"}) if stuck.at == 1 and stuck.line.pieces[0].kind is PieceKind.WORD else frozenset()
    )


def _half_a_choice(stuck: Stuck) -> Diagnostic | None:
    """`else` without `if`, `if` without `else`."""
    here, pieces = stuck.piece(), stuck.line.pieces
    if here is not None and here.text == "else" and "ELSE" not in stuck.accepts:
        return _wrong(stuck, here, "`else` stands without `if`", "write `A if CONDITION else B`")
    ifs = [piece for piece in pieces[: stuck.at] if piece.text == "if"]
    if (
        "ELSE" in stuck.accepts
        and ifs
        and (stuck.line.head != "phase" or stuck.depth)
        and (here is None or here.text in ("),"))
    ):
        return _wrong(stuck, ifs[-1], "this `if` lacks its `else`", "write `A if CONDITION else B`")
    return None


def _word_for_a_value(stuck: Stuck) -> Diagnostic | None:
    """A keyword where a name or value is missing: `commit at least 1 by conf`. The parser read it as a name."""
    before, at = stuck.piece(-1), stuck.at - 1
    if before is None or at < 1 or before.text not in KEYWORDS or before.text in ("true", "false"):
        return None
    taken_for_a_value = bool(stuck.accepts & _OPERATORS) and "LPAR" in stuck.accepts
    if not taken_for_a_value and stuck.text(-2) not in _BEFORE_A_NAME:
        return None
    return value_missing(stuck.span(before), _form(stuck.line))


def value_missing(span: Span, help: str = "") -> Diagnostic:
    """The diagnostic for a keyword in the place of a value."""
    return Diagnostic(
        "E0101",
        f"a name or value is missing before `{span.text}`",
        span,
        f"`{span.text}` is a word of the language",
        help,
    )


def _misspelt(stuck: Stuck) -> Diagnostic | None:
    here = stuck.piece()
    if here is None or here.kind is not PieceKind.WORD or here.text in WORDS or here.text in KEYWORDS:
        return None
    close = did_you_mean(
        here.text, [word for word in KEYWORDS | _SMALL_WORDS if word.upper() in stuck.accepts]
    )
    return (
        _wrong(stuck, here, f"`{_short(here.text)}` cannot stand here", f"did you mean `{close}`?", fix=close)
        if close
        else None
    )


def _branch_header(stuck: Stuck) -> Diagnostic | None:
    """`branch for i in 4:` and `branch i in 4:`."""
    here = stuck.piece()
    if stuck.line.head != "branch" or here is None or stuck.depth:
        return None
    return _wrong(stuck, here, f"`{_short(here.text)}` cannot stand here", "write `branch 4 as i:`")


def _no_number(stuck: Stuck) -> Diagnostic | None:
    here, before = stuck.piece(), stuck.piece(-1)
    if here is None or before is None or before.kind is not PieceKind.NUMBER or before.end != here.start:
        return None
    if here.kind not in (PieceKind.WORD, PieceKind.NUMBER):
        return None
    span = stuck.line.part(before.start, here.end)
    return Diagnostic(
        "E0101",
        f"`{_short(span.text)}` is neither a number nor a name",
        span,
        help="numbers look like `32`, `0.5` or `1e-3`",
    )


def _missing_comma(stuck: Stuck) -> Diagnostic | None:
    here = stuck.piece()
    if (
        here is None
        or "COMMA" not in stuck.accepts
        or here.kind not in (PieceKind.WORD, PieceKind.NUMBER)
        or here.text in KEYWORDS - {"true", "false", "not"}
    ):
        return None
    before = stuck.piece(-1)
    label = "or an operator" if stuck.accepts & _OPERATORS else ""
    return _wrong(
        stuck,
        here,
        f"a comma is missing before `{_short(here.text)}`",
        f"write `, {_short(here.text)}`",
        label,
        fixes.after(stuck.span(before), ",") if before is not None else None,
    )


def _bar(stuck: Stuck) -> Diagnostic | None:
    here = stuck.piece()
    if here is None or here.text != "|" or stuck.line.head == "policy":
        return None
    return _wrong(
        stuck,
        here,
        "`|` stands between the choices of a parameter, and nowhere else",
        "write `or`",
        fix="or",
    )


def _early_end(stuck: Stuck) -> Diagnostic | None:
    if stuck.piece() is not None:
        return None
    message = f"the line ends too early: expected {_listed(stuck)}"
    return _wrong(stuck, stuck.line.pieces[-1], message, _form(stuck.line), "after this")


def _out_of_place(stuck: Stuck) -> Diagnostic:
    here = stuck.piece()
    assert here is not None
    if here.kind is PieceKind.QUOTED:
        inside = here.text.strip('"')
        fix = inside if inside.isidentifier() and stuck.text(-2) not in ("constrain", "learned") else None
        help_ = _without_quotes(stuck, here)
        return _wrong(stuck, here, "a text in quotes cannot stand here", help_, fix=fix)
    return _wrong(
        stuck,
        here,
        f"`{_short(here.text)}` cannot stand here",
        _form(stuck.line),
        f"expected {_listed(stuck)}",
    )


def _without_quotes(stuck: Stuck, here: Piece) -> str:
    """The help for a text in quotes."""
    call, inside = stuck.text(-2), here.text.strip('"')
    if call == "constrain":
        return f"write `logits constrain(shape)`, and in the policy's brackets `shape: pattern = {_short(here.text)}`"
    if call == "learned":
        return "write `learned(net, ...)`, and in the policy's brackets `net: network`; the caller gives the file"
    if inside.isidentifier():
        return f"a name has no quotes: write `{_short(inside)}`"
    return "a policy's description is the first line under its header"


def _form(line: Line) -> str:
    """The syntax of this line's statement."""
    if line.head == "policy":
        return f"it is written `{_HEADER}`"
    return f"it is written `{STATEMENTS[line.head][0]}`" if line.head in STATEMENTS else ""


def _listed(stuck: Stuck) -> str:
    accepts = set(stuck.accepts)
    expected: list[str] = []
    if "COMMIT" in accepts:
        return "a statement"
    if len(accepts & _VALUES) > 2:
        expected, accepts = ["a value"], accepts - _VALUES - {"LPAR"}
    if accepts & _OPERATORS:
        expected, accepts = [*expected, "an operator"], accepts - _OPERATORS - {"LPAR"}
    if "_NL" in accepts and stuck.piece() is None:
        accepts.remove("_NL")
    return _or([*expected, *sorted(_TYPED[each] for each in accepts if each in _TYPED)]) or "something else"


def _or(names: Iterable[str]) -> str:
    *first, last = [*names][:6] or [""]
    return f"{', '.join(first)} or {last}" if first else last


RULES: tuple[Callable[[Stuck], Diagnostic | None], ...] = (
    _not_yet, _word_as_name, _not_a_statement, _policy_header, _header_end, _choice_in_phase_header, _equal, _half_a_choice,
    _word_for_a_value, _branch_header, _misspelt, _no_number, _bar, _missing_comma, _early_end, _out_of_place,
)  # fmt: skip
