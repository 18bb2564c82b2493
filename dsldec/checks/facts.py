"""What can be said about a checked policy before it runs.

Not here: why it ends (`progress`), which this puts into numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import DRAWS, KEPT_IDS, RANDOM_WORDS, WINDOWS, WORDS, Extent, Kind
from .arguments import matched
from .bounds import Bound, block_length
from .floors import ALL, smallest
from .kinds import of_state
from .resolved import Resolved, expressions, statements, walk
from .values import Value, constant_value, int_of

BYTES = {Kind.INT: 8, Kind.TOKEN: 8, Kind.BOOL: 1, Kind.MASK: 1}
# Loops over the vocabulary in a compiled step (a test counts them): the maximum, then all else that is
# observed, `p` among it, at once. Words that make as many numbers as there are logits add theirs (`passes`);
# a sort, or the likeliest ids, count as one.
PASSES = 2
ASSUMPTIONS_OF_DRAFTS = (
    "a row of a forward has the logits that it has alone (verified in the way `sequential`, each is forwarded alone)",
    "a cache of the model's is none, or the same with drafts and without",
)
ASSUMPTIONS = ("the denoiser's logits are finite; a row where they are not stops with an error",)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts of a policy, for programs and for people; `assumptions` says under what.

    `floor_per_step`: positions every step surely commits while the window holds that many: a number, the name
    of a parameter, or `all`; 0 where some step may commit nothing. `reasons`: why each phase comes to an end,
    in words. `forwards_formula`: the bound on forwards in words; `forwards_bound` computes it. `window`,
    `window_size`: the shape a policy writes in and the number or parameter that sizes it (`window_masks`: the
    most masks a sliding one holds). `drafts`: how many are verified in one forward, a number or the name of a
    parameter, `None` where nothing is said; `exact`: whether what is accepted is what the policy alone would
    write. `rows_per_draft`: rows fed for each, 2 with guidance. `revises`: whether it revokes or edits what
    it has written. `state_bytes_per_position`: what the policy carries between steps; and of distributions
    the `kept_ids` likeliest ids, numbers or names of parameters (`kept_bytes`: what they take).
    `vocabulary_passes`: how often, at most, a compiled step on a CPU goes over all logits or as many numbers.
    `static`: parameters that size something (another value compiles again); `dynamic`: those that are inputs
    of the compiled step. `lossless`: with respect to what the output is exact.
    """

    floor_per_step: int | str
    reasons: Mapping[str, str]
    forwards_formula: str
    window: str
    window_size: int | str | None
    window_masks: int | str | None
    drafts: int | str | None
    exact: bool
    revises: bool
    rows_per_draft: int
    state_bytes_per_position: int
    kept_ids: tuple[int | str, ...]
    vocabulary_passes: int
    deterministic: bool
    lossless: str
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    assumptions: tuple[str, ...]
    bound: Bound = field(repr=False)
    guided_by: syntax.Expression | None = field(repr=False, default=None)

    @property
    def caches(self) -> tuple[str, ...]:
        """The caches of keys and values that the policy may run with: it writes only in its window, and what
        is kept lies outside.
        """
        return ("none", "exact") if self.window == "sliding" else ("none", "exact", "prefix", "dual")

    def guidance(self, parameters: Mapping[str, Value]) -> float | None:
        """The scale of classifier-free guidance; `None` for a policy without."""
        return None if self.guided_by is None else float(constant_value(self.guided_by, {}, parameters) or 0)

    def lookahead(self, parameters: Mapping[str, Value]) -> int:
        """How many drafts are verified in one forward under these parameter values, the next step itself
        among them.
        """
        return int_of(self.drafts, parameters) or 1

    def rows_per_forward(self, parameters: Mapping[str, Value]) -> int:
        """The most rows that are fed for one row of the batch in a forward."""
        return self.lookahead(parameters) * self.rows_per_draft

    def kept_bytes(self, vocab_size: int, parameters: Mapping[str, Value]) -> int:
        """Bytes of the distributions carried for each position under these parameter values."""
        keeps = [int_of(keep, parameters) or 0 for keep in self.kept_ids]
        return sum(4 * (vocab_size if keep >= vocab_size else 2 * (keep + 1)) for keep in keeps)

    def block_length(self, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """Positions of a full window under these parameter values."""
        return block_length(self.window_size, gen_length, parameters)

    def forwards_bound(
        self, gen_length: int, parameters: Mapping[str, Value], given_inside: bool = False
    ) -> int:
        """The most forwards that decoding `gen_length` positions can take under these parameter values."""
        return self.bound.forwards(gen_length, parameters, given_inside)


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Fills `facts`, where the checks before it left nothing open."""
    window = next((s for s in found.policy.statements if isinstance(s, syntax.Window)), None)
    if window is None or found.progress is None:
        return found, []
    bound = Bound(found, found.progress, window.shape)
    floors = [phase.floor for phase in found.progress.phases]
    lowest = min(floors, key=smallest)
    static = _static(found)
    names = tuple(parameter.identifier.text for parameter in found.policy.parameters)
    transforms = [_word(s.transform) for s in found.policy.statements if isinstance(s, syntax.Logits)]
    deterministic = not DRAWS[_draw(found)].random and not _words(found) & RANDOM_WORDS
    facts = Facts(
        floor_per_step=lowest.identifier.text
        if isinstance(lowest, syntax.Parameter)
        else "all"
        if lowest == ALL
        else lowest,
        reasons=bound.reasons(),
        forwards_formula=bound.formula(),
        window=bound.shape,
        window_size=bound.size,
        window_masks=bound.given("max_masks"),
        drafts=_drafts(found),
        exact=_exact(found),
        revises=any(
            isinstance(statement, syntax.Revoke | syntax.Edit) for statement in statements(found.policy)
        ),
        rows_per_draft=2 if "cfg" in transforms else 1,
        state_bytes_per_position=_bytes(found),
        kept_ids=_kept_ids(found),
        vocabulary_passes=_passes(found),
        deterministic=deterministic,
        lossless=_lossless(found, deterministic),
        static=static,
        dynamic=tuple(name for name in names if name not in static),
        assumptions=(*ASSUMPTIONS, *ASSUMPTIONS_OF_DRAFTS)
        if _drafts(found) not in (None, 1) and _exact(found)
        else ASSUMPTIONS,
        bound=bound,
        guided_by=_guided_by(found),
    )
    return replace(found, facts=facts), []


def _lookahead(found: Resolved) -> syntax.Lookahead | None:
    return next((s for s in found.policy.statements if isinstance(s, syntax.Lookahead)), None)


def _drafts(found: Resolved) -> int | str | None:
    lookahead = _lookahead(found)
    drafts = lookahead.drafts if lookahead is not None else None
    return (
        drafts.identifier
        if isinstance(drafts, syntax.Name)
        else int(drafts.value)
        if isinstance(drafts, syntax.Number)
        else None
    )


def _exact(found: Resolved) -> bool:
    lookahead = _lookahead(found)
    return lookahead is None or lookahead.condition is None


def _lossless(found: Resolved, deterministic: bool) -> str:
    """With respect to what the output is exact, in words."""
    if _drafts(found) in (None, 1):
        return "nothing is drafted: every step is one of this policy's own"
    if not _exact(found):
        return "no: what `accept` lets pass may differ from what the policy writes without drafts"
    same = "" if deterministic else " with the same seed"
    return f"token for token what the policy writes without drafts{same}"


def _guided_by(found: Resolved) -> syntax.Expression | None:
    transforms = [s.transform for s in found.policy.statements if isinstance(s, syntax.Logits)]
    calls = [t for t in transforms if isinstance(t, syntax.Call) and t.function.text == "cfg" and t.arguments]
    return calls[0].arguments[0] if calls else None


def _all_expressions(found: Resolved) -> list[syntax.Expression]:
    nodes = [*statements(found.policy), *found.policy.phases]
    outer = [
        e for node in nodes if not isinstance(node, syntax.FunctionDeclaration) for e in expressions(node)
    ]
    return [part for expression in outer for part in walk(expression)]


def _word(shape: syntax.Expression) -> str:
    return (
        shape.function.text
        if isinstance(shape, syntax.Call)
        else shape.identifier
        if isinstance(shape, syntax.Name)
        else ""
    )


def _words(found: Resolved) -> set[str]:
    """The words of the language that a policy uses."""
    return {
        _word(part)
        for part in _all_expressions(found)
        if not isinstance(part, syntax.Name) or part not in found.bindings
    }


def _draw(found: Resolved) -> str:
    return next((_word(s.method) for s in found.policy.statements if isinstance(s, syntax.Draw)), "argmax")


def _static(found: Resolved) -> tuple[str, ...]:
    """Parameters that size the compiled step: the window's length and the picks of `thin`."""
    words = {**WORDS, **WINDOWS}
    calls = [p for p in _all_expressions(found) if isinstance(p, syntax.Call) and p.function.text in words]
    sizes = [
        given.expression
        for call in calls
        for given in matched(call, words[call.function.text])[0]
        if given.slot.static
    ]
    names = (
        size.identifier
        for size in sizes
        if isinstance(size, syntax.Name) and isinstance(found.bindings.get(size), syntax.Parameter)
    )
    return tuple(dict.fromkeys(names))


def _kept_ids(found: Resolved) -> tuple[int | str, ...]:
    calls = [p for p in _all_expressions(found) if isinstance(p, syntax.Call) and p.function.text == "kl"]
    given = [next((k.value for k in call.keywords if k.identifier.text == "keep"), None) for call in calls]
    keeps = [
        g.identifier
        if isinstance(g, syntax.Name)
        else int(g.value)
        if isinstance(g, syntax.Number)
        else KEPT_IDS
        for g in given
    ]
    return tuple(dict.fromkeys(keeps))


def _passes(found: Resolved) -> int:
    """Loops over the vocabulary; `kl` makes one for each number of stored ids."""
    times = {name: len(_kept_ids(found)) if name == "kl" else 1 for name in _words(found) if name in WORDS}
    return PASSES + DRAWS[_draw(found)].passes + sum(WORDS[name].passes * n for name, n in times.items())


def _bytes(found: Resolved) -> int:
    """Bytes carried for each position: states, the written ages, and what `before` looks back at."""
    states = [of_state(state) for state in found.states.values()]
    total = sum(BYTES.get(type_.kind, 4) for type_ in states if type_.extent is Extent.POSITION)
    befores = [
        part
        for part in _all_expressions(found)
        if isinstance(part, syntax.Call) and part.function.text == "before"
    ]
    kept = {found.texts.number(part): found.types[part] for part in befores}
    total += sum(BYTES.get(type_.kind, 4) for type_ in kept.values() if type_.extent is Extent.POSITION)
    return total + sum(WORDS[name].carried_bytes for name in _words(found) if name in WORDS)
