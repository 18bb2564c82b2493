"""Is a changed tree a policy that the search may measure? It is written, parsed and checked like a user's.

Not here: how trees change (`mutations`, `crossing`), whether two policies are the same (`behaviour`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...checks.resolved import Resolved
from ...diagnostics import Diagnostic
from ...language import syntax
from ...language.walk import statements
from ...policy import Policy, check
from . import trees

# It says that a prefix ends at its first failure, which is a rule that people write on purpose.
ALLOWED_WARNINGS = frozenset({"W0301"})


@dataclass(frozen=True, slots=True)
class SizeLimits:
    """The largest policy that the search keeps. `nodes`: statements and all parts of their expressions;
    `forwards`: the proved bound, for an answer of `gen_length` positions.
    """

    nodes: int = 80
    statements: int = 12
    gen_length: int = 48
    forwards: int = 192

    @classmethod
    def none(cls) -> SizeLimits:
        """No limits, for a policy that a person gives."""
        return cls(nodes=10**6, statements=10**6, forwards=10**9)


@dataclass(frozen=True, slots=True)
class Individual:
    """A policy of the search. `id`: its name in the lineage; `parents`: the ids of those it was made of;
    `changes`: in words; `text`: in canonical form.
    """

    id: str
    text: str
    parents: tuple[str, ...]
    changes: tuple[str, ...]
    policy: Policy = field(repr=False, compare=False)

    @property
    def resolved(self) -> Resolved:
        return self.policy.facts.bound.resolved

    @property
    def tree(self) -> syntax.PolicyDefinition:
        return self.resolved.policy

    @property
    def size(self) -> int:
        """The nodes of the tree: the search prefers small policies."""
        return trees.nodes(self.tree)


class NotSearchable(Exception):
    """The tree is no policy that the search measures; the text says why."""


def checked(text: str) -> Policy:
    """The policy of a text. Raises `NotSearchable` for an error, and for a warning that matters."""
    policy, diagnostics = check(text, "<evolve>")
    wrong = [one.code for one in diagnostics if one.code not in ALLOWED_WARNINGS]
    if policy is None or wrong:
        raise NotSearchable(wrong[0] if wrong else "it is no policy")
    return policy


def require_searchable(policy: Policy) -> None:
    """Raises `NotSearchable` for a policy whose forwards or answers cannot be compared with those of others."""
    facts = policy.facts
    if facts.drafts is not None or facts.branches is not None or facts.rows_per_draft > 1:
        raise NotSearchable("one of its forwards has several rows")
    if not facts.deterministic:
        raise NotSearchable("it draws at random")
    if facts.noise or facts.networks or facts.constrains is not None:
        raise NotSearchable("it needs noise, a network or a pattern")


def require_small(policy: Policy, limits: SizeLimits) -> None:
    """Raises `NotSearchable` for a policy that is too large, or whose proved bound on forwards is."""
    tree = policy.facts.bound.resolved.policy
    if trees.nodes(tree) > limits.nodes or len(statements(tree)) > limits.statements:
        raise NotSearchable("it is too large")
    if policy.plan(limits.gen_length).max_forwards > limits.forwards:
        raise NotSearchable("its bound on forwards is too high")


def accepted(tree: syntax.PolicyDefinition, limits: SizeLimits) -> tuple[str, Policy]:
    """The text and the policy of a tree. Raises `NotSearchable`."""
    tree = trees.tidied(replace(tree, identifier=trees.identifier("found"), doc=None))
    if trees.nodes(tree) > 2 * limits.nodes:
        raise NotSearchable("it is too large")
    text = trees.text_of(tree)
    if text is None:
        raise NotSearchable("it is no policy")
    policy = checked(text)
    require_searchable(policy)
    require_small(policy, limits)
    return text, policy


def start_of(policy: Policy, limits: SizeLimits) -> tuple[str, Policy]:
    """The text of a start policy as the search reads it: its parameter values as defaults, without functions
    and comments. Raises `NotSearchable`.
    """
    require_searchable(policy)
    tree = trees.without_functions(policy.facts.bound.resolved.policy)
    return accepted(_with_values(tree, policy), limits)


def _with_values(tree: syntax.PolicyDefinition, policy: Policy) -> syntax.PolicyDefinition:
    values = policy.parameters

    def bound(one: syntax.Parameter) -> syntax.Parameter:
        value = values.get(one.identifier.text)
        if isinstance(one.default, syntax.Literal) and isinstance(value, bool | int | float):
            return replace(one, default=syntax.Literal(trees.NOWHERE, value))
        if isinstance(one.default, syntax.ChoiceName) and isinstance(value, str):
            return replace(one, default=syntax.ChoiceName(trees.NOWHERE, value))
        return one

    return replace(tree, parameters=tuple(map(bound, tree.parameters)))


def as_diagnostic(name: str, why: NotSearchable) -> Diagnostic:
    """The mistake of a start policy."""
    help = "start with policies of one row a forward, such as `--start threshold --start factor`"
    return Diagnostic("E0541", f"the search cannot start from `{name}`: {why}", help=help)
