"""One shipped policy as a record: its rule, its source, its parameters, and its proved facts.

Not here: the hosts (`hosts`), the proofs (`checks`).
"""

from __future__ import annotations

from ...language import syntax
from ...language.walk import statements
from ...library import rule_of, source_of
from ...policy import Policy, load
from ...resources import family_of, policy_file, shown_policy_file

GEN_LENGTH = 256  # positions for which a record gives the bound on forwards


def record_of(name: str) -> dict[str, object]:
    """Everything about a shipped policy, except its hosts."""
    policy = load(name)
    return {
        "name": name,
        "family": family_of(name),
        "file": shown_policy_file(policy_file(name)),
        "rule": rule_of(policy.doc),
        "doc": " ".join(policy.doc.split()),
        "source": source_of(policy.doc),
        "parameters": [_parameter(policy, one) for one in policy.parameter_kinds],
        "facts": _facts(policy),
    }


def _parameter(policy: Policy, name: str) -> dict[str, object]:
    parameter = policy.program.parameters[name]
    ends = [parameter.smallest, parameter.largest]
    return {
        "name": name,
        "kind": str(parameter.kind),
        "default": parameter.default,
        "range": None if ends == [None, None] else ends,
        "choices": list(parameter.choices),
        "static": name in policy.facts.static,
    }


def _facts(policy: Policy) -> dict[str, object]:
    """The facts under the defaults. A checked policy always ends, and no row depends on another row."""
    facts, plan = policy.facts, policy.plan(GEN_LENGTH)
    kinds = {type(statement) for statement in statements(facts.policy)}
    return {
        "terminates": True,
        "forwards": facts.forwards_formula,
        "gen_length": GEN_LENGTH,
        "max_forwards": plan.max_forwards,
        "floor_per_step": plan.floor_per_step,
        "deterministic": facts.deterministic,
        "batch_independent": True,
        "writes_outside_window": False,
        "revokes": syntax.Revoke in kinds,
        "edits": syntax.Edit in kinds,
        "branches": plan.branches,
        "drafts": plan.drafts,
        "rows_per_forward": plan.rows_per_forward,
        "window": plan.window,
        "noise": facts.noise,
        "networks": dict(facts.networks),
        "lossless": facts.lossless,
        "assumptions": list(facts.assumptions),
    }


def signature_of(policy: Policy) -> str:
    """The policy with its parameters and their defaults: `threshold(confidence=0.9, block=32)`."""
    given = [
        name if parameter.default is None else f"{name}={_shown(parameter.default)}"
        for name, parameter in policy.program.parameters.items()
    ]
    return f"{policy.name}({', '.join(given)})"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
