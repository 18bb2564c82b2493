"""Does a results file contain all results, after every way a run can end?"""

from __future__ import annotations

import io
import json
import os
import sys

import pytest

from dsldec.diagnostics import Diagnostic, UsageError
from dsldec.tools.prompts import RESULT_FIELDS, Prompt
from dsldec.tools.results import InOrder, Result
from dsldec.tools.results_file import ResultsFile
from dsldec.tools.tally import Tally
from dsldec.trace_step import Logprobs

PROMPTS = [Prompt(0, 0, "a"), Prompt(1, "b", "b"), Prompt(2, 2, "c")]
ANSWER = Result(PROMPTS[0], "drei Äpfel", (5, 6, 7), forwards=2, rows=2, tokens=3, seconds=0.25)
FAILURE = Result(PROMPTS[1], error=Diagnostic("E0410", "it failed", help="try again"))


def answered(*prompts: Prompt) -> list[Result]:
    return [Result(prompt, "text", (1,), 1, 1, 1, 0.1) for prompt in prompts]


def write(path, *results: Result, resume: bool = False, prompts=PROMPTS) -> None:
    with ResultsFile(str(path), prompts, resume=resume) as file:
        for result in results:
            file.append(result)


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def mistake(path, resume: bool = False, prompts=PROMPTS):
    with pytest.raises(UsageError) as caught:
        ResultsFile(str(path), prompts, resume=resume)
    return caught.value.diagnostic


@pytest.fixture
def path(tmp_path):
    return tmp_path / "r.jsonl"


def test_a_line_holds_what_was_promised(path):
    write(path, ANSWER, FAILURE)
    answer, failure = lines(path)
    assert answer == {
        "id": 0, "prompt": "a", "text": "drei Äpfel", "finish_reason": "length", "ids": [5, 6, 7], "forwards": 2, "rows": 2, "tokens": 3,
        "tokens_per_forward": 1.5, "seconds": 0.25,
    }  # fmt: skip
    assert failure == {"id": "b", "error": "E0410: it failed (try again)"}


def test_a_line_can_be_read_as_soon_as_it_is_appended(path):
    with ResultsFile(str(path), PROMPTS) as file:
        file.append(ANSWER)
        assert lines(path)[0]["id"] == 0


def test_an_existing_file_is_never_overwritten(path):
    path.write_text("precious")
    diagnostic = mistake(path)
    assert diagnostic.code == "E0433"
    assert "--resume" in diagnostic.help
    assert path.read_text() == "precious"


def test_an_empty_file_may_be_filled(path):
    path.touch()
    write(path, ANSWER)
    assert len(lines(path)) == 1


def test_a_run_that_wrote_nothing_leaves_no_file_of_its_own(path):
    write(path)
    assert not path.exists()
    path.touch()
    write(path)
    assert path.exists()


def test_resume_knows_what_is_answered_and_appends(path):
    write(path, *answered(*PROMPTS[:2]))
    before = path.read_bytes()
    file = ResultsFile(str(path), PROMPTS, resume=True)
    assert file.finished == {0, "b"}
    with file:
        file.append(*answered(PROMPTS[2]))
    assert path.read_bytes().startswith(before)
    assert [line["id"] for line in lines(path)] == [0, "b", 2]


def test_resume_without_a_file_begins_one(path):
    write(path, ANSWER, resume=True)
    assert len(lines(path)) == 1


@pytest.mark.parametrize("cut", [1, 5, 20, -5, -1])
def test_resume_cuts_a_half_written_line(path, cut):
    write(path, *answered(*PROMPTS[:2]))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + cut] if cut > 0 else whole[:cut])
    file = ResultsFile(str(path), PROMPTS, resume=True)
    # Without its line break alone, the last line still says everything.
    assert file.finished == ({0, "b"} if cut == -1 else {0})
    with file:
        for result in answered(*(prompt for prompt in PROMPTS if prompt.id not in file.finished)):
            file.append(result)
    assert [line["id"] for line in lines(path)] == [0, "b", 2]


ONE, TWO = (
    json.dumps({"id": number, "prompt": text, "text": "x"}).encode()
    for number, text in ((0, "a"), ("b", "b"))
)


@pytest.mark.parametrize(
    ("data", "ids", "torn"),
    [
        (ONE + b"\n" + b"\0" * 5000, [0], 1),
        (ONE + b"\0" * 5000, [0], 0),
        (b"\0" * 5000, [], 1),
        (ONE + b"\n" + TWO[:20] + b"\0" * 5000, [0], 1),
        (ONE + b"\n" + TWO[:3] + b"\0", [0], 1),
        (ONE + b"\n" + '{"id": "b", "prompt": "b", "text": "\u00c4'.encode()[:-1], [0], 1),
        (ONE + b"\n" + '{"id": "b", "prompt": "b", "text": "\U0001f34f'.encode()[:-2], [0], 1),
        (ONE[:15] + TWO + b"\n", ["b"], 1),
        (ONE[:15] + TWO + b"\n" + ONE, ["b", 0], 1),
        (ONE + b"\n" + ONE[:15] + TWO, [0, "b"], 1),
        (ONE + b"\n" + ONE[:15] + b"\0\0" + TWO, [0, "b"], 1),
        (ONE + b"\n" + TWO[:-1] + b', "meta": ' + TWO, [0], 1),  # of a field of the input, and looks like a result
        (ONE + b"\n" + TWO[:-1] + b', "meta": [1, ' + TWO, [0], 1),
        (ONE + b"\n" + ONE[:20] + b"\n" + TWO + b"\n", [0, "b"], 1),
        (ONE + b"\n" + ONE[:20] + b"\0" * 99 + ONE[30:] + b"\n" + TWO + b"\n", [0, "b"], 1),
        (ONE + b"\n" + b"\0" * 99 + TWO[9:] + b"\n" + b"\0" * 9 + TWO + b"\n", [0, "b"], 2),
        (ONE + b"\n" + '{"id": 2, "text": "\u00c4'.encode()[:-1] + b"\n" + TWO, [0, "b"], 1),
    ],
)  # fmt: skip
def test_resume_cuts_what_a_crash_or_a_power_cut_leaves(path, data, ids, torn):
    path.write_bytes(data)
    with ResultsFile(str(path), PROMPTS, resume=True) as file:
        assert (file.finished, file.torn) == (set(ids), torn)
        for result in answered(*(prompt for prompt in PROMPTS if prompt.id not in ids)):
            file.append(result)
    assert sorted(map(str, (line["id"] for line in lines(path)))) == ["0", "2", "b"]
    assert [line["id"] for line in lines(path)][: len(ids)] == ids


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0hello",
        b"hello\0",
        b"\0" * 9 + b"\nhello",
        b'{"id": 0}\n',
        ONE + b'\n{"id": 0}\n',
        ONE + b"\nhello\n",
    ],
)
def test_zeros_make_no_file_ours(path, data):
    path.write_bytes(data)
    assert mistake(path, resume=True).code == "E0434"
    assert path.read_bytes() == data


def test_the_other_fields_of_a_line_come_back_and_overwrite_nothing(path):
    extra = b'"answer": "42", "meta": {"a": [1, null]}, "input": {"text": 7}'
    prompts = [Prompt(0, 0, "a", extra), Prompt(1, "b", "b", extra)]
    write(path, *answered(prompts[0]), Result(prompts[1], error=FAILURE.error), prompts=prompts)
    answer, failure = lines(path)
    assert list(answer)[:3] == ["id", "prompt", "text"]
    for line in (answer, failure):
        assert line | {"answer": "42", "meta": {"a": [1, None]}, "input": {"text": 7}} == line
    assert answer["text"] == "text"
    assert ResultsFile(str(path), prompts, resume=True).finished == {0}


def test_every_field_of_a_result_is_reserved(path):
    result = Result(PROMPTS[0], "x", (1,), proposed=(1,), accepted=(1,), logprobs=Logprobs([0.5], [0]))
    names = (
        result.line().keys()
        | Result(PROMPTS[0], ids=(1,), error=FAILURE.error).line().keys()
        | Result(Prompt(0, 0, "a", messages=[{"role": "user", "content": "a"}], n=2)).line().keys()
        | {"policy", "run", "input"}
    )
    assert names == RESULT_FIELDS


def test_half_a_character_is_escaped(path):
    write(path, Result(PROMPTS[0], "\ud83d"))
    assert lines(path)[0]["text"] == "\ud83d"


def test_resume_tries_failed_prompts_again_and_keeps_one_line_for_each(path):
    write(path, ANSWER, FAILURE)
    os.chmod(path, 0o640)
    file = ResultsFile(str(path), PROMPTS, resume=True)
    assert (file.finished, file.retried) == ({0}, 1)
    assert len(lines(path)) == 2, "nothing is changed before the run begins"
    with file:
        file.append(*answered(PROMPTS[1]))
    assert [line["id"] for line in lines(path)] == [0, "b"]
    assert "text" in lines(path)[1]
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_resume_leaves_failures_of_other_prompts(path):
    write(path, FAILURE)
    assert ResultsFile(str(path), PROMPTS[:1], resume=True).retried == 0


@pytest.mark.parametrize(
    "text",
    [
        "How many apples?",
        "a\nb\n",
        '"a"\n',
        '{"prompt": "a", "id": 0}\n',
        '{"id": 0, "prompt": "a"}',
        '{"id": 0, "text": "x"\n',
        "[1]\n",
    ],
)
def test_resume_refuses_a_file_that_is_no_results_file(path, text):
    path.write_text(text)
    assert mistake(path, resume=True).code == "E0434"
    assert path.read_text() == text


def test_resume_refuses_answers_to_other_prompts(path):
    write(path, ANSWER)
    diagnostic = mistake(path, resume=True, prompts=[Prompt(0, 0, "something else")])
    assert diagnostic.code == "E0435"
    assert "id `0`: `a`" in diagnostic.message


def test_resume_needs_ids_that_are_unique(path):
    for resume in (True, False):  # the first run asks too: its file could never be continued
        diagnostic = mistake(path, resume=resume, prompts=[Prompt(0, 0, "a"), Prompt(4, 0, "b")])
        assert (diagnostic.code, diagnostic.message) == ("E0431", "the id `0` is on line 1 and on line 5")


def test_a_number_and_the_same_number_as_a_string_are_two_ids(path):
    ResultsFile(str(path), [Prompt(0, 0, "a"), Prompt(1, "0", "b")], resume=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    diagnostic = mistake(tmp_path / "none" / "r.jsonl")
    assert diagnostic.code == "E0432"
    assert f"mkdir -p {tmp_path / 'none'}" in diagnostic.help
    assert "is a folder" in mistake(tmp_path).message
    assert mistake("-", resume=True).code == "E0423"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_the_users_to_know():
    with ResultsFile("/dev/full", PROMPTS) as file:
        with pytest.raises(UsageError) as caught:
            file.append(ANSWER)
        assert caught.value.diagnostic.code == "E0432"
        assert "no space left" in caught.value.diagnostic.message
        file._stream = None  # what is buffered can never be written


def test_a_dash_is_standard_output(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    with ResultsFile("-", PROMPTS) as file:
        file.append(ANSWER)
    assert json.loads(out.buffer.getvalue())["text"] == "drei Äpfel"
    assert not out.closed


def test_in_order_gives_back_by_place_as_soon_as_it_can():
    order = InOrder[str]()
    order.put(1, "b")
    assert list(order.ready()) == []
    order.put(0, "a")
    assert list(order.ready()) == ["a", "b"]
    order.put(5, "f")
    order.put(3, "d")
    assert order.rest() == ["d", "f"]


def test_the_same_failure_is_told_once():
    tally = Tally(9)
    for number in range(8):
        tally.add(Result(Prompt(number, number, "x"), error=FAILURE.error))
    tally.add(Result(Prompt(8, 8, "x"), error=Diagnostic("E0407", "too long")))
    assert [line.splitlines()[0] for line in tally.errors()] == [
        "prompt `0` and 7 more: error[E0410]: it failed",
        "prompt `8`: error[E0407]: too long",
    ]


def test_the_summary_divides_by_what_was_decoded():
    tally = Tally(2)
    tally.start()
    tally.add(ANSWER)
    tally.add(FAILURE)
    tally.stop()
    assert tally.summary().startswith("1 of 2 prompts, 2.0 forwards per prompt, 1.50 tokens per forward, ")


def test_the_summary_of_nothing_has_no_rates():
    tally = Tally(1)
    tally.start()
    tally.add(FAILURE)
    tally.stop()
    assert tally.summary() == "0 of 1 prompts decoded"
