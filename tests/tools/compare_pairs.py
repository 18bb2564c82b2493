"""Pairs of policies for tests of `dsldec compare`: some differ, some are equal by algebra."""

from __future__ import annotations

import dsldec
from dsldec import Policy
from dsldec.tools.settings import with_settings

Named = tuple[str, tuple[str, ...]]  # a policy's name or text, and its settings

ORELSE = """\
policy written_with_orelse(confidence: prob = 0.9, block: int = 32 in 1..65536):
  window blocks(block)
  commit (masked and conf >= confidence) orelse top(masked, 1, by=conf)
"""
MOVED_SUM = """\
policy moved_sum(gamma: nats = 0.1, block: int = 32 in 1..65536):
  window blocks(block)
  commit prefix(masked, by=-entropy, while=cumsum(entropy) <= gamma + entropy) at least 1 by -entropy
"""
DOUBT = """\
policy by_doubt(confidence: prob = 0.9, block: int = 32 in 1..65536):
  window blocks(block)
  commit masked and doubt <= 1 - confidence at least 1 by -doubt
"""

DIFFERENT: list[tuple[Named, Named]] = [
    (("threshold", ()), ("sglang_low_confidence", ("confidence=0.9",))),
    (("threshold", ()), ("dinfer_threshold", ())),
    (("entropy_bounded", ()), ("entropy_bounded", ("bound=sum",))),
    (("entropy_bounded", ()), ("entropy_bounded", ("unit=bits",))),
    (("entropy_bounded", ("proxy=conf",)), ("entropy_bounded", ("proxy=margin",))),
    (("factor", ()), ("frechet", ())),
    (("static", ()), ("leftmost", ())),
    (("llada", ()), ("eos_last", ())),
    (("klass", ()), ("less", ())),
    (("local_leap", ()), ("threshold", ())),
    (("dinfer_hierarchy", ()), ("threshold", ())),
    (("factor", ("budget=1",)), ("factor", ("budget=0.75",))),
    (("klass", ("patience=1",)), ("klass", ())),
    (("dcd", ()), ("threshold", ())),
    (("wino_plain", ()), ("threshold", ("confidence=0.6",))),
    (("p2", ("eta=1",)), ("p2", ("eta=2",))),
    (("joint_threshold", ()), ("threshold", ("confidence=0.5",))),
    (("saber", ()), ("static", ("tokens=2",))),
    (("sdar_dynamic", ()), ("threshold", ())),
    (("less", ()), ("threshold", ("confidence=0.6",))),
    (("dico", ()), ("dico", ("upstream=true",))),
    (("rcr", ()), ("llada", ())),
    (("hierarchy_remask", ()), ("dinfer_hierarchy", ())),
    (("prophet", ("block=4",)), ("static", ("block=4",))),
    (("early_eos", ()), ("leftmost", ())),
]
EQUAL: list[tuple[Named, Named]] = [
    (("threshold", ()), (ORELSE, ())),
    (("entropy_bounded", ()), (MOVED_SUM, ())),
    (("llada", ()), ("vllm_ceil", ())),
    (("threshold", ()), (DOUBT, ())),
    (("factor", ("block=1",)), ("frechet", ("block=1",))),
]
PROVED: list[tuple[Named, Named]] = [
    (("freedave", ()), ("static", ())),
    (("freedave_plus", ()), ("threshold", ())),
]


def policy_of(named: Named) -> Policy:
    """The policy with its settings."""
    name, settings = named
    return with_settings(dsldec.load(name), settings)
