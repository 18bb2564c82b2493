"""Step-by-step word problems with whole numbers up to 60: stories, the steps that answer them, and their
wordings.

The same steps have many wordings on purpose (lead-in, joining words, order of the factors, closing). A model
then spreads its probability over several responses, and writing many tokens from one forward mixes them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from .example import Example, Score

LARGEST = 60
MOST_STEPS = 4

NAMES = (
    "Tom Mia Ben Ana Leo Eva Sam Zoe Max Ida Tim Amy Dan Lea Jon Kim Ned Pia Rob Sue Ali Ivy Gus Uma Paul Nora Hugo Lily"
).split()
THINGS = (
    "apples pens books cards coins shells eggs stamps marbles cookies plums nuts toys beads keys stones "
    "roses stickers lemons buttons pears cups balls candles"
).split()
PLACES = "box bag basket jar drawer shop garden".split()
FRIENDS = "friends cousins children neighbours".split()


@dataclass(frozen=True, slots=True)
class Calculation:
    """One equation, `left op right = value`."""

    left: int
    op: str
    right: int

    @property
    def value(self) -> int:
        return _value(self.left, self.op, self.right)


@dataclass(frozen=True, slots=True)
class Story:
    """Sentences, a question, and the steps that answer it; the last step's value is the answer."""

    sentences: list[str]
    question: str
    steps: list[Calculation]


class _Refused(Exception):
    """The drawn numbers do not make a problem (too large, negative, not whole). Draw again."""


def _value(left: int, op: str, right: int) -> int:
    if op == "+":
        return left + right
    if op == "-":
        return left - right
    if op == "*":
        return left * right
    return left // right if right and left % right == 0 else -1


def _small(rng: random.Random, most: int = 12) -> int:
    return rng.randint(2, most)


# --- events of a chain: (rng, who, thing, have) -> (sentence, steps that give the new number) ---------------


def _gain(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    n = _small(rng, 30)
    other = rng.choice(NAMES)
    wording = rng.choice(
        (
            f"{who} buys {n} more.",
            f"{who} buys {n} more {thing}.",
            f"Then {who} finds {n} {thing}.",
            f"{other} gives {who} {n} {thing}.",
            f"{who} gets {n} more from {other}.",
            f"Later {n} more {thing} are added.",
        )
    )
    return wording, [Calculation(have, "+", n)]


def _lose(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    n = rng.randint(1, max(1, have - 1))
    other = rng.choice(NAMES)
    wording = rng.choice(
        (
            f"{who} gives {n} to {other}.",
            f"{who} gives {other} {n} {thing}.",
            f"Then {who} loses {n} {thing}.",
            f"{who} sells {n} of them.",
            f"{n} {thing} get lost.",
            f"After that {other} takes {n} {thing}.",
        )
    )
    return wording, [Calculation(have, "-", n)]


def _bags(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    a, b = _small(rng, 8), _small(rng, 10)
    other = rng.choice(NAMES)
    wording = rng.choice(
        (
            f"{who} buys {a} bags of {b} {thing}.",
            f"{who} gets {a} boxes with {b} {thing} each.",
            f"{other} brings {a} packs of {b} {thing}.",
            f"Then {who} finds {a} jars with {b} {thing} each.",
        )
    )
    return wording, [Calculation(a, "*", b), Calculation(have, "+", a * b)]


def _hand_out(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    a, b = _small(rng, 6), _small(rng, 8)
    wording = rng.choice(
        (
            f"{who} gives {a} {rng.choice(FRIENDS)} {b} {thing} each.",
            f"{who} sells {a} bags of {b} {thing}.",
        )
    )
    return wording, [Calculation(a, "*", b), Calculation(have, "-", a * b)]


def _double(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    wording = rng.choice((f"{who} doubles that.", f"Then the number of {thing} doubles."))
    return wording, [Calculation(have, "*", 2)]


def _halve(rng: random.Random, who: str, thing: str, have: int) -> tuple[str, list[Calculation]]:
    wording = rng.choice(
        (f"{who} gives half of them to {rng.choice(NAMES)}.", f"Half of the {thing} get lost.")
    )
    return wording, [Calculation(have, "/", 2)]


EVENTS = (_gain, _gain, _lose, _lose, _bags, _bags, _hand_out, _double, _halve)


# --- stories ------------------------------------------------------------------------------------------------


def _chain(rng: random.Random) -> Story:
    who, thing, have = rng.choice(NAMES), rng.choice(THINGS), _small(rng, 40)
    sentences = [
        rng.choice(
            (
                f"{who} has {have} {thing}.",
                f"{who} starts with {have} {thing}.",
                f"{who} has a {rng.choice(PLACES)} with {have} {thing}.",
                f"{who} collects {have} {thing}.",
            )
        )
    ]
    steps: list[Calculation] = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        wording, more = rng.choice(EVENTS)(rng, who, thing, have)
        sentences.append(wording)
        steps += more
        have = steps[-1].value
    question = rng.choice(
        (
            f"How many {thing} does {who} have now?",
            f"How many {thing} are there now?",
            f"How many {thing} does {who} have in the end?",
        )
    )
    if rng.random() < 0.15:
        friends = _small(rng, 6)
        sentences.append(f"{who} shares them equally among {friends} {rng.choice(FRIENDS)}.")
        steps.append(Calculation(have, "/", friends))
        question = f"How many {thing} does each get?"
    return Story(sentences, question, steps)


def _shopping(rng: random.Random) -> Story:
    who, (thing, other) = rng.choice(NAMES), rng.sample(THINGS, 2)
    price, count = _small(rng, 9), _small(rng, 8)
    cost = Calculation(price, "*", count)
    opening = rng.choice(
        (
            f"{thing.capitalize()} cost {price} dollars each.",
            f"A shop sells {thing} for {price} dollars each.",
        )
    )
    if rng.random() < 0.5:
        money = rng.randint(cost.value, LARGEST) if cost.value <= LARGEST else 0
        bought = f"{who} buys {count} {thing} and pays with {money} dollars."
        question = rng.choice(("How much change is it?", f"How many dollars does {who} get back?"))
        return Story([opening, bought], question, [cost, Calculation(money, "-", cost.value)])
    price2, count2 = _small(rng, 9), _small(rng, 5)
    second = Calculation(price2, "*", count2)
    bought = (
        f"{other.capitalize()} cost {price2} dollars each. {who} buys {count} {thing} and {count2} {other}."
    )
    question = rng.choice((f"How much does {who} pay?", "What is the price of all?"))
    return Story([opening, bought], question, [cost, second, Calculation(cost.value, "+", second.value)])


def _comparison(rng: random.Random) -> Story:
    who, other = rng.sample(NAMES, 2)
    thing, have, n = rng.choice(THINGS), _small(rng, 30), _small(rng, 15)
    form = rng.choice(("more", "fewer", "times"))
    if form == "times":
        n = _small(rng, 4)
        sentence, step = f"{other} has {n} times as many {thing} as {who}.", Calculation(have, "*", n)
    else:
        sentence, step = (
            f"{other} has {n} {form} {thing} than {who}.",
            Calculation(have, "+" if form == "more" else "-", n),
        )
    opening = f"{who} has {have} {thing}."
    if rng.random() < 0.4:
        return Story([opening, sentence], f"How many {thing} does {other} have?", [step])
    question = rng.choice(
        (f"How many {thing} do they have together?", f"How many {thing} do {who} and {other} have?")
    )
    return Story([opening, sentence], question, [step, Calculation(have, "+", step.value)])


def _groups(rng: random.Random) -> Story:
    who, thing, a, b = rng.choice(NAMES), rng.choice(THINGS), _small(rng, 8), _small(rng, 10)
    steps = [Calculation(a, "*", b)]
    sentences = [
        rng.choice(
            (f"There are {a} boxes with {b} {thing} each.", f"{who} fills {a} bags with {b} {thing} each.")
        )
    ]
    if rng.random() < 0.7:
        n = rng.randint(1, max(1, a * b - 1))
        taken = rng.random() < 0.6
        sentences.append(f"{n} {thing} are taken out." if taken else f"{n} more {thing} are lying beside.")
        steps.append(Calculation(a * b, "-" if taken else "+", n))
    return Story(
        sentences, rng.choice((f"How many {thing} are there?", f"How many {thing} is that in all?")), steps
    )


def _reading(rng: random.Random) -> Story:
    who, pages, days = rng.choice(NAMES), _small(rng, 10), _small(rng, 7)
    whole = rng.randint(min(pages * days + 1, LARGEST), LARGEST)
    sentences = [f"A book has {whole} pages.", f"{who} reads {pages} pages a day for {days} days."]
    question = rng.choice(("How many pages are left?", f"How many pages does {who} still have to read?"))
    return Story(sentences, question, [Calculation(pages, "*", days), Calculation(whole, "-", pages * days)])


def _ages(rng: random.Random) -> Story:
    who, other = rng.sample(NAMES, 2)
    age, gap, years = _small(rng, 30), _small(rng, 12), _small(rng, 15)
    older = rng.random() < 0.5
    step = Calculation(age, "+" if older else "-", gap)
    sentences = [
        f"{who} is {age} years old.",
        f"{other} is {gap} years {'older' if older else 'younger'} than {who}.",
    ]
    return Story(
        sentences, f"How old is {other} in {years} years?", [step, Calculation(step.value, "+", years)]
    )


STORIES: tuple[Callable[[random.Random], Story], ...] = (
    _chain,
    _chain,
    _chain,
    _shopping,
    _comparison,
    _groups,
    _reading,
    _ages,
)


# --- wording ------------------------------------------------------------------------------------------------

LEAD_INS = ("", "", "", "Let us see. ", "Step by step: ", "So, ", "Let us see step by step: ", "Now: ")
JOINS = (". ", ". ", ", then ", " and ", ", so ", "; ")
CLOSINGS = (
    "The answer is {n}. #### {n}",
    "So it is {n}. #### {n}",
    "That makes {n}. #### {n}",
    "#### {n}",
    "So the answer is {n}. #### {n}",
    "That makes {n} in the end. #### {n}",
    "So there are {n} now. #### {n}",
    "It is {n}. #### {n}",
    "{n} is the answer. #### {n}",
    "{n} in all. #### {n}",
)


def _equation(rng: random.Random, step: Calculation) -> str:
    left, right = step.left, step.right
    if step.op in "+*" and rng.random() < 0.5:
        left, right = right, left
    return f"{left}{step.op}{right}={step.value}"


def _respond(rng: random.Random, steps: list[Calculation]) -> str:
    worked = rng.choice(JOINS).join(_equation(rng, step) for step in steps)
    return rng.choice(LEAD_INS) + worked + ". " + rng.choice(CLOSINGS).format(n=steps[-1].value)


def _checked(story: Story) -> Story:
    numbers = [n for step in story.steps for n in (step.left, step.right, step.value)]
    if len(story.steps) > MOST_STEPS or min(numbers) < 0 or max(numbers) > LARGEST:
        raise _Refused
    return story


def _until_it_fits(draw: Callable[[random.Random], Story], rng: random.Random) -> Story:
    while True:
        try:
            return _checked(draw(rng))
        except _Refused:
            continue


def make(rng: random.Random) -> Example:
    """A story with a question, its numbers between 0 and 60, and one wording of its steps."""
    story = _until_it_fits(rng.choice(STORIES), rng)
    prompt = " ".join([*story.sentences, story.question])
    return Example("word_problems", prompt, _respond(rng, story.steps), str(story.steps[-1].value))


def make_arithmetic(rng: random.Random) -> Example:
    """A bare sum, worded and answered like the stories. Training starts with these."""

    def draw(rng: random.Random) -> Story:
        # Within 60 there are far more sums and differences to learn than products and quotients.
        op = rng.choices("+-*/", (4, 4, 2, 1))[0]
        left, right = (
            (rng.randint(0, LARGEST), rng.randint(0, LARGEST))
            if op in "+-"
            else (rng.randint(0, 30), rng.randint(1, 12))
        )
        first = Calculation(left * right if op == "/" else left, op, right)
        question = f"{first.left}{op}{right}"
        steps = [first]
        if rng.random() < 0.3:
            steps.append(Calculation(first.value, rng.choice("+-"), rng.randint(1, 30)))
            question = f"({question}){steps[1].op}{steps[1].right}"
        return Story([], rng.choice(("What is {}?", "Compute {}.", "{}=")).format(question), steps)

    story = _until_it_fits(draw, rng)
    return Example("word_problems", story.question, _respond(rng, story.steps), str(story.steps[-1].value))


# --- scoring ------------------------------------------------------------------------------------------------

EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")
ANSWER = re.compile(r"#### (\d+)\s*$")


def score(example: Example, response: str) -> Score:
    """`answer`: the number after `####` is exact. `every_step`: it is, and every equation is true, and there
    is at least one.
    """
    final = ANSWER.search(response)
    right = final is not None and final.group(1) == example.answer
    written = [match.groups() for match in EQUATION.finditer(response)]
    true = [_value(int(left), op, int(right_)) == int(value) for left, op, right_, value in written]
    return Score(right, right and bool(true) and all(true))
