"""The views of facts and of a plan: each number with a sentence.

Not here: the proofs (`checks.facts`), the numbers of one length (`plan`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checks.facts import Facts
from ..plan import Plan
from .markup import framed, table, text

LONGEST_VALUE, MOST_ENTRIES = 1000, 20
FACTS = {
    "forwards_formula": "The bound on the forwards of a row.",
    "reasons": "The reason why it ends, for each phase.",
    "floor_per_step": "The least number of positions that a step commits.",
    "window": "The shape of the window. A step writes only in it.",
    "window_size": "The size of the window, as a number or a parameter.",
    "window_masks": "The most masked positions of a sliding window.",
    "drafts": "The drafts that one forward verifies.",
    "exact": "Accepted drafts equal the tokens that the policy writes without drafts.",
    "branches": "The candidates that a step makes.",
    "rows_per_draft": "The rows of a forward for each draft. Guidance needs 2.",
    "revises": "A step may revoke or edit written positions.",
    "noise": "The denoiser sees random ids in the place of MASK.",
    "deterministic": "Nothing is drawn at random.",
    "lossless": "The sense in which the output is exact.",
    "constrains": "The parameter with the pattern that the text matches.",
    "state_bytes_per_position": "Bytes carried between steps for each position.",
    "kept_ids": "The stored likeliest ids of each carried distribution.",
    "vocabulary_passes": "The most loops over all logits in a compiled step.",
    "networks": "The inputs of each network, by its parameter.",
    "static": "Another value of these parameters compiles the step again.",
    "dynamic": "These parameters are inputs of the compiled step.",
    "caches": "The KV caches that the policy may use.",
    "assumptions": "The facts are true under these assumptions.",
}
PLAN = {
    "gen_length": "The positions to generate, of one row.",
    "max_forwards": "The most forwards of a row. This is proved.",
    "window": "The shape of the window.",
    "window_size": "The positions of a full window.",
    "window_parameter": "The parameter that sizes the window.",
    "block_length": "The positions of a full window, at most the length.",
    "max_masks": "The most masks in a sliding window.",
    "floor_per_step": "The least number of positions that a step commits.",
    "drafts": "The drafts that one forward verifies, with the next step.",
    "branches": "The candidates that a step makes.",
    "rows_per_forward": "The most rows of a forward, for one row of the batch.",
    "guidance": "The scale of classifier-free guidance.",
    "caches": "The KV caches that the policy may use.",
    "deterministic": "Nothing is drawn at random.",
    "revises": "A step may revoke or edit a committed position.",
    "noise": "The denoiser sees random ids in the place of MASK.",
}


def facts_html(facts: Facts) -> str:
    """The facts of a policy."""
    return framed(f"facts of {text(facts.policy.identifier.text)}", _table(facts, FACTS))


def plan_html(plan: Plan) -> str:
    """The numbers of a policy for one length."""
    return framed(f"plan for {plan.gen_length:,} positions", _table(plan, PLAN))


def _table(owner: Facts | Plan, sentences: Mapping[str, str]) -> str:
    rows = (
        (f"<code>{name}</code>", _value(getattr(owner, name)), sentence)
        for name, sentence in sentences.items()
    )
    return table(("name", "value", "meaning"), rows, prose=(1, 2))


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(_entries(value)) or "none"
    if isinstance(value, tuple):
        shown = ", ".join(str(one) for one in value[:MOST_ENTRIES])
        more = f", and {len(value) - MOST_ENTRIES} more" if len(value) > MOST_ENTRIES else ""
        return text(shown + more, LONGEST_VALUE) or "none"
    if value is None:
        return "none"
    return text({True: "yes", False: "no"}[value] if isinstance(value, bool) else value, LONGEST_VALUE)


def _entries(value: Mapping[str, object]) -> Iterator[str]:
    for number, (name, one) in enumerate(value.items()):
        if number == MOST_ENTRIES:
            yield f"and {len(value) - MOST_ENTRIES} more"
            return
        yield text(f"{name}: {one}" if name else one, LONGEST_VALUE)
