"""The tree of a policy: one frozen class per grammar rule, a span on every node.

Nodes compare by identity, so that checks can store results about a node in a dictionary beside the tree. Not
here: parsing (`parse`), the meaning of a tree (`words`, `checks`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..source import Span


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node:
    """A part of the text at a place."""

    span: Span

    # One for all: dataclasses compile a method for each class, at every import.
    def __repr__(self) -> str:
        values = ", ".join(f"{one.name}={getattr(self, one.name)!r}" for one in fields(self))
        return f"{type(self).__qualname__}({values})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Identifier(Node):
    """A name with its own span."""

    text: str


# --- expressions --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Number(Node):
    """`4` is an int, `0.5` and `1e-3` are reals."""

    value: int | float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Boolean(Node):
    """`true` or `false`"""

    value: bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Name(Node):
    """A parameter, a state, a name given by a `let`, or a word of the language without arguments."""

    identifier: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Keyword(Node):
    """`by=conf` in a call."""

    identifier: Identifier
    value: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call(Node):
    """A word of the language with its arguments."""

    function: Identifier
    arguments: tuple[Expression, ...]
    keywords: tuple[Keyword, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Negation(Node):
    """`-x`"""

    operand: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Arithmetic(Node):
    """`left operator right` with one of `+ - * / // % **`"""

    left: Expression
    operator: str
    right: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Comparison(Node):
    """`a < b <= c`: `operands` has one more than `operators`."""

    operands: tuple[Expression, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inversion(Node):
    """`not x`"""

    operand: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conjunction(Node):
    """`left and right`"""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Disjunction(Node):
    """`left or right`"""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Alternative(Node):
    """`left orelse right`: the right side in rows where the left side selects nothing"""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Conditional(Node):
    """`then if condition else otherwise`"""

    then: Expression
    condition: Expression
    otherwise: Expression


Expression = (
    Number
    | Boolean
    | Name
    | Call
    | Negation
    | Arithmetic
    | Comparison
    | Inversion
    | Conjunction
    | Disjunction
    | Alternative
    | Conditional
)


# --- statements of a policy, before its phases --------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Window(Node):
    """`window blocks(n)`: the positions where a step may write."""

    shape: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Noise(Node):
    """`noise uniform`: the denoiser sees random ids at masked positions, not MASK."""

    source: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Draw(Node):
    """`draw gumbel(temperature)`: how a token is drawn."""

    method: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Logits(Node):
    """`logits ban(ids)`: how logits are changed before any observation."""

    transform: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Lookahead(Node):
    """`lookahead drafts accept condition`: how many drafts one forward verifies. Without a condition,
    verification is exact.
    """

    drafts: Expression
    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StateDeclaration(Node):
    """`state identifier: kind each = start per scope`: a value carried from step to step."""

    identifier: Identifier
    kind: Identifier
    each: bool
    start: Expression
    scope: Identifier


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FunctionDeclaration(Node):
    """`def identifier(parameters) = body`: expanded at every call."""

    identifier: Identifier
    parameters: tuple[Identifier, ...]
    body: Expression


# --- statements of a step -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AtLeast(Node):
    """`at least count by score`"""

    count: Expression
    score: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AtMost(Node):
    """`at most count by score`"""

    count: Expression
    score: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Commit(Node):
    """`commit mask [as ids] [at least ...] [at most ...]`: write these masked positions."""

    mask: Expression
    ids: Expression | None
    at_least: AtLeast | None
    at_most: AtMost | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Revoke(Node):
    """`revoke mask at most n [by score]`: these written positions become MASK again."""

    mask: Expression
    at_most: AtMost | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Edit(Node):
    """`edit mask as ids at most n`: replace the ids at these written positions."""

    mask: Expression
    ids: Expression | None
    at_most: AtMost | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Fill(Node):
    """`fill [when condition]`: write every masked position of the window now."""

    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Stay(Node):
    """`stay at most count [when condition]`: stay in a full window for one more step."""

    count: Expression
    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Refresh(Node):
    """`refresh [when condition]`: the next forward computes all cached keys and values of the row anew."""

    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Next(Node):
    """`next phase [when condition]`: the phase of the next step."""

    phase: Identifier
    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Finish(Node):
    """`finish [when condition]`: the row ends with this step."""

    condition: Expression | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Set(Node):
    """`set state = value`"""

    identifier: Identifier
    value: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Let(Node):
    """`name = value`, for this step."""

    identifier: Identifier
    value: Expression


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Branch(Node):
    """`branch count as identifier:`: the `size` statements after this one make a candidate for each int below
    count. They stand in the same list, so that a walk over the statements of a step meets them.
    """

    count: Expression
    identifier: Identifier
    size: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pick(Node):
    """`pick by score`: the candidate with the best score goes on."""

    score: Expression


Statement = (
    Window
    | Noise
    | Draw
    | Logits
    | Lookahead
    | StateDeclaration
    | FunctionDeclaration
    | Commit
    | Revoke
    | Edit
    | Fill
    | Stay
    | Refresh
    | Next
    | Finish
    | Set
    | Branch
    | Pick
    | Let
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Phase(Node):
    """`phase identifier [at most visits visits] [when condition] [else otherwise]:` and the statements of its
    steps.
    """

    identifier: Identifier
    visits: Expression | None
    condition: Expression | None
    otherwise: Identifier | None
    statements: tuple[Statement, ...]


# --- a file -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Literal(Node):
    """A number with its sign, or `true` or `false`."""

    value: int | float | bool


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Quoted(Node):
    """A text in quotes, without them: the default of a pattern."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ChoiceName(Node):
    """The default of a parameter with named choices."""

    value: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Range(Node):
    """`first..last`, both ends allowed."""

    first: Literal
    last: Literal


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Parameter(Node):
    """`name: kind = default in range`; a pattern may have no default, or a text; a network has neither a
    default nor a range.

    `choices`: of `name: a | b = a`, a parameter of the kind `choice`; empty for other kinds.
    """

    identifier: Identifier
    kind: Identifier
    default: Literal | Quoted | ChoiceName | None
    range: Range | None
    choices: tuple[Identifier, ...] = ()

    @property
    def number(self) -> int | float | bool:
        """The default, where it is a number or a bool; 0 without such a default."""
        return self.default.value if isinstance(self.default, Literal) else 0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Doc(Node):
    """The policy's description of itself, in quotes."""

    text: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PolicyDefinition(Node):
    """The header of a policy, its statements in order, and its phases.

    Without phases, every step runs the statements.
    """

    identifier: Identifier
    parameters: tuple[Parameter, ...]
    doc: Doc | None
    statements: tuple[Statement, ...]
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PolicyFile(Node):
    """A file with one policy."""

    policy: PolicyDefinition
