"""The shipped policies by what a test needs: a dozen for tests that take long, or all of them.

`CORE`: published with the first releases; between them they have every statement. `LIBRARY`: all that can
run without a file of the user. `ONE_CANDIDATE`: those of `CORE` whose steps make one candidate. Drafts and
hosts of one row take no others.
"""

from __future__ import annotations

import dsldec
from dsldec.resources import family_of

CORE = [
    "dico", "diffusion_gemma", "entropy_bounded", "factor", "frechet", "freedave", "freedave_plus",
    "info_gain", "klass", "lopa", "static", "threshold",
]  # fmt: skip
LIBRARY = [name for name in dsldec.shipped_policies() if family_of(name) != "learned"]
HELD_BACK = [
    "d3llm", "dream_alg_temp", "eb_bits", "fast_diffuser", "guided", "halton", "hierarchy_block",
    "jump_steps", "klass_js", "lookum", "many_marks", "maskgit", "p2_random", "rcr_curve", "remdm",
    "sched", "sdlm", "streaming", "token_to_mask", "wavefront", "wedlm",
]  # fmt: skip
OTHERS = [name for name in LIBRARY if name not in CORE]
PUBLISHED = [name for name in OTHERS if name not in HELD_BACK]
BRANCHING = [name for name in CORE if dsldec.load(name).facts.branches is not None]
ONE_CANDIDATE = [name for name in CORE if name not in BRANCHING]
