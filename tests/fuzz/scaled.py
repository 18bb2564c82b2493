"""Texts that repeat one construct each, up to the limits: work that grows with the square of the number shows
here.

Each is a function of a number and the number at which the text is about as large as it may be.
"""

from __future__ import annotations

from collections.abc import Callable

START, BEST = "policy p():\n  window all\n", "  commit top(masked, 1, by=conf)\n"
DEPTH, PARTS = 95, 9_900
Scaled = tuple[Callable[[int], str], int]

# What stands before and behind a value, and the value inside. So deep, as often as a policy may hold it.
NESTS = (
    "before(|conf|)", "(|conf|)", "-|conf|", "not |masked|", "abs(|conf|)", "dilate(|masked|, 1)", "top(|masked|, 1, by=conf)",
    "prefix(|masked|, by=conf, while=rank < 3)", "prefix(masked, by=conf, while=|rank < 3|)",
    "mean(conf, over=|masked| > 0.5 and masked)", "1 if masked else |2|", "min(conf, |conf|)", "max(|conf|, conf)",
    "cumsum(|conf|)", "masked orelse |masked|", "(masked orelse |masked|)", "(|masked| orelse masked)", "masked and |masked|",
    "(masked or |masked|)", "conf + |conf|", "(conf - |conf|)", "(|conf| * conf)", "2 ** |conf|", "min(1, |2|)", "p(|canvas|)",
    "grow(masked, over=|masked|)", "(1 if |conf| > 1 else 2)", "clamp(|conf|, 0, 1)", "f(|1|)", "sum(|conf|)",
    "thin(|masked|, by=conf, gap=2, at_most=4)", "(masked if masked else |masked|)",
)  # fmt: skip
# Where such a value stands.
PLACES = (
    "  x{i} = {e}\n", "  commit {e} at least 1 by conf\n", "  commit masked at least {e} by conf\n", "  finish when eos_closed and {e}\n",
    "  commit prefix(masked, by=conf, while={e}) at least 1 by conf\n", "  revoke committed at most {e} by doubt\n", "  fill when {e}\n",
)  # fmt: skip


def nested(nest: str, place: str) -> Scaled:
    before, value, behind = nest.split("|")
    parts = len(
        (before + behind)
        .replace("(", " ( ")
        .replace(")", " ) ")
        .replace(",", " , ")
        .replace("=", " = ")
        .split()
    )
    deep = before * DEPTH + value + behind * DEPTH
    return lambda n: START + "".join(place.format(i=i, e=deep) for i in range(n)) + BEST, max(
        1, PARTS // (parts * DEPTH + 20)
    )


def lines(line: str, first: str = "", last: str = BEST) -> Callable[[int], str]:
    """Lines in which `{i}` is their number, `{j}` that of the line before."""
    return lambda n: (
        START + first + "".join(line.format(i=i, j=i - 1) for i in range(1, n + 1)) + last.format(n=n)
    )


def phases(
    header: str, *statements: str, last: str = "  phase z:\n    commit top(masked, 1, by=conf)\n"
) -> Callable[[int], str]:
    def text(n: int) -> str:
        one = f"  {header}\n" + "".join(f"    {statement}\n" for statement in statements)
        return (
            START + "".join(one.format(i=i, k=(i + 1) % n, next=i + 1) for i in range(n)) + last.format(n=n)
        )

    return text


def listed(before: str, item: str, behind: str) -> Callable[[int], str]:
    """Items between commas."""
    return lambda n: before + ",".join(item.format(i=i) for i in range(n)) + behind


def repeated(before: str, item: str, behind: str) -> Callable[[int], str]:
    return lambda n: before + item * n + behind


def _long(word: str, sign: str) -> str:
    return f" {sign} ".join([word] * 90)


LETS: dict[str, Scaled] = {
    "names in a chain": (lines("  x{i} = x{j} + 1\n", "  x0 = conf\n"), 1900),
    "names that double": (lines("  x{i} = x{j} + x{j}\n", "  x0 = conf\n"), 1600),
    "counts that double": (
        lines("  x{i} = max(x{j}, x{j})\n", "  x0 = 1\n", "  commit top(masked, x{n}, by=conf)\n"),
        1200,
    ),
    "masks that double": (lines("  x{i} = x{j} and x{j}\n", "  x0 = masked\n", "  commit x{n}\n"), 1600),
    "conditions looked through": (
        lines("  next a when b\n", f"  a = {_long('idle', 'or')}\n  b = {_long('a', 'or')}\n"),
        2400,
    ),
    "counts looked through": (
        lines("  commit masked at least b by conf\n", f"  a = {_long('1', '+')}\n  b = {_long('a', '+')}\n"),
        1200,
    ),
    "sums looked through": (
        lines(
            "  commit prefix(masked, by=b, while=b + b > 1) at least 1 by conf\n",
            f"  a = {_long('conf', '+')}\n  b = {_long('a', '-')}\n",
        ),
        400,
    ),
    "running sums": (
        lines(
            "  commit prefix(masked, by=conf, while=a - a > 1) at least 1 by conf\n",
            f"  a = {_long('cumsum(conf)', '+')}\n",
        ),
        400,
    ),
    "fills": (
        lines("  fill when b\n", f"  a = {_long('steps_in_window > 3', 'or')}\n  b = {_long('a', 'or')}\n"),
        2400,
    ),
    "names above phases": (
        lambda n: (
            START
            + "".join(f"  x{i} = conf + {i}\n" for i in range(n * 10))
            + "".join(f"  phase p{i}:\n    fill\n    next p{i + 1}\n" for i in range(n))
            + f"  phase p{n}:\n    fill\n"
        ),
        99,
    ),
}
DECLARED: dict[str, Scaled] = {
    "states": (
        lambda n: (
            START
            + "".join(f"  state s{i}: real each = 0 per block\n  set s{i} = s{i} + 1\n" for i in range(n))
            + BEST
        ),
        100,
    ),
    "many states": (lines("  state s{i}: int = 0 per block\n"), 1200),
    "states and phases": (
        lambda n: (
            START
            + "".join(f"  state s{i}: real each = 0 per p{i}\n" for i in range(n))
            + "".join(
                f"  phase p{i}:\n    fill\n    set s{i} = s{i} + 1\n    next p{(i + 1) % n}\n"
                for i in range(n)
            )
        ),
        100,
    ),
    "parameters": (listed("policy p(", "a{i}: int = 1 in 1..9", "):\n  window all\n" + BEST), 100),
    "many parameters": (listed("policy p(", "a{i}: int = 1 in 1..9", "):\n  window all\n" + BEST), 1000),
    "functions": (lines("  def f{i}(m) = m + 1\n  x{i} = f{i}(conf)\n"), 600),
    "functions that double": (
        lines("  def f{i}(m) = f{j}(m) + f{j}(m)\n", "  def f0(m) = m\n", "  commit f{n}(conf) > 1\n"),
        580,
    ),
    "functions in a chain": (
        lines("  def f{i}(m) = f{j}(m)\n", "  def f0(m) = m\n", "  commit f{n}(conf) > 1\n"),
        900,
    ),
    "functions that hold each other": (
        lines("  def f{i}(m) = f{j}(m) + 1\n  def f{j}(m) = f{i}(m)\n  x{i} = f{i}(1)\n"),
        300,
    ),
    "a function's parameters": (
        lambda n: (
            listed(START + "  def f(", "a{i}", ") = 1\n")(n)
            + repeated("  x = f(1", ",1", ")\n")(n - 1)
            + BEST
        ),
        2400,
    ),
    "a long function": (
        lambda n: START + f"  def f(a) = {_long('a', '+')}\n" + "  x = f(conf)\n" * n + BEST,
        100,
    ),
    "phases in a circle": (phases("phase p{i}:", "commit masked and conf > 0.9", "next p{k} when idle"), 99),
    "phases with visits": (
        phases(
            "phase p{i} at most window_length visits else z:",
            "commit masked and conf > 0.9",
            "next p{k} when idle",
        ),
        99,
    ),
    "phases in a chain": (
        phases("phase p{i} when idle else p{next}:", "fill", "next p0", last="  phase p{n}:\n    fill\n"),
        99,
    ),
    "many phases": (phases("phase p{i}:", "commit top(masked, 1, by=conf)", "next p{k}"), 700),
    "phases that all lead to all": (
        lambda n: (
            START
            + "".join(
                f"  phase p{i}:\n    fill\n" + "".join(f"    next p{j} when idle\n" for j in range(n))
                for i in range(n)
            )
        ),
        45,
    ),
    "ways out of a phase": (
        lambda n: (
            phases("phase p{i} at most 2 visits else p{next}:", "fill", last="  phase p{n}:\n    fill\n")(99)
            + "    next p0 when idle\n" * n
        ),
        1500,
    ),
    "befores": (lines("  x{i} = before(" + _long("conf", "+") + " + {i})\n"), 52),
    "revokes": (lines("  revoke committed at most 3 by doubt\n", "  fill when steps_in_window > 4\n"), 1000),
    "commits": (lines("  commit masked and conf > 0.9 at least 1 by conf\n"), 900),
    "stays": (lines("  stay at most 3\n", "  fill\n"), 1900),
    "ids": (listed("policy p():\n  window until(", "7", ", max=9)\n" + BEST), 4800),
    "biases": (lines("  logits bias(7, 1.0)\n"), 1200),
}
WRONG: dict[str, Scaled] = {
    "misspelt names": (lines("  x{i} = " + "conff" * 7 + "{i:05d}\n"), 1900),
    "misspelt names of many": (lines("  " + "ab" * 17 + "{i:05d} = " + "ba" * 17 + "{i:05d}\n"), 1900),
    "one letter": (lines("  " + "a" * 60 + "{i:04d} = " + "a" * 59 + "b{i:04d}\n"), 1900),
    "misspelt statements": (lines("  committ" + "t" * 30 + "{i} masked\n"), 2400),
    "misspelt phases": (phases("phase abcdefghij{i}:", "next bacdefghij{i}"), 100),
    "misspelt keywords": (lines("  commit top(masked, 1, by" + "y" * 30 + "=conf)\n"), 800),
    "taken names": (lines("  conf = 1\n"), 2400),
    "one name again": (lines("  x = 1\n"), 2400),
    "wrong kinds": (lines("  commit conf at least masked by masked\n"), 1100),
    "wrong kinds in one call": (listed(START + "  x = f(", "conf and masked", ")\n" + BEST), 2400),
    "wrong units in one call": (listed(START + "  x = f(", "conf + entropy", ")\n" + BEST), 2400),
    "what follows from mistakes": (lines("  commit top(masked, cnf)\n"), 1200),
    "unused names": (lines("  x{i} = 1\n"), 2400),
    "lines that are none": (lines("  x = = 1\n"), 2400),
    "a line that is none": (repeated(START + "  x = ", "1 ", "\n" + BEST), 9000),
    "brackets that nothing closes": (lines("  x = (\n"), 2400),
    "brackets that close nothing": (lines("  x = )\n"), 2400),
    "strange letters": (lines("  x = ä\n"), 2400),
    "stairs": (lambda n: START + "".join(" " * (2 + i) + "x = 1\n" for i in range(n)) + BEST, 600),
    "quotes": (repeated(START, '  """\n', BEST), 40_000),
    "quotes that nothing closes": (repeated(START, '  """a\\', "\n" + BEST), 2400),
    "functions in phases": (
        phases(
            "phase p{i}:", "def f{i}(m) = f{i}(m) + 1", "commit top(masked, 1, by=f{i}(conf))", "next p{k}"
        ),
        99,
    ),
}
LONG: dict[str, Scaled] = {
    "comments": (repeated(START, "  # c\n", BEST), 40_000),
    "comments in brackets": (repeated(START + "  x = min(conf,\n", "  # c\n", "  conf)\n" + BEST), 40_000),
    "comments in a header": (
        repeated("policy p(a: int = 1,\n", "  # c\n", "  b: int = 2):\n  window all\n" + BEST),
        40_000,
    ),
    "comments between arguments": (
        lambda n: START + "  x = min(" + ",\n # c\n".join(["conf"] * n) + ")\n" + BEST,
        4800,
    ),
    "comments deep inside": (
        lambda n: START + ("  x = " + "abs( # c\n" * 90 + "conf" + ")" * 90 + "\n") * n + BEST,
        34,
    ),
    "comments behind a chain": (
        lambda n: START + "  x = (" + " + # c\n".join(["conf"] * 95) + ")\n" * n + BEST,
        1,
    ),
    "blank lines": (repeated(START, "\n", BEST), 250_000),
    "blanks": (repeated(START + "  x =", " ", "1\n" + BEST), 250_000),
    "tabs": (repeated(START, "\t", "x = 1\n" + BEST), 250_000),
    "a long int": (repeated(START + "  x = ", "9", "\n" + BEST), 250_000),
    "a long real": (repeated(START + "  x = 0.", "1", "\n" + BEST), 250_000),
    "a long exponent": (repeated(START + "  x = 1e", "9", "\n" + BEST), 250_000),
    "a small exponent": (repeated(START + "  x = 1e-", "9", "\n" + BEST), 250_000),
    "a long name": (repeated(START + "  x = ", "a", "\n" + BEST), 250_000),
    "a long description": (repeated('policy p():\n  """', "a\n", '"""\n  window all\n' + BEST), 120_000),
    "a long call": (listed(START + "  x = min(", "conf", ")\n" + BEST), 4800),
    "a long comparison": (lambda n: START + "  x = " + " < ".join(["conf"] * n) + "\n" + BEST, 4800),
    "windows line ends": (
        lambda n: (START + "".join(f"  x{i} = 1\n" for i in range(n)) + BEST).replace("\n", "\r\n"),
        2400,
    ),
}
SCALED: dict[str, Scaled] = {
    **{f"{place.strip()}: {nest}": nested(nest, place) for nest in NESTS for place in PLACES},
    **LETS,
    **DECLARED,
    **WRONG,
    **LONG,
}
