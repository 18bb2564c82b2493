"""Random policies from the whole grammar, with the worst layout that it allows.

Not here: policies that pass the checks (`tests.backends`); these only parse.
"""

from __future__ import annotations

import random

NAMES = "a conf masked near_1 x".split()


class Writer:
    """One policy. Pieces are put side by side with blanks, and in brackets with line breaks and comments,
    between them.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.comments = 0

    def often(self, share: float = 0.5) -> bool:
        return self.chance.random() < share

    def one(self, *choices: str) -> str:
        return self.chance.choice(choices)

    def comment(self) -> str:
        self.comments += 1
        return f"#{' ' * self.chance.randrange(3)}c{self.comments}{self.one('', ' (', ' é', '  ')}"

    # --- expressions, as lists of pieces

    def expression(self, depth: int = 3) -> list[str]:
        if depth and self.often(0.15):
            return [
                *self.alternative(depth - 1),
                "if",
                *self.alternative(depth - 1),
                "else",
                *self.expression(depth - 1),
            ]
        return self.alternative(depth)

    def alternative(self, depth: int) -> list[str]:
        """Anything but a bare choice; brackets are put everywhere they are needed and in many places where
        they are not.
        """
        if depth <= 0 or self.often(0.2):
            return self.atom(depth)
        left, right = self.operand(depth), self.operand(depth)
        match self.chance.randrange(9):
            case 0:
                return ["not", *left]
            case 1:
                return ["-", *left]
            case 2:
                return [
                    *left,
                    self.one("<", "<=", "==", "!="),
                    *right,
                    *([self.one(">", ">="), *self.operand(depth)] if self.often() else []),
                ]
            case 3:
                return [*left, "**", *right]
            case 4:
                return ["(", *self.expression(depth - 1), ")"]
        return [*left, self.one("+", "-", "*", "/", "//", "%", "and", "or", "orelse", "and", "or"), *right]

    def operand(self, depth: int) -> list[str]:
        inner = self.alternative(depth - 1)
        # What binds too loosely for its place must stand in brackets; telling when would be the formatter
        # over again.
        return (
            inner
            if len(inner) == 1 or (inner[0] in NAMES and self.is_one_call(inner))
            else ["(", *inner, ")"]
        )

    def is_one_call(self, pieces: list[str]) -> bool:
        depth = 0
        for at, piece in enumerate(pieces[1:], 1):
            depth += (piece == "(") - (piece == ")")
            if depth == 0:
                return at == len(pieces) - 1
        return False

    def chain(self) -> list[str]:
        """Operators without any bracket, so that binding matters."""
        pieces = self.atom(0)
        for _ in range(self.chance.randrange(6)):
            sign = self.one(*"+ - * / // % ** and or orelse <".split())
            if sign in ("and", "or", "orelse") and self.often(0.3):
                pieces += [sign, "not", *self.atom(0)]
            else:
                pieces += [
                    sign,
                    *(["-"] if sign not in ("and", "or", "orelse") and self.often(0.2) else []),
                    *self.atom(0),
                ]
        return pieces

    def atom(self, depth: int) -> list[str]:
        if depth > 0 and self.often(0.6):
            plain = [self.expression(depth - 1) for _ in range(self.chance.randrange(3))]
            named = [
                [self.one("by", "while", "over", "a"), "=", *self.expression(depth - 1)]
                for _ in range(self.chance.randrange(3))
            ]
            arguments = [piece for each in plain + named for piece in [*each, ","]]
            return [self.one("f", "top", "a"), "(", *(arguments if self.often(0.3) else arguments[:-1]), ")"]
        return [self.one(*NAMES, "1", "0.50", "1e-3", "007", "true", "false")]

    def value(self) -> list[str]:
        return self.chain() if self.often(0.3) else self.expression(self.chance.randrange(1, 5))

    def condition(self) -> list[str]:
        """For a phase's header."""
        return ["(", *self.value(), ")"] if self.often() else self.alternative(2)

    # --- statements

    def bound(self, word: str) -> list[str]:
        by = ["by", *self.value()] if self.often(0.7) else []
        return ["at", word, *self.value(), *by] if self.often() else []

    def when(self) -> list[str]:
        return ["when", *self.value()] if self.often() else []

    def ids(self) -> list[str]:
        return ["as", *self.value()] if self.often() else []

    def statement(self) -> list[str]:
        name = self.one("a", "b2", "c_")
        each = ["each"] if self.often() else []
        names = [piece for letter in "mno"[: self.chance.randrange(4)] for piece in (letter, ",")]
        return self.chance.choice(
            [
                lambda: [self.one("window", "draw", "logits"), *self.value()],
                lambda: [
                    "state",
                    name,
                    ":",
                    "int",
                    *each,
                    "=",
                    *self.value(),
                    "per",
                    self.one("block", "sequence", "b2"),
                ],
                lambda: [
                    "def",
                    name,
                    "(",
                    *(names if self.often(0.3) else names[:-1]),
                    ")",
                    "=",
                    *self.value(),
                ],
                lambda: ["commit", *self.value(), *self.ids(), *self.bound("least"), *self.bound("most")],
                lambda: ["revoke", *self.value(), *self.bound("most")],
                lambda: ["edit", *self.value(), *self.ids(), *self.bound("most")],
                lambda: ["fill", *self.when()],
                lambda: ["refresh", *self.when()],
                lambda: ["next", name, *self.when()],
                lambda: ["finish", *self.when()],
                lambda: ["set", name, "=", *self.value()],
                lambda: [name, "=", *self.value()],
                lambda: [name, "=", *self.value()],
            ]
        )()

    def phase(self) -> list[str]:
        visits = ["at", "most", *self.condition(), "visits"] if self.often() else []
        when = ["when", *self.condition()] if self.often() else []
        return ["phase", self.one("a", "b"), *visits, *when, *(["else", "c"] if self.often() else []), ":"]

    def literal(self) -> list[str]:
        return (
            [*(["-"] if self.often(0.3) else []), self.one("1", "0.5", "12", "3e4")]
            if self.often(0.8)
            else [self.one("true", "false")]
        )

    def kind(self) -> list[str]:
        """A kind with its default: a number, a table by step, or one of some names."""
        if self.often(0.2):
            names = [self.one(*NAMES) for _ in range(self.chance.randrange(2, 4))]
            return [names[0], *(piece for name in names[1:] for piece in ("|", name)), "=", self.one(*NAMES)]
        kind = ["table", "by", "step"] if self.often(0.1) else [self.one("prob", "int")]
        return [*kind, "=", *self.literal()]

    def header(self) -> list[str]:
        pieces: list[str] = []
        for name in [f"p{i}" for i in range(self.chance.randrange(9))]:
            within = ["in", *self.literal(), "..", *self.literal()] if self.often() else []
            pieces += [name, ":", *self.kind(), *within, ","]
        return ["policy", "p", "(", *(pieces if self.often(0.3) else pieces[:-1]), ")", ":"]

    # --- lines

    def line(self, pieces: list[str], indent: str) -> str:
        text, depth, noisy = indent, 0, self.often(0.2)
        for at, piece in enumerate(pieces):
            if at:
                text += self.between(depth, noisy)
            text += piece
            depth += (piece == "(") - (piece == ")")
        return (
            text
            + (f"{self.one('', ' ', '   ')}{self.comment()}" if self.often(0.15) else self.one("", "  "))
            + "\n"
        )

    def between(self, depth: int, noisy: bool) -> str:
        if not depth or self.often(0.8):
            return self.one(" ", " ", "  ")
        if noisy and self.often(0.4):
            return f"{self.one(' ', chr(10))}{self.comment()}\n{self.one('', '      ')}"
        return f" \n{self.one('', '   ')}"

    def noise(self) -> str:
        """Empty lines and comments between lines, indented as they like."""
        lines = [
            self.one("", "", "   ") if self.often() else " " * self.chance.randrange(8) + self.comment()
            for _ in range(self.chance.randrange(4))
        ]
        return "".join(f"{line}\n" for line in lines) if self.often(0.4) else ""

    def text(self) -> str:
        inner, outer = self.one(" ", "  ", "    "), self.one(" ", "  ", "     ")
        text = self.noise() + self.line(self.header(), "") + self.noise()
        if self.often():
            text += (
                self.line([self.one('"one  line # no comment"', '"""two\n lines"""', '""')], outer)
                + self.noise()
            )
        phases = self.chance.randrange(4)
        for _ in range(self.chance.randrange(0 if phases else 1, 6)):
            text += self.line(self.statement(), outer) + self.noise()
        for _ in range(phases):
            text += self.line(self.phase(), outer) + self.noise()
            for _ in range(self.chance.randrange(1, 4)):
                text += self.line(self.statement(), outer + inner) + self.noise()
        return text if self.often() else text.rstrip()


def policy_text(seed: int) -> str:
    """The same text for the same seed."""
    return Writer(seed).text()
