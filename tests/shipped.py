"""The shipped policies whose steps make one candidate. Drafts and hosts of one row take no others."""

from __future__ import annotations

import dsldec

BRANCHING = [name for name in dsldec.shipped_policies() if dsldec.load(name).facts.branches is not None]
ONE_CANDIDATE = [name for name in dsldec.shipped_policies() if name not in BRANCHING]
