"""The facts of a checked policy that are known before it runs.

Not here: why it ends (`progress`) and the bound on forwards (`bounds`), which this file summarises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..language import syntax
from ..language.walk import expressions, statements, walk
from ..language.words import (
    COMPARISONS_OF_DISTRIBUTIONS,
    DRAWS,
    KEPT_IDS,
    RANDOM_WORDS,
    TRANSFORMS,
    WINDOWS,
    WORDS,
    Extent,
    Kind,
)
from ..shown_in_notebooks import ShownInNotebooks
from .arguments import matched
from .bounds import Bound, block_length
from .floor_values import ALL, Floor, smallest
from .formula import formula, reasons
from .kinds import of_state
from .networks import inputs_of_networks
from .patterns import ASSUMPTION as ASSUMPTION_OF_PATTERNS
from .patterns import pattern_of
from .progress import Progress
from .resolved import Resolved
from .values import Value, constant_value, int_of

BYTES = {Kind.INT: 8, Kind.TOKEN: 8, Kind.BOOL: 1, Kind.MASK: 1}
# Loops over the vocabulary in a compiled step (a test counts them): one for the maximum, and one for all
# other observations and `p` together. A word that computes one number for each logit adds its `passes`; a
# sort or a `topk` counts as one.
PASSES = 2
ROWS_ALONE = "the logits of a row do not depend on the other rows of its forward (with `sequential`, each row is forwarded alone)"
ASSUMPTIONS_OF_DRAFTS = (
    ROWS_ALONE,
    "a KV cache of the model is the same with drafts and without",
)
ASSUMPTIONS = ("the denoiser's logits are finite; a row with other logits stops with an error",)


@dataclass(frozen=True, slots=True)
class Facts(ShownInNotebooks):
    """Facts of a policy, for programs and for people. They are true under `assumptions`.

    `floor_per_step`: the least number of positions that every step commits, while the window has this number
    of masked positions: a number, the name of a parameter, or `all`; 0 if some step may commit nothing.
    `reasons`: why each phase ends, in words. `forwards_formula`: the bound on forwards in words;
    `forwards_bound` computes it. `window`, `window_size`: the window's shape, and its size as a number or the
    name of a parameter (`window_masks`: the most masked positions of a sliding one). `drafts`: the drafts
    that one forward verifies, as a number or the name of a parameter; `None` if the policy does not set them.
    `exact`: whether accepted drafts equal the tokens that the policy writes without drafts. `rows_per_draft`:
    rows of a forward for each draft, 2 with guidance. `revises`: whether the policy revokes or edits written
    positions. `noise`: whether the denoiser sees random ids at positions that are not written, and not MASK.
    `state_bytes_per_position`: bytes carried between steps for each position; `kept_ids`: for each
    carried distribution, the number of stored likeliest ids, or the name of a parameter (`kept_bytes`: their
    bytes). `branches`: the candidates that a step makes, as a number or the name of a parameter; `None` for a
    policy without `branch`. `vocabulary_passes`: an upper bound on the loops over all logits, or over arrays
    of the same size, in a compiled step on a CPU. `static`: parameters that size the compiled step: another
    value needs another compilation (of a network: one with other layers). `networks`: the number of inputs of
    each network that the policy reads, by the name of its parameter. `dynamic`: parameters that are inputs of
    the compiled step. `lossless`: the sense in which the output is exact. `constrains`: the parameter with
    the pattern that the text matches; `None` without one.
    """

    floor_per_step: int | str
    reasons: Mapping[str, str]
    forwards_formula: str
    window: str
    window_size: int | str | None
    window_masks: int | str | None
    drafts: int | str | None
    branches: int | str | None
    exact: bool
    revises: bool
    noise: bool
    rows_per_draft: int
    state_bytes_per_position: int
    kept_ids: tuple[int | str, ...]
    vocabulary_passes: int
    deterministic: bool
    lossless: str
    networks: Mapping[str, int]
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    assumptions: tuple[str, ...]
    bound: Bound = field(repr=False)
    guided_by: syntax.Expression | None = field(repr=False, default=None)
    constrains: str | None = None

    @property
    def policy(self) -> syntax.PolicyDefinition:
        """The tree of the policy."""
        return self.bound.resolved.policy

    @property
    def source(self) -> str:
        """The text of the policy."""
        return self.bound.resolved.policy.span.source.text

    @property
    def caches(self) -> tuple[str, ...]:
        """The KV caches that the policy may use.

        A policy writes only in its window, and cached positions are outside the window.
        """
        if self.window == "sliding":
            return ("none", "exact")
        # `dual` stores keys and values to the right of the window, where noise is new in each step.
        return ("none", "exact", "prefix") if self.noise else ("none", "exact", "prefix", "dual")

    def guidance(self, parameters: Mapping[str, Value]) -> float | None:
        """The scale of classifier-free guidance; `None` for a policy without guidance."""
        return None if self.guided_by is None else float(constant_value(self.guided_by, {}, parameters) or 0)

    def lookahead(self, parameters: Mapping[str, Value]) -> int:
        """The drafts that one forward verifies under these parameter values, the next step included."""
        return int_of(self.drafts, parameters) or 1

    def candidates(self, parameters: Mapping[str, Value]) -> int:
        """The candidates that a step makes under these parameter values; 1 without a branch."""
        return int_of(self.branches, parameters) or 1

    def rows_per_forward(self, parameters: Mapping[str, Value]) -> int:
        """The largest number of rows of a forward, for one row of the batch."""
        return self.lookahead(parameters) * self.candidates(parameters) * self.rows_per_draft

    def kept_bytes(self, vocab_size: int, parameters: Mapping[str, Value]) -> int:
        """Bytes of the distributions carried for each position under these parameter values."""
        keeps = [int_of(keep, parameters) or 0 for keep in self.kept_ids]
        return sum(4 * (vocab_size if keep >= vocab_size else 2 * (keep + 1)) for keep in keeps)

    def block_length(self, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """The number of positions of a full window under these parameter values."""
        return block_length(self.window_size, gen_length, parameters)

    def forwards_bound(
        self, gen_length: int, parameters: Mapping[str, Value], given_inside: bool = False
    ) -> int:
        """The most forwards that decoding `gen_length` positions can take under these parameter values."""
        return self.bound.forwards(gen_length, parameters, given_inside)

    def forwards_bound_of_block(
        self, positions: int, gen_length: int, parameters: Mapping[str, Value]
    ) -> int:
        """The most forwards of one block of a host (`bounds.of_block`)."""
        return self.bound.of_block(positions, gen_length, parameters)


def summarise(resolved: Resolved, progress: Progress) -> Facts:
    """The facts of a policy without mistakes."""
    window = next(s for s in resolved.policy.statements if isinstance(s, syntax.Window))
    bound = Bound(resolved, progress, window.shape)
    drafts, exact, kept_ids, draw = _drafts(resolved), _exact(resolved), _kept_ids(resolved), _draw(resolved)
    static, constrains = _static(resolved), pattern_of(resolved.policy)
    names = (parameter.identifier.text for parameter in resolved.policy.parameters)
    transforms = [_word(s.transform) for s in resolved.policy.statements if isinstance(s, syntax.Logits)]
    noise = any(isinstance(s, syntax.Noise) for s in resolved.policy.statements)
    deterministic = not noise and not DRAWS[draw].random and not _words(resolved) & RANDOM_WORDS
    return Facts(
        floor_per_step=_floor_per_step(min((phase.floor for phase in progress.phases), key=smallest)),
        reasons=reasons(progress),
        forwards_formula=formula(bound),
        window=bound.shape,
        window_size=bound.size,
        window_masks=bound.given("max_masks"),
        drafts=drafts,
        branches=_branches(resolved),
        exact=exact,
        revises=any(isinstance(s, syntax.Revoke | syntax.Edit) for s in statements(resolved.policy)),
        noise=noise,
        rows_per_draft=2 if "cfg" in transforms else 1,
        state_bytes_per_position=_bytes(resolved),
        kept_ids=kept_ids,
        vocabulary_passes=_passes(resolved, draw),
        deterministic=deterministic,
        lossless=_lossless(drafts, exact, deterministic),
        networks=inputs_of_networks(resolved),
        static=static,
        dynamic=tuple(name for name in names if name not in static),
        assumptions=_assumptions(resolved, drafts, exact=exact),
        bound=bound,
        guided_by=_guided_by(resolved),
        constrains=constrains,
    )


def _assumptions(resolved: Resolved, drafts: int | str | None, *, exact: bool) -> tuple[str, ...]:
    known: tuple[str, ...] = ASSUMPTIONS
    if pattern_of(resolved.policy):
        known = (*known, ASSUMPTION_OF_PATTERNS)
    if drafts not in (None, 1) and exact:
        return (*known, *ASSUMPTIONS_OF_DRAFTS)
    return known if _branches(resolved) is None else (*known, ROWS_ALONE)


def _floor_per_step(floor: Floor) -> int | str:
    if isinstance(floor, syntax.Parameter):
        return floor.identifier.text
    return "all" if floor == ALL else floor


def _lookahead(resolved: Resolved) -> syntax.Lookahead | None:
    return next((s for s in resolved.policy.statements if isinstance(s, syntax.Lookahead)), None)


def _drafts(resolved: Resolved) -> int | str | None:
    lookahead = _lookahead(resolved)
    return _size(lookahead.drafts) if lookahead is not None else None


def _branches(resolved: Resolved) -> int | str | None:
    branch = next((s for s in statements(resolved.policy) if isinstance(s, syntax.Branch)), None)
    return None if branch is None else _size(branch.count)


def _size(value: syntax.Expression | None) -> int | str | None:
    """A size as a number or the name of a parameter; `None` for anything else."""
    if isinstance(value, syntax.Name):
        return value.identifier
    return int(value.value) if isinstance(value, syntax.Number) else None


def _exact(resolved: Resolved) -> bool:
    lookahead = _lookahead(resolved)
    return lookahead is None or lookahead.condition is None


def _lossless(drafts: int | str | None, exact: bool, deterministic: bool) -> str:
    """The sense in which the output is exact, in words."""
    if drafts in (None, 1):
        return "the policy drafts nothing"
    if not exact:
        return "no: accepted drafts may differ from what the policy writes without drafts"
    same = "" if deterministic else " with the same seed"
    return f"the same tokens as the policy without drafts{same}"


def _guided_by(resolved: Resolved) -> syntax.Expression | None:
    transforms = [s.transform for s in resolved.policy.statements if isinstance(s, syntax.Logits)]
    calls = [t for t in transforms if isinstance(t, syntax.Call) and t.function.text == "cfg" and t.arguments]
    return calls[0].arguments[0] if calls else None


def _all_expressions(resolved: Resolved) -> list[syntax.Expression]:
    nodes = [*statements(resolved.policy), *resolved.policy.phases]
    outer = [
        e for node in nodes if not isinstance(node, syntax.FunctionDeclaration) for e in expressions(node)
    ]
    return [part for expression in outer for part in walk(expression)]


def _word(shape: syntax.Expression) -> str:
    if isinstance(shape, syntax.Call):
        return shape.function.text
    return shape.identifier if isinstance(shape, syntax.Name) else ""


def _words(resolved: Resolved) -> set[str]:
    """The words of the language that a policy uses."""
    return {
        _word(part)
        for part in _all_expressions(resolved)
        if not isinstance(part, syntax.Name) or part not in resolved.bindings
    }


def _draw(resolved: Resolved) -> str:
    methods = (_word(s.method) for s in resolved.policy.statements if isinstance(s, syntax.Draw))
    return next(methods, "argmax")


def _static(resolved: Resolved) -> tuple[str, ...]:
    """The parameters that size the compiled step, for example the length of the window, and all choices."""
    words = {**WORDS, **WINDOWS}
    calls = [p for p in _all_expressions(resolved) if isinstance(p, syntax.Call) and p.function.text in words]
    sizes = [
        given.expression
        for call in calls
        for given in matched(call, words[call.function.text])[0]
        if given.slot.static
    ]
    names = (
        size.identifier
        for size in sizes
        if isinstance(size, syntax.Name) and isinstance(resolved.bindings.get(size), syntax.Parameter)
    )
    chosen = (p.identifier.text for p in resolved.policy.parameters if p.choices)
    return (*dict.fromkeys([*names, *inputs_of_networks(resolved)]), *chosen)


def _kept_ids(
    resolved: Resolved, words: frozenset[str] = COMPARISONS_OF_DISTRIBUTIONS
) -> tuple[int | str, ...]:
    """The numbers of stored ids of some words, each once."""
    parts = _all_expressions(resolved)
    calls = [p for p in parts if isinstance(p, syntax.Call) and p.function.text in words]
    given = [next((k.value for k in call.keywords if k.identifier.text == "keep"), None) for call in calls]
    sizes = [_size(value) for value in given]
    return tuple(dict.fromkeys(KEPT_IDS if size is None else size for size in sizes))


def _passes(resolved: Resolved, draw: str) -> int:
    """The loops over the vocabulary. `kl` and `js` add one for each number of stored ids."""
    words = [name for name in _words(resolved) if name in WORDS]
    times = {
        name: len(_kept_ids(resolved, frozenset({name}))) if name in COMPARISONS_OF_DISTRIBUTIONS else 1
        for name in words
    }
    shapes = {_word(s.transform) for s in resolved.policy.statements if isinstance(s, syntax.Logits)}
    transforms = sum(TRANSFORMS[name].passes for name in shapes if name in TRANSFORMS)
    return PASSES + DRAWS[draw].passes + transforms + sum(WORDS[name].passes * n for name, n in times.items())


def _bytes(resolved: Resolved) -> int:
    """Bytes carried for each position: states, ages of written positions, operands of `before`."""
    states = [of_state(state) for state in resolved.states.values()]
    total = sum(BYTES.get(type_.kind, 4) for type_ in states if type_.extent is Extent.POSITION)
    befores = [
        part
        for part in _all_expressions(resolved)
        if isinstance(part, syntax.Call) and part.function.text == "before"
    ]
    kept = {resolved.tree_numbers.number(part): resolved.types[part] for part in befores}
    total += sum(BYTES.get(type_.kind, 4) for type_ in kept.values() if type_.extent is Extent.POSITION)
    return total + sum(WORDS[name].carried_bytes for name in _words(resolved) if name in WORDS)
