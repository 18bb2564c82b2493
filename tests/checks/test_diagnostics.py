"""Each diagnostic underlines the right text: in these policies, a `^` line is below this text."""

from __future__ import annotations

import re

import pytest

import dsldec

CASES = {
    "a rule that can hang": """
policy bare():
  window all
  commit masked and conf > 0.9
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a prefix alone may be empty": """
policy bare(budget: real = 1.0):
  window all
  commit prefix(masked, by=conf, while=rank * doubt < budget)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a count that may be zero": """
policy loose(tokens: int = 1):
  window all
  commit top(masked, tokens, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "the best of positions that may be written already": """
policy stuck():
  window all
  commit top(committed or masked, 1, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "at most none": """
policy none():
  window all
  commit masked at most 0 by conf
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "nothing is committed": """
policy idle():
#      ^^^^ E0301
  window all
""",
    "several mistakes, one diagnostic each, by place": """
policy several(level: probability = 0.9, block: int = 32):
#                     ^^^^^^^^^^^ E0208
  window blocks(block)
#               ^^^^^ E0211
  sure = cnf > level
#        ^^^ E0201
  commit masked and sure at least 1 by entropy
#                                      ^^^^^^^ E0206
""",
    "units": """
policy units(gamma: nats = 0.1, level: prob = 0.5):
  window all
  commit masked and conf - gamma > 0 at least 1 by conf
#                   ^^^^^^^^^^^^ E0205
  commit masked and logit_margin > level at least 1 by conf
#                   ^^^^^^^^^^^^^^^^^^^^ E0205
""",
    "polarity follows signs": """
policy signs():
  window all
  commit top(masked, 1, by=-conf)
#                          ^^^^^ E0206
  commit top(masked, 1, by=1 - conf)
#                          ^^^^^^^^ E0206
  commit top(masked, 1, by=2 * entropy + doubt / 2)
#                          ^^^^^^^^^^^^^^^^^^^^^^^ E0206
  commit top(masked, 1, by=1 - doubt)
  commit top(masked, 1, by=conf * margin)
""",
    "one value a row where a mask is needed": """
policy places():
  window all
  commit step > 3 at least 1 by conf
#        ^^^^^^^^ E0204
  commit masked at least pos by conf
#                        ^^^ E0207
""",
    "arguments": """
policy arguments():
  window all
  commit top(masked, 1, 2, by=conf)
#                       ^ E0203
  commit top(masked, 1, by=conf, most=3)
#                                ^^^^^^ E0203
  commit top(masked, 1)
#        ^^^^^^^^^^^^^^ E0203
  commit prefix
#        ^^^^^^ E0203
  commit masked(1)
#        ^^^^^^^^^ E0203
""",
    "windows": """
policy windows():
  commit masked
  window all
# ^^^^^^^^^^ E0302
  window blocks(0)
# ^^^^^^^^^^^^^^^^ E0302
#               ^ E0302
""",
    "names": """
policy names(conf: real = 1.0, x: int = 1, x: int = 2):
#            ^^^^ E0202
#                                          ^ E0202
  window all
  commit top(masked, x, by=margin)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "orelse makes progress when its second mask does, and its first holds masks alone": """
policy alternatives():
  window all
  commit (masked and conf > 0.9) orelse top(masked, 1, by=conf)
""",
    "a first mask of written positions hides the second": """
policy hidden():
  window all
  commit committed orelse top(masked, 1, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "both sides of a conditional count": """
policy both(fast: bool = true):
  window all
  commit masked if fast else (masked and conf > 0.9)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a condition that differs from position to position mixes two choices": """
policy mixed():
  window all
  commit top(masked, 1, by=pos) if pos < 4 else top(masked, 1, by=-pos)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "one cause, one diagnostic": """
policy causes():
  window sliding(4)
#                ^ E0203
  commit masked and conf > 0.9 at least tokns by conf
#                                       ^^^^^ E0201
""",
    "a number with its sign decides the polarity of a product": """
policy factors():
  window all
  commit top(masked, 1, by=conf * -1)
#                          ^^^^^^^^^ E0206
  commit top(masked, 1, by=entropy / -2)
  commit top(masked, k=1, by=conf)
#                    ^^^ E0203
""",
    "values that are no names": """
policy constants():
  window blocks(16 * 2)
#               ^^^^^^ E0211
  commit masked and true
""",
    "conditionals and reductions": """
policy reductions(fast: bool = true):
  window all
  commit top(masked, 2 if fast else mean(conf), by=conf) or top(masked, 1, by=conf)
#                    ^^^^^^^^^^^^^^^^^^^^^^^^^ E0204
  commit top(masked, 1, by=conf if fast else entropy)
#                          ^^^^^^^^^^^^^^^^^^^^^^^^^ E0205
  commit masked and max(conf, entropy) > 0.5
#                   ^^^^^^^^^^^^^^^^^^ E0205
  commit masked and any(conf) and mean(conf, over=fast) > 0.1
#                       ^^^^ E0204
#                                                 ^^^^ E0204
  commit masked and count(masked, over=committed) > 1
#                                 ^^^^^^^^^^^^^^ E0203
  commit conf orelse masked
#        ^^^^ E0204
  commit masked if conf else masked
#                  ^^^^ E0204
  commit masked and (masked if fast else conf) > 1
#                    ^^^^^^^^^^^^^^^^^^^^^^^^ E0204
""",
    "drafts": """
policy drafts(few: int = 4, none: int = 1 in 0..8, twice: int = 2 in 1..9999):
  window all
  lookahead few accept exact
#           ^^^ E0211
  lookahead none
# ^^^^^^^^^^^^^^ E0302
#           ^^^^ E0302
  lookahead twice accept draft
#           ^^^^^ E0211
#                        ^^^^^ E0204
  lookahead conf accept p(draft) > entropy
#           ^^^^ E0204
#                       ^^^^^^^^^^^^^^^^^^ E0205
  commit masked and token == draft
#                            ^^^^^ E0209
""",
    "drafts accepted by what has no value yet": """
policy later():
  window until(30, 0, 13, min=2, max=9)
  lookahead 4 accept idle or committed_now > 2
#                    ^^^^ E0212
#                            ^^^^^^^^^^^^^ E0212
  commit top(masked, 1, by=conf)
""",
    "drafts in a phase": """
policy drafts():
  window all
  phase only:
    lookahead 4
#   ^^^^^^^^^^^ E0303
    commit top(masked, 1, by=conf)
""",
    "words that come later": """
policy later():
  window all
  commit masked and hook
#                   ^^^^ E0106
""",
    "defaults": """
policy defaults(a: int = 0.5, b: prob = 2, c: int = 9 in 1..8, d: int = 1 in 8..1, e: bool = 1):
#                        ^^^ E0208
#                                       ^ E0208
#                                                   ^ E0208
#                                                                            ^^^^ E0208
#                                                                                            ^ E0208
  window all
  commit masked and conf > a + b + c + d and e
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "phases that are never entered, and ways that lead nowhere": """
policy ways():
  window all
  phase opening at most 3 visits:
#       ^^^^^^^ E0304
    commit top(masked, 1, by=conf)
    next endng
#        ^^^^^ E0201
  phase ending else opening:
#       ^^^^^^ E0305
#                   ^^^^^^^ E0304
    commit top(masked, 1, by=conf)
  phase lost:
#       ^^^^ E0305
    commit top(masked, 1, by=conf)
""",
    "else in a circle": """
policy rounds():
  window all
  phase one at most 1 visits else two:
#       ^^^ E0304
    commit top(masked, 1, by=conf)
    next two
  phase two at most 1 visits else one:
    commit top(masked, 1, by=conf)
    next one
""",
    "a phase that may commit nothing is left when idle": """
policy stuck():
  window all
  phase look:
    commit masked and conf > 0.9
#   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
    next write when conf > 0.5
#                   ^^^^^^^^^^ E0207
  phase write:
    commit top(masked, 1, by=conf)
    next look
""",
    "seen through names": """
policy through():
  window all
  phase look:
    commit masked and conf > 0.9
    done = count(masked) < 3
    leaving = idle or done
    next write when leaving and done
    next write when leaving
  phase write:
    commit top(masked, 1, by=conf)
    next look
""",
    "two phases that may send a row round for ever": """
policy round_and_round():
  window all
  phase one:
#       ^^^ E0301
    commit masked and conf > 0.9
    next two when idle
  phase two:
    commit masked and margin > 0.9
    next one when idle
    next three when step > 5
  phase three:
    commit masked
""",
    "a bound on visits opens the circle": """
policy bounded():
  window all
  phase one at most 4 visits else three:
    commit masked and conf > 0.9
    next two when idle
  phase two:
    commit masked and margin > 0.9
    next one when idle
  phase three:
    commit masked
""",
    "a step limit that fills the window is enough, whatever is revoked": """
policy limited(steps: int = 8 in 1..64):
  window blocks(32)
  commit masked and conf > 0.9
  revoke committed and p(canvas) < 0.1 at most 5
  fill when step > 100 or steps_in_window + 1 >= steps
""",
    "a fill before a revoke leaves masks": """
policy unfilled(steps: int = 8 in 1..64):
  window blocks(32)
  commit masked and conf > 0.9
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
  fill when steps_in_window + 1 >= steps
  revoke committed and p(canvas) < 0.1 at most 5
#                                      ^^^^^^^^^ E0308
""",
    "budgets": """
policy budgets(few: int = 2 in 1..4):
  window blocks(32)
  commit top(masked, 3, by=conf)
  revoke committed and p(canvas) < 0.1
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0308
  edit committed as token
# ^^^^^^^^^^^^^^^^^^^^^^^ E0308
  revoke committed at most min(few, committed_before - few) by conf
#                                                              ^^^^ E0206
  revoke committed at most few
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0308
#                  ^^^^^^^^^^^ E0308
""",
    "one gain is counted in one way": """
policy twice():
  window all
  phase one:
    commit top(masked, 2, by=conf)
    revoke committed at most committed_now - 1
    next two
  phase two:
    commit top(masked, 2, by=conf)
    revoke committed at most committed_before - 1
#   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0308
    next one
""",
    "states": """
policy states():
  window all
  state a: integer = 0 per block
#          ^^^^^^^ E0208
  state b: int = 0.5 per block
#                ^^^ E0204
  state c: prob = 0.5 per phse
#                         ^^^^ E0201
  state d: real = conf per block
#                 ^^^^ E0207
  state e: nats each = conf per block
#                      ^^^^ E0205
  set b = conf
#         ^^^^ E0204
  set c = 1
  set f = 1
#     ^ E0201
  commit masked and conf > a + b + c + d
""",
    "statements in their places": """
policy places():
  window all
  commit top(masked, 1, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0303
  phase one:
    window blocks(4)
#   ^^^^^^^^^^^^^^^^ E0303
    commit top(masked, 1, by=conf)
""",
    "ids have no order and no sum": """
policy ids(newline: token = 5):
  window all
  commit masked and token < newline at least 1 by conf
#                   ^^^^^^^^^^^^^^^ E0204
  commit masked and token + 1 == newline
#                   ^^^^^ E0204
  commit masked and token == conf
#                            ^^^^ E0204
  commit masked as conf at least 1 by conf
#                  ^^^^ E0204
""",
    "what is sized by what": """
policy sizes(many: int = 4, big: int = 4 in 1..1000000):
  window blocks(big)
#               ^^^ E0211
  commit thin(masked, by=conf, gap=2, at_most=many) or top(masked, 1, by=conf)
#                                             ^^^^ E0211
  commit thin(masked, by=conf, at_most=4)
#        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0203
""",
    "functions": """
policy functions():
  window all
  def twice(x) = x + x
  def later(x) = sooner(x)
#                ^^^^^^ E0210
  def sooner(x) = x
  commit masked and twice(conf, 2) > 1
#                   ^^^^^^^^^^^^^^ E0203
  commit masked and twice > 1
#                   ^^^^^ E0203
""",
    "a name of the step means nothing in a function": """
policy hygiene():
  window all
  low = 0.5
  def high(x) = x > low
#                   ^^^ E0201
  commit masked and high(conf) at least 1 by conf
""",
    "a parameter called like a word of the grammar is told where it is named": """
policy keyword(when: nats = 0.5):
#              ^^^^ E0202
  window all
  commit masked and entropy <= when at least 1 by -entropy
""",
    "tables": """
policy tables(frequency: table = 0.1 in 0..1):
#                                       ^^^^ E0208
  window all
  commit masked and frequency > 1
#                   ^^^^^^^^^ E0204
  commit masked and of(token, frequency) > 1
#                      ^^^^^ E0204
#                             ^^^^^^^^^ E0204
  commit top(masked, 1, by=-of(frequency, token))
""",
    "a bound of a kind that is none": """
policy unknown_kind(n: sure = 4):
#                      ^^^^ E0208
  window all
  commit masked and conf > 0.9
  fill when steps_in_window >= n
""",
    "calls inside calls": """
policy calls():
  window all
  commit top(masked, max(1, 2, 3), by=conf) or top(masked, 1, by=conf, each=pos // clamp(1, 2))
#                           ^ E0203
#                                                                                  ^^^^^^^^^^^ E0203
  commit prefix(masked, by=conf, while=mean(conf, masked) > 1)
#                                                 ^^^^^^ E0203
""",
    "before": """
policy earlier():
  window all
  level = conf
  commit masked and before(level) > 0.5 at least 1 by conf
#                          ^^^^^ E0212
  commit masked and kl(conf) > 1
#                      ^^^^ E0204
  commit masked and before > 1
#                   ^^^^^^ E0204
""",
    "ends": """
policy ends():
  window all
  closed = eos_closed and step > 3
  commit top(masked, 1, by=conf)
  finish
# ^^^^^^ E0306
  finish when eos_closed or step > 3
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0306
  finish when closed
""",
    "schedules come to an end": """
policy schedules(n: int = 8 in 1..64):
  window blocks(32)
  commit (masked and conf > 0.9) orelse top(masked, linear(n), by=conf)
""",
    "a schedule of some positions alone does not": """
policy partly(n: int = 8 in 1..64):
  window blocks(32)
  commit top(masked and conf > 0.9, linear(n), by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "the best of all masks passes a test against itself": """
policy against_itself(level: prob = 0.9):
  window blocks(32)
  commit masked and conf >= min(level, max(conf) - 0.00001)
""",
    "a window that stays": """
policy stays(more: int = 4 in 0..16):
  window blocks(32)
  commit top(masked, 1, by=conf)
  stay at most count(committed) when edited_now > 0
#              ^^^^^^^^^^^^^^^^ E0307
  stay at most more when edited_now > 0
""",
    "a sliding window cannot stay": """
policy slides():
  window sliding(max_masks=8, max_length=32)
  commit top(masked, 1, by=conf)
  stay at most 3
# ^^^^^^^^^^^^^^ E0302
""",
}
MARK = re.compile(r"^#? *(\^+) ([EW]\d{4})$")


def marked(text: str) -> list[tuple[int, int, int, str]]:
    """Line, first column, last column and code of every mark, counted from 1."""
    found, line = [], 0
    for number, text_line in enumerate(text.split("\n"), 1):
        if mark := MARK.match(text_line):
            found.append((line, mark.start(1) + 1, mark.end(1), mark.group(2)))
        else:
            line = number
    return found


@pytest.mark.parametrize("name", CASES)
def test_marks(name: str) -> None:
    text = CASES[name]
    _, diagnostics = dsldec.check(text)
    given = []
    for diagnostic in diagnostics:
        assert diagnostic.span is not None
        if diagnostic.code.startswith("E"):
            given.append(
                (
                    diagnostic.span.line,
                    diagnostic.span.column,
                    diagnostic.span.column + len(diagnostic.span.text) - 1,
                    diagnostic.code,
                )
            )
    assert sorted(given) == sorted(marked(text)), "\n\n".join(map(str, diagnostics))


def test_a_diagnostic_draws_itself() -> None:
    _, diagnostics = dsldec.check(
        "policy bare():\n  window all\n  commit masked and conf > 0.9\n", "bare.policy"
    )
    assert str(diagnostics[0]) == (
        "error[E0301]: a step of this policy can commit nothing, so decoding may never end\n"
        " --> bare.policy:3:3\n"
        "  |\n"
        "3 |   commit masked and conf > 0.9\n"
        "  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no position is sure to pass `conf > 0.9`\n"
        "  = help: add `at least 1 by conf`: the best position is then always committed"
    )


def test_the_help_can_be_pasted() -> None:
    mended, diagnostics = dsldec.check(
        "policy bare():\n  window all\n  commit masked and conf > 0.9 at least 1 by conf\n"
    )
    assert mended is not None
    assert diagnostics == []


def test_did_you_mean() -> None:
    _, diagnostics = dsldec.check("policy p():\n  window all\n  commit maskd\n")
    assert diagnostics[0].help == "did you mean `masked`?"


def test_what_papers_call_a_word_leads_to_it_unless_a_name_of_ones_own_is_near() -> None:
    said = "policy p({}):\n  window all\n  commit masked and confidence > 0.9 at least 1 by conf\n"
    assert [d.help for d in dsldec.check(said.format(""))[1]] == ["did you mean `conf`?"]
    own = dsldec.check(said.format("confidences: prob = 0.9"))[1]
    assert [d.help for d in own] == ["did you mean `confidences`?"]


def test_an_unused_name_is_only_a_warning() -> None:
    policy, diagnostics = dsldec.check("policy p(x: int = 1):\n  window all\n  y = conf\n  commit masked\n")
    assert policy is not None
    assert [d.code for d in diagnostics] == ["W0201", "W0201"]


def test_a_while_that_is_not_proved_to_stay_false_is_reported() -> None:
    def warnings(condition: str, by: str = "conf") -> list[str]:
        text = f"policy p(c: prob = 0.5):\n  window all\n  commit prefix(masked, by={by}, while={condition}) at least 1 by conf\n"
        return [d.code for d in dsldec.check(text)[1] if d.code != "W0201"]

    proved = {
        "conf": (
            "conf > c",
            "(rank + 1) * doubt < c",
            "cumsum(conf) - (rank - 1) - doubt > c",
            "cumsum(log(conf)) > -0.5",
            "rank <= 3 and conf > c",
        ),
        "-entropy": (
            "entropy < c * 2",
            "cumsum(entropy) - cummax(entropy) <= 0.1",
            "(cumsum(entropy) - cummax(entropy)) / log(2) <= 0.15",
            "not cumsum(entropy) > 1",
            "c > 0.1",
        ),
    }
    for by, conditions in proved.items():
        for condition in conditions:
            assert warnings(condition, by) == [], condition
    for condition in (
        "entropy < 1",
        "conf - margin > c",
        "cumsum(conf) - cummax(margin) < c",
        "rank > 2",
        "conf > 0.2 and rank > 1",
        "conf / log(0.5) > c",
        "conf / log(1) > c",
    ):
        assert warnings(condition) == ["W0301"], condition


def test_a_next_that_is_never_taken_is_reported() -> None:
    text = "policy p():\n  window all\n  phase one:\n    commit top(masked, 1, by=conf)\n    next two when count(masked) == 0\n  phase two:\n"
    text += "    commit masked\n"
    assert [d.code for d in dsldec.check(text)[1]] == ["W0302"]
