"""A policy in which each role of a piece occurs."""

from __future__ import annotations

POLICY = '''\
# A comment.
policy all_of_it(level: prob = 0.9, order: margin | anywhere = margin, taus: table by step = 0.9,
    shape: pattern = "[0-9]+", end: token = eos, calm: bool = true, n: int = 4 in 1..64):
  """A doc
  string."""
  window until(end, max=n)
  state reach: int each = 0 per look
  state steps_left: int = 0 per sequence
  def sure(mask) = mask and conf >= level

  phase look at most n visits when n > 2 else write:
    score = margin if order == margin else random(pos)
    branch n as k:
      commit sure(masked) as token at least 1 by score
    pick by mean(p(token))
    next write when idle

  phase write:
    set reach = reach + 1 if kl(before, keep=64) < .05 else 0
'''
