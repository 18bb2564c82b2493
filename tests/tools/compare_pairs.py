"""Pairs of policies for tests of `dsldec compare`: some differ, some are equal by algebra."""

from __future__ import annotations

from pathlib import Path

import dsldec
from dsldec import Policy
from dsldec.tools.settings import with_settings

PUBLISHED = Path(__file__).parent.parent / "published"
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
    (("entropy_bounded", ("gamma=0.35",)), ("sdar_entropy_bounded", ())),
    (("entropy_bounded", ()), ("eb_bits", ())),
    (("eb_proxy", ("proxy=conf",)), ("eb_proxy", ("proxy=margin",))),
    (("factor", ()), ("frechet", ())),
    (("static", ()), ("leftmost", ("tokens=1",))),
    (("llada", ()), ("eos_last", ())),
    (("klass", ()), ("klass_js", ())),
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
    (("early_eos", ()), ("leftmost", ("tokens=1",))),
]
EQUAL: list[tuple[Named, Named]] = [
    (("threshold", ()), (ORELSE, ())),
    (("entropy_bounded", ()), (MOVED_SUM, ())),
    (("llada", ()), ("vllm_ceil", ())),
    (("threshold", ()), (DOUBT, ())),
    (("factor", ("block=1",)), ("frechet", ("block=1",))),
]
PROVED: list[tuple[Named, Named]] = [
    (("dream_choice", ("alg=entropy",)), ("dream_entropy", ())),
    (("freedave", ()), ("static", ())),
    (("freedave_plus", ()), ("threshold", ())),
]


def published(name: str) -> str:
    """A policy's name or file: it may be shipped, or stand among the published ones of the tests."""
    files = [folder / f"{name}.policy" for folder in (PUBLISHED, PUBLISHED / "held_back")]
    return next((str(file) for file in files if file.exists()), name)


def policy_of(named: Named) -> Policy:
    """The policy with its settings."""
    name, settings = named
    return with_settings(dsldec.load(name if "\n" in name else published(name)), settings)
