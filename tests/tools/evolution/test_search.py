"""The search on made-up scores: no duplicates, a complete lineage, the same generations after a resume."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.policy import Policy
from dsldec.tools.evolution.behaviour import behaviour, canonical
from dsldec.tools.evolution.candidates import Individual, SizeLimits, start_of
from dsldec.tools.evolution.front import written_front
from dsldec.tools.evolution.journal import Journal
from dsldec.tools.evolution.racing import Contestant, Course, Race
from dsldec.tools.evolution.search import EvolutionSearch, SearchSize
from dsldec.tools.evolution.selection import Fitness, fronts, ranked
from dsldec.tools.measuring.scores import Measurement, PromptScore

LIMITS = SizeLimits(nodes=60, gen_length=16, forwards=200)
SETTINGS = {"task": "made up", "generations": 2}


class MadeUp:
    """Scores of a policy by a digest of its text. `stops`: raises `KeyboardInterrupt` at this call."""

    def __init__(self, prompts: int, calls: list[str], stops: int = 0) -> None:
        self.prompts, self.calls, self.stops = prompts, calls, stops

    def measure(self, policies: Sequence[Policy], progress: Any = None) -> list[Measurement]:
        found = []
        for policy in policies:
            self.calls.append(policy.facts.source)
            if len(self.calls) == self.stops:
                raise KeyboardInterrupt
            rng = random.Random(hashlib.sha256(policy.facts.source.encode()).hexdigest())
            skill, speed = rng.uniform(0.6, 1), rng.uniform(2, 12)
            scores = [
                PromptScore(float(rng.random() < skill), round(rng.uniform(0.8, 1.2) * speed), 9)
                for _ in range(self.prompts)
            ]
            found.append(Measurement(policy.name, tuple(scores), 0.1))
        return found


def individuals() -> list[Individual]:
    found = []
    for at, name in enumerate(("threshold", "factor", "klass")):
        text, policy = start_of(dsldec.load(name), SizeLimits.none())
        found.append(Individual(f"g000-{at:02}", text, (), (f"the start {name}",), policy))
    return found


def searched(
    out: Path, generations: int = 2, stops: int = 0, said: list[str] | None = None
) -> EvolutionSearch:
    journal = Journal(str(out))
    journal.begin(SETTINGS)
    calls: list[str] = []
    race = Race([MadeUp(20, calls, stops), MadeUp(30, calls, stops)], lambda line: None)  # type: ignore[list-item]
    size = SearchSize(generations, 6, 3, 0.8, math.inf)
    search = EvolutionSearch(journal, race, size, LIMITS, (said if said is not None else []).append)
    search.run(individuals())
    return search


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[EvolutionSearch, Path]:
    out = tmp_path_factory.mktemp("search") / "evolved"
    return searched(out), out


def test_no_policy_is_measured_twice(whole: tuple[EvolutionSearch, Path]) -> None:
    everyone = [one.individual for one in whole[0].everyone().values()]
    assert len(everyone) == 3 + 2 * 6
    assert len({canonical(one.tree) for one in everyone}) == len(everyone)
    assert len({behaviour(one.policy, 16) for one in everyone}) == len(everyone)


def test_the_lineage_is_complete(whole: tuple[EvolutionSearch, Path]) -> None:
    search, out = whole
    lines = [json.loads(line) for line in (out / "lineage.jsonl").read_text().splitlines()]
    known = {line["id"]: line for line in lines}
    assert len(known) == len(lines) == len(search.everyone())
    for line in lines:
        assert set(line["parents"]) <= set(known)
        assert bool(line["parents"]) == (line["generation"] > 0)
        assert line["changes"]
        assert all(known[one]["generation"] < line["generation"] for one in line["parents"])
        assert line["prompts"] in (20, 50)
        assert (line["prompts"] == 50) or line["out"]
        dsldec.load(line["policy"])


def test_an_interrupted_search_goes_on_to_the_same_generations(
    whole: tuple[EvolutionSearch, Path], tmp_path: Path
) -> None:
    for stops in (2, 11):
        with pytest.raises(KeyboardInterrupt):
            searched(tmp_path / str(stops), stops=stops)
        again = searched(tmp_path / str(stops))
        assert _content(tmp_path / str(stops)) == _content(whole[1])
        assert [one.individual.text for one in again.front()] == [
            one.individual.text for one in whole[0].front()
        ]


def test_more_generations_go_on_with_a_finished_search(
    whole: tuple[EvolutionSearch, Path], tmp_path: Path
) -> None:
    searched(tmp_path / "out", generations=1)
    said: list[str] = []
    searched(tmp_path / "out", said=said)
    assert _content(tmp_path / "out") == _content(whole[1])
    assert len(said) == 1
    assert said[0].startswith("generation 2: 6 policies")


def _content(out: Path) -> dict[str, str]:
    files = [*sorted((out / "generations").iterdir()), out / "lineage.jsonl"]
    return {file.name: file.read_text() for file in files}


def test_nothing_beats_a_policy_of_the_front(whole: tuple[EvolutionSearch, Path]) -> None:
    front = whole[0].front()
    course = whole[0].course()
    for one in front:
        assert not course.why_out(one)
        for other in whole[0].all.values():
            figures = Fitness(other.accuracy(), other.forwards())
            assert course.why_out(other) or not figures.beats(Fitness(one.accuracy(), one.forwards()))


def test_the_front_is_readable_files(whole: tuple[EvolutionSearch, Path]) -> None:
    search, out = whole
    (out / "front").mkdir(exist_ok=True)
    (out / "front" / "old.policy").write_text("an earlier front")
    titles = {"g000-00": "threshold\nimport os", "g000-01": "fac\x1b[2Jtor", "g000-02": "klass"}
    found = written_front(
        Journal(str(out)), search.front(), search.everyone(), titles, 'task "a\\b".jsonl\n\x1b[2J'
    )
    assert sorted(path.stem for path in (out / "front").iterdir()) == sorted(one.name for one in found)
    for one in found:
        text = (out / "front" / f"{one.name}.policy").read_text()
        policy, diagnostics = dsldec.check(text)
        assert policy is not None
        assert {each.code for each in diagnostics} <= {"W0301"}
        assert policy.name == one.name
        assert "Found by `dsldec evolve`" in policy.doc
        assert text.startswith("# Found by")
        assert "\x1b" not in text
        assert one.contestant.individual.id in text or not one.contestant.individual.parents


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        ("search.json", "[]", "E0542"),
        ("search.json", '{"task": "another", "generations": 2}', "E0437"),
        ("generations/0001.json", "{", "E0542"),
        ("generations/0001.json", '{"policies": 3}', "E0542"),
        ("generations/0001.json", '{"policies": [{"id": "../../x"}], "population": []}', "E0542"),
        ("generations/0001.json", "IMPORT", "E0542"),
    ],
)
def test_a_damaged_file_is_a_diagnostic(
    whole: tuple[EvolutionSearch, Path], tmp_path: Path, file: str, content: str, code: str
) -> None:
    for name, text in _content(whole[1]).items():
        if name.endswith(".json"):
            (tmp_path / "generations").mkdir(exist_ok=True)
            (tmp_path / "generations" / name).write_text(text)
    (tmp_path / "search.json").write_text(json.dumps(SETTINGS))
    if content == "IMPORT":
        content = (tmp_path / file).read_text().replace("window", "import os")
    (tmp_path / file).write_text(content)
    with pytest.raises(UsageError) as raised:
        searched(tmp_path)
    assert raised.value.diagnostic.code == code


def test_a_folder_of_something_else_stays(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="is not empty, and has no search"):
        searched(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["thesis.tex"]


def test_fronts_are_those_of_the_definition() -> None:
    rng = random.Random(1)
    all_ = [Fitness(rng.randrange(5) / 5, rng.randrange(5), rng.randrange(5)) for _ in range(40)]
    found = fronts(all_)
    assert sorted(at for front in found for at in front) == list(range(40))
    for number, front in enumerate(found):
        for at in front:
            assert not any(all_[other].beats(all_[at]) for other in front)
            if number:
                assert any(all_[other].beats(all_[at]) for other in found[number - 1])
    assert sorted(ranked(all_)) == list(range(40))
    assert set(ranked(all_)[: len(found[0])]) == set(found[0])


def test_a_race_drops_what_is_too_slow_or_too_bad() -> None:
    one = individuals()[0]
    right = tuple(PromptScore(1.0, 10, 5) for _ in range(20))
    wrong = tuple(PromptScore(float(at % 2), 4, 5) for at in range(20))
    course = Course(floor=0.9, budget=8)
    assert course.why_out(Contestant(one, right)) == "over the budget of forwards"
    assert course.why_out(Contestant(one, wrong)) == "accuracy below the floor"
    assert course.why_out(Contestant(one, tuple(PromptScore(1.0, 4, 5) for _ in range(20)))) == ""


def test_names_do_not_make_another_policy() -> None:
    texts = [
        f"policy {a}({b}: prob = 0.9):\n  window all\n  {c} = conf >= {b}\n  commit masked and {c} at least 1 by conf\n"
        for a, b, c in (("one", "tau", "sure"), ("two", "level", "good"))
    ]
    trees_ = [dsldec.load(text).facts.bound.resolved.policy for text in texts]
    assert canonical(trees_[0]) == canonical(trees_[1])
    other = dsldec.load(texts[0].replace("0.9", "0.8")).facts.bound.resolved.policy
    assert canonical(other) != canonical(trees_[0])


def test_a_search_goes_on_with_the_same_weights_alone(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "out"))
    journal.begin(SETTINGS)
    journal.require_weights("one")
    journal.begin(SETTINGS)
    journal.require_weights("one")
    with pytest.raises(UsageError, match="another `weights`"):
        journal.require_weights("other")
