"""Random well-typed policies of every word and statement, and random observations with many ties, for tests
that compare backends.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dsldec.language.words import OBSERVATIONS, WORDS, Kind

OBSERVED_IDS = tuple(name for name in OBSERVATIONS if WORDS[name].gives.kind is Kind.TOKEN)  # type: ignore[union-attr]
OBSERVED = tuple(name for name in OBSERVATIONS if name not in OBSERVED_IDS)
PARAMETERS = "level: prob = 0.5, weight: real = 1.5, few: int = 2 in 1..9, bold: bool = true, word: token = 7, picks: int = 3 in 1..5"
PARAMETERS += ", lore: table = 0.5, pace: table by step = 0.5, way: conf | margin = conf"
PATTERN, CONSTRAINT = ", shape: pattern", "constrain(shape)"
STATES = {
    "still": "state still: int each = 0 per {}",
    "turns": "state turns: int = few per {}",
    "level_then": "state level_then: prob each = level per {}",
    "best_so_far": "state best_so_far: real = 0 per {}",
    "spots": "state spots: mask = false per {}",
    "flag": "state flag: bool = bold per {}",
    "last_word": "state last_word: token each = word per {}",
}
WINDOWS = (
    "blocks(8)",
    "all",
    "sliding(max_masks=3, max_length=8)",
    "until(3, word, min=2, max=8)",
    "until(4, max=8, by=conf, when=conf > 0.25)",
    "until(eos, word, max=8)",
    "until(conf > 0.5 or token == word, min=2, max=8)",
    "until(margin >= 0.5, max=8, by=conf, when=pos % 2 == 0)",
    "until(length=few + int(4 * mean(conf)), min=2, max=8)",
    "until(length=count(conf > 0.5), max=8)",
)
DRAWS = (
    "argmax",
    "gumbel(weight)",
    "gumbel(1.5 - 0.25 * step)",
    "nucleus(0.5, 0.75, few)",
    "nucleus(1.5, level)",
)
TRANSFORMS = (
    "ban(3, word)",
    "ban(2)",
    "ban(pad, eos)",
    "bias(5, weight)",
    "bias(lore)",
    "cfg(0.5)",
    "temperature(weight)",
    "temperature(1.5 - 0.25 * step)",
)
ROW_NUMBERS = (
    "step", "window_start", "window_end", "window_length", "generation_length", "progress", "steps_in_window", "steps_in_phase", "visits",
    "committed_before",
)  # fmt: skip
OPERATORS = ("+", "-", "*", "/", "//", "%", "**")


class Writer:
    """Writes expressions of a wanted type; notes the words it used.

    `within`: in a `while`; `early`: in `before(x)`, where only what a step begins with may stand; `accepts`:
    in `accept`.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.within = self.early = self.accepts = False
        self.used: Counter[str] = Counter()
        self.states: list[str] = []
        self.networks = False  # whether the policy has the network `brain`

    def word(self, name: str) -> str:
        self.used[name.split("(")[0]] += 1
        return name

    def one_of(self, *choices: str) -> str:
        return self.word(self.rng.choice(choices))

    def has(self, *states: str) -> list[str]:
        return [state for state in states if state in self.states]

    @contextmanager
    def where(self, *, within: bool | None = None, early: bool | None = None) -> Iterator[None]:
        before = self.within, self.early
        self.within = self.within if within is None else within
        self.early = self.early if early is None else early
        yield
        self.within, self.early = before

    # --- one number a position, of no unit that could clash

    def number(self, depth: int) -> str:
        pick = self.rng.random()
        if depth <= 0 or pick < 0.25:
            return self.atom()
        if self.within and not self.early and pick < 0.5:
            return f"{self.one_of('cumsum', 'cummax')}({self.number(depth - 1)})"
        if pick < 0.6:
            return f"(-{self.atom()})"
        if pick < 0.85:
            return self.rng.choice(self.functions())(depth - 1)
        operator = self.one_of(*OPERATORS)
        # Products lose their unit: `1 * x` lets any two numbers meet.
        right = (
            self.rng.choice(("2", "0.5", "few")) if operator == "**" else f"(1 * {self.number(depth - 1)})"
        )
        return f"((1 * {self.number(depth - 1)}) {operator} {right})"

    def functions(self) -> list[Callable[[int], str]]:
        own = [
            self.reduced,
            self.grouped,
            self.function,
            self.conditional,
            self.pair,
            self.clamped,
            self.place,
            self.shifted,
        ]
        return own if self.early else [*own, self.before]

    def atom(self) -> str:
        choices = [
            *OBSERVED,
            "pos",
            "age",
            *ROW_NUMBERS,
            "level",
            "weight",
            "few",
            "2",
            "0.25",
            "0",
            "p(canvas)",
            "p(token)",
            "p(word)",
            "kl(before)",
            "kl(before, keep=2)",
            "js(before)",
            "js(before, keep=2)",
            "of(lore, token)",
            "of(lore, canvas)",
            "of(pace, step)",
            "of(pace, pos - few)",
        ]
        choices += ["rank"] * 12 if self.within and not self.early else []
        if self.networks and self.rng.random() < 0.1:
            with self.where(within=False):
                return f"{self.word('learned')}(brain, {self.number(0)}, {self.condition(1)})"
        choices += [] if self.early else ["committed_now", "edited_now", "random(pos)", "random"] * 2
        return self.one_of(*choices, *self.has("still", "turns", "level_then", "best_so_far"))

    def function(self, depth: int) -> str:
        name = self.one_of("exp", "log", "sqrt", "floor", "ceil", "int", "abs")
        return f"{name}({self.number(depth)})"

    def conditional(self, depth: int) -> str:
        self.word("if")
        if self.rng.random() < 0.3:
            return f"(1 * {self.number(0)} if {self.choice()} else 1 * {self.number(depth)})"
        return f"(1 * {self.number(0)} if {self.condition(1)} else 1 * {self.number(depth)})"

    def choice(self) -> str:
        return self.rng.choice(("way == conf", "way == margin", "way != margin"))

    def shifted(self, depth: int) -> str:
        return f"{self.word('shift')}({self.number(depth)}, {self.rng.choice(('1', '-1', 'few'))})"

    def pair(self, depth: int) -> str:
        return f"{self.one_of('min', 'max')}(1 * {self.number(depth)}, 1 * {self.number(0)})"

    def clamped(self, depth: int) -> str:
        return f"{self.word('clamp')}(1 * {self.number(depth)}, 0.25, 1 * {self.atom()})"

    def before(self, depth: int) -> str:
        with self.where(within=False, early=True):
            return f"{self.word('before')}({self.number(depth)})"

    def reduced(self, depth: int) -> str:
        name = self.one_of(
            "sum", "mean", "std", "min", "max", "count", "fraction", "first", "last", "run_count"
        )
        if self.rng.random() < 0.1:
            share = self.rng.choice(("0.5", "0", "level", "1 / few", "weight"))
            return f"{self.word('quantile')}({self.number(depth)}, {share})"
        with self.where(within=False):
            if name in ("count", "fraction", "first", "last", "run_count"):
                return f"{name}({self.mask(depth)})"
            over = f", over={self.mask(1)}" if self.rng.random() < 0.7 else ""
            return f"{name}({self.number(depth)}{over})"

    def grouped(self, depth: int) -> str:
        name = self.one_of("count", "sum", "mean", "min", "max")
        with self.where(within=False):
            if name == "count":
                return f"count({self.mask(depth)}{self.group()})"
            over = f", over={self.mask(1)}" if self.rng.random() < 0.7 else ""
            return f"{name}({self.number(depth)}{over}{self.group()})"

    def group(self) -> str:
        choices = ("pos // few", "pos // 3 - 1", "pos % 2", "age - 1")
        one = self.rng.choice(choices)
        return f", each={one if self.rng.random() < 0.6 else self.word('run') + f'({self.mask(1)})'}"

    def place(self, depth: int) -> str:
        name = self.one_of("run_length", "distance", "density")
        with self.where(within=False):
            more = f", {self.rng.choice(('2', 'weight', 'window_length / 4'))}" if name == "density" else ""
            return f"{name}({self.mask(depth)}{more})"

    # --- one number a row

    def count(self) -> str:
        choices = (
            "1",
            "few",
            "3",
            "step",
            "0",
            "even(few)",
            "linear(4)",
            "cosine(few)",
            "even(3)",
            "visits",
            "min(few, window_length)",
            "linear(2)",
            "cosine(3)",
        )
        return self.one_of(*choices, *self.has("turns"))

    def flag(self, depth: int = 1) -> str:
        pick = self.rng.random()
        if pick < 0.3:
            return self.one_of(
                "eos_closed", "bold", "true", *self.has("flag"), *([] if self.early else ["idle", "idle"])
            )
        if pick < 0.5:
            return f"{self.word('any')}({self.mask(1)})"
        if depth > 0 and pick < 0.7:
            return f"({self.flag(0)} {self.one_of('and', 'or')} {self.flag(0)})"
        return f"{self.one_of(*ROW_NUMBERS)} {self.one_of('<', '<=', '>', '>=', '==', '!=')} {self.rng.choice(('2', 'few', '0.5'))}"

    def score(self) -> str:
        """A score of high or unknown polarity."""
        product = f"{self.number(2)} * margin * pos"
        return self.rng.choice(
            (
                self.word("conf"),
                f"-{self.word('entropy')}",
                product,
                "pos - few",
                "margin",
                "p(canvas) - 0.5",
                "shift(conf, 1)",
            )
        )

    # --- conditions and masks

    def condition(self, depth: int) -> str:
        pick = self.rng.random()
        if depth <= 0 or pick < 0.5:
            operator = self.one_of("<", "<=", ">", ">=", "==", "!=")
            chain = f" {self.rng.choice(('<', '>='))} 1 * {self.number(0)}" if self.rng.random() < 0.2 else ""
            return f"1 * {self.number(depth)} {operator} 1 * {self.number(1)}{chain}"
        if pick < 0.58:
            return f"{self.word('not')} ({self.condition(depth - 1)})"
        if pick < 0.66:
            return self.choice() if self.rng.random() < 0.2 else self.flag(0)
        if pick < 0.74:
            return f"{self.ids()} {self.one_of('==', '!=')} {self.ids()}"
        if pick < 0.77:
            return self.one_of("same(before)", "after_eos", "committed")
        if pick < 0.8 and not self.within:
            return f"{self.word('any')}({self.mask(0)}{self.group()})"
        return f"({self.condition(depth - 1)}) {self.one_of('and', 'or')} ({self.condition(depth - 1)})"

    def ids(self) -> str:
        choices = [*OBSERVED_IDS, "canvas", "word", *self.has("last_word"), *["draft"] * (3 * self.accepts)]
        choices += ["eos", "bos", "pad", "shift(token, 1)", "shift(canvas, -2)"]
        return (
            self.one_of(*choices)
            if self.early or self.rng.random() < 0.8
            else f"{self.word('before')}({self.one_of('token', 'canvas')})"
        )

    def mask(self, depth: int) -> str:
        pick = self.rng.random()
        if depth <= 0 or pick < 0.2:
            return self.one_of("masked", "masked", "committed", "after_eos", *self.has("spots"))
        if pick < 0.35:
            return f"({self.word('masked')} and ({self.condition(2)}))"
        if pick < 0.6:
            return self.rng.choice(
                (self.top, self.prefix, self.thin, self.top)
                if self.early
                else (self.top, self.prefix, self.thin, self.drawn)
            )(depth - 1)
        if pick < 0.85:
            return self.rng.choice((self.grown, self.moved, self.held, self.trimmed))(depth - 1)
        if pick < 0.93:
            return f"({self.mask(depth - 1)} {self.word('orelse')} {self.mask(depth - 1)})"
        return f"({self.mask(depth - 1)} {self.rng.choice(('and', 'or', 'and not'))} {self.mask(depth - 1)})"

    def each(self) -> str:
        with self.where(within=False):
            return f", each={self.word('run')}({self.mask(1)})" if self.rng.random() < 0.4 else ""

    def top(self, depth: int) -> str:
        if self.rng.random() < 0.15:
            by = self.rng.choice(("entropy", "conf", self.number(1)))
            return f"{self.word('lowest')}({self.mask(depth)}, {self.count()}, by={by})"
        return f"{self.word('top')}({self.mask(depth)}, {self.count()}, by={self.score()}{self.each()})"

    def prefix(self, depth: int) -> str:
        source, score = self.mask(depth), self.score()
        with self.where(within=True):
            condition = self.condition(2)
        return f"{self.word('prefix')}({source}, by={score}, while={condition}{self.each()})"

    def thin(self, depth: int) -> str:
        how = self.rng.choice(
            (
                "gap=few",
                "gap=1.5",
                f"kernel={self.word('gaussian')}(window_length / 3)",
                "kernel=gaussian(weight)",
            )
        )
        condition = f", while={self.condition(1)}" if self.rng.random() < 0.5 else ""
        return f"{self.word('thin')}({self.mask(depth)}, by={self.score()}{condition}, {how}, at_most={self.rng.choice(('2', 'picks'))})"

    def drawn(self, depth: int) -> str:
        if self.rng.random() < 0.5:
            return f"{self.word('chance')}({self.mask(depth)}, {self.number(0)})"
        return f"{self.word('sample')}({self.mask(depth)}, {self.count()}, by={self.score()})"

    def grown(self, depth: int) -> str:
        right = f", right={self.mask(1)}" if self.rng.random() < 0.4 else ""
        more = self.rng.choice(("", ", apart=true", ", apart=bold")) + (
            f", trim={self.mask(1)}" if self.rng.random() < 0.4 else ""
        )
        return f"{self.word('grow')}({self.mask(depth)}, over={self.mask(1)}{right}, gap={self.rng.choice(('0', '1', 'few'))}{more})"

    def moved(self, depth: int) -> str:
        name, by = self.one_of("shift", "dilate"), self.rng.choice(("1", "-1", "2", "few"))
        return f"{name}({self.mask(depth)}, {by})"

    def held(self, depth: int) -> str:
        return f"{self.word('runs_holding')}({self.mask(depth)}, {self.mask(1)})"

    def trimmed(self, depth: int) -> str:
        return f"{self.word('trim')}({self.mask(depth)}, to={self.mask(1)})"


class PolicyWriter(Writer):
    """Writes whole policies that pass every check. `branches`: whether a policy may branch."""

    def __init__(self, rng: random.Random, *, branches: bool = True) -> None:
        super().__init__(rng)
        self.branches = branches

    def policy(self, seed: int) -> str:
        window = self.rng.choice(WINDOWS) if self.rng.random() < 0.5 else "blocks(8)"
        parameters = PARAMETERS + ", brain: network" * self.networks
        lines = [f"policy random_{seed}({parameters}):", f"  {self.word('window')} {self.shape(window)}"]
        if self.rng.random() < 0.2:
            lines.append(f"  {self.word('draw')} {self.shape(self.rng.choice(DRAWS))}")
        if self.rng.random() < 0.2:
            lines.append(f"  {self.word('logits')} {self.shape(self.rng.choice(TRANSFORMS))}")
        lines += self.noise(seed)
        self.slides = window.startswith("sliding")
        phases = ["alpha", "beta", "gamma"][: self.rng.choice((0, 0, 2, 3))]
        self.gain = self.rng.choice(("committed_now - 1", "min(few, committed_before - 1)"))
        lines += self.declared(phases)
        drafts = self.drafts(seed)
        lines += drafts
        self.branching = random.Random(f"branch {seed}")
        self.branches = self.branches and not drafts and self.branching.random() < 0.3
        if self.rng.random() < 0.3:
            lines.append(f"  {self.word('def')} near(m, n) = dilate(m, n) and not m")
            lines.append(f"  nearby = near({self.mask(1)}, few)")
        if not phases:
            return "\n".join([*lines, *self.body("  ", None, [])]) + "\n"
        for index, name in enumerate(phases):
            lines += self.phase(index, name, phases)
        return "\n".join(lines) + "\n"

    def shape(self, text: str) -> str:
        return self.word(text)

    def declared(self, phases: list[str]) -> list[str]:
        names = self.rng.sample(sorted(STATES), self.rng.choice((0, 1, 2, 3)))
        lines = []
        for name in names:
            self.word("state")
            lines.append("  " + STATES[name].format(self.rng.choice(["block", "sequence", *phases])))
        self.states = names
        return lines

    def noise(self, seed: int) -> list[str]:
        """Some policies show random ids, by numbers of their own."""
        some = random.Random(f"noise {seed}").random() < 0.2
        return [f"  {self.word('noise')} {self.shape('uniform')}"] if some else []

    def drafts(self, seed: int) -> list[str]:
        """Some policies draft, by numbers of their own: the other lines stay what they are."""
        rng = random.Random(f"drafts {seed}")
        if rng.random() > 0.3:
            return []
        writer = Writer(rng)
        writer.states, writer.accepts, writer.early = self.states, True, True
        compared = writer.word("draft") + rng.choice((" == token", " != before(token)"))
        condition = rng.choice(
            (
                "exact",
                compared,
                f"{compared} and {writer.mask(2)}",
                f"{writer.condition(2)} or {compared}",
                writer.flag(),
            )
        )
        self.used.update(writer.used)
        return [
            f"  {self.word('lookahead')} {rng.choice(('1', '4', 'few'))} {self.word('accept')} {condition}"
        ]

    def phase(self, index: int, name: str, phases: list[str]) -> list[str]:
        self.word("phase")
        header, last = "", index == len(phases) - 1
        if not last and self.rng.random() < 0.6:
            bound = f" at most {self.rng.choice(('few', '2', 'window_length // 2', '0'))} visits"
            condition = f" when ({self.flag()})" if self.rng.random() < 0.4 else ""
            header = f"{bound}{condition} else {phases[-1]}"
        # A phase that may idle is entered a limited number of times.
        idles = "visits" in header and self.rng.random() < 0.5
        lines = [f"  phase {name}{header}:", *self.body("    ", None if not idles else name, phases)]
        if last:
            return lines
        self.word("next")
        condition = f"idle or {self.flag()}" if idles else self.flag()
        lines.append(f"    next {phases[index + 1]} when {condition}")
        if self.rng.random() < 0.3:
            lines.append(f"    next {self.rng.choice(phases)} when {self.flag()}")
        return lines

    def body(self, margin: str, idle_phase: str | None, phases: list[str]) -> list[str]:
        lines: list[str] = []
        for number in range(self.rng.randint(1, 3)):
            lines += self.statements(number)
        if idle_phase is None:
            self.word("commit")
            lines.append(
                "commit masked at least 1 by conf at most 2 by margin"
                if self.rng.random() < 0.1
                else "commit top(masked, 1, by=conf)"
            )
        if self.rng.random() < 0.3:
            self.word("revoke")
            by = (
                f" by {self.rng.choice(('doubt', 'entropy', '-p(canvas)'))}"
                if self.rng.random() < 0.6
                else ""
            )
            lines.append(f"revoke {self.mask(2)} at most {self.gain}{by}")
        lines += [
            f"set {name} = {self.value(name)}"
            for name in self.states
            if self.rng.random() < 0.7 and self.word("set")
        ]
        lines += self.branch()
        if not self.slides and self.rng.random() < 0.15:
            self.word("stay")
            lines.append(
                f"stay at most {self.rng.choice(('few', '2', 'window_length // 4'))} when {self.flag()}"
            )
        if self.rng.random() < 0.15:
            self.word("refresh")
            lines.append(self.rng.choice(("refresh", f"refresh when {self.flag()}")))
        if self.rng.random() < 0.15:
            self.word("finish")
            lines.append(f"finish when eos_closed and {self.flag()}")
        return [margin + line for line in lines]

    def branch(self) -> list[str]:
        """Some policies branch once, by numbers of their own: the other lines stay what they are."""
        if not self.branches:
            return []
        self.branches = False
        writer = Writer(self.branching)
        writer.states = self.states
        rng, score = self.branching, writer.score()
        choices = (
            f"commit top({writer.mask(2)}, i + 1, by={score})",
            f"commit {writer.mask(2)} and pos % 3 == i at most 2 by {score}",
            f"commit {writer.drawn(1)} at most i by conf",
            f"edit committed and {writer.condition(1)} as {writer.ids()} at most i by conf",
        )
        body = rng.sample(choices, rng.choice((1, 2)))
        if "turns" in self.states:
            body.insert(rng.randint(0, 1), "set turns = turns + i")
        with writer.where(early=True):
            compared = f"{writer.reduced(2)} + 0.125 * {writer.reduced(1)} * step"
        self.used.update(writer.used)
        lines = [
            f"{self.word('branch')} {rng.choice(('1', '3', 'few'))} as i:",
            *("  " + line for line in body),
        ]
        return [*lines, f"{self.word('pick')} by {compared}"]

    def statements(self, number: int) -> list[str]:
        if self.rng.random() < 0.15:
            self.word("edit")
            by = f" by {self.score()}" if self.rng.random() < 0.5 else ""
            return [f"edit {self.mask(2)} as {self.ids()} at most {self.count()}{by}"]
        if self.rng.random() < 0.1:
            self.word("fill")
            return [f"fill when {self.flag()}"]
        lines = []
        chosen = self.mask(3)
        if self.rng.random() < 0.4:
            lines.append(f"part_{number} = {self.mask(2)}")
            chosen = f"part_{number} or {self.mask(1)}"
        line = f"{self.word('commit')} {chosen}"
        if self.rng.random() < 0.2:
            line += f" {self.word('as')} {self.ids()}"
        if self.rng.random() < 0.4:
            line += f" {self.word('at least')} {self.rng.choice(('1', '2', 'few'))} by {self.score()}"
        if self.rng.random() < 0.3:
            line += f" {self.word('at most')} {self.rng.choice(('1', '3', 'few'))} by {self.score()}"
        return [*lines, line]

    def value(self, name: str) -> str:
        values = {
            "still": lambda: f"still + 1 if {self.condition(1)} else 0",
            "turns": lambda: f"turns + count({self.mask(1)})",
            "level_then": lambda: f"conf if {self.mask(1)} else level_then",
            "best_so_far": lambda: f"max(best_so_far, 1 * {self.reduced(1)})",
            "spots": lambda: self.mask(2),
            "flag": lambda: self.flag(),
            "last_word": lambda: f"token if {self.mask(1)} else last_word",
        }
        return values[name]()


def random_policy(
    seed: int, *, networks: bool = False, patterns: bool = False, branches: bool = True
) -> tuple[str, Counter[str]]:
    """A policy's text and the words it uses; it passes every check. With `networks`, it needs one for
    `brain`, with 2 inputs. With `patterns`, some constrain the text by the parameter `shape`: their other
    lines are those without `patterns`. `branches`: whether it may branch.
    """
    writer = PolicyWriter(random.Random(seed), branches=branches)
    writer.networks = networks
    text = writer.policy(seed)
    if patterns and random.Random(f"pattern {seed}").random() < 0.3:
        writer.word("logits")
        text = constrained(text)
        writer.shape(CONSTRAINT)
    return text, writer.used


def constrained(text: str) -> str:
    """The text of a random policy with a pattern."""
    header, window, *rest = text.split("\n")
    header = header.replace(PARAMETERS, PARAMETERS + PATTERN)
    return "\n".join([header, window, f"  logits {CONSTRAINT}", *rest])


def random_observations(seed: int, rows: int, length: int) -> dict[str, Tensor]:
    """Observations on a coarse dyadic grid: sums and products are exact, ties and extremes common."""
    generator = torch.Generator().manual_seed(seed)

    def grid(steps: int, size: float) -> Tensor:
        return torch.randint(0, steps + 1, (rows, length), generator=generator).float() * size

    conf = grid(8, 1 / 8)
    observations = {
        "token": torch.randint(0, 30, (rows, length), generator=generator),
        "conf": conf,
        "doubt": 1 - conf,
        "margin": grid(4, 1 / 4),
        "logit_margin": grid(12, 1 / 2),
        "entropy": grid(8, 1 / 4),
        "finite": torch.ones(rows, length, dtype=torch.bool),
        "kl": torch.where(grid(7, 1.0) == 0, float("inf"), grid(8, 1 / 8)),
        "js": grid(5, 1 / 8),
    }
    for name in OBSERVATIONS:
        if name not in observations:
            ids = name in OBSERVED_IDS
            observations[name] = (
                torch.randint(0, 30, (rows, length), generator=generator) if ids else grid(8, 1 / 8)
            )
    return observations
