"""Which prompts does each kind of input contain, and which message does a wrong input get?"""

from __future__ import annotations

import io
import json
import sys

import pytest

from dsldec.diagnostics import UsageError
from dsldec.tools.prompts import RESULT_FIELDS, Prompt, read


def standard_input(monkeypatch, data: bytes, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stdin", stream)


def written(tmp_path, name: str, data: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def mistake(*arguments: str, file: str | None = None):
    with pytest.raises(UsageError) as caught:
        read(arguments, file)
    return caught.value.diagnostic


def test_arguments_are_numbered_from_0_and_may_hold_line_breaks():
    assert read(["a", "b\nc"], None) == [Prompt(0, 0, "a"), Prompt(1, 1, "b\nc")]


def test_a_text_has_a_prompt_a_line_and_blank_lines_keep_their_numbers(tmp_path):
    file = written(tmp_path, "p.txt", "\ufeffwie viel?\r\n\n  \nzwei\u2028drei".encode())
    assert read([], file) == [Prompt(0, 0, "wie viel?"), Prompt(3, 3, "zwei\u2028drei")]


def test_jsonl_has_strings_and_objects(tmp_path):
    file = written(
        tmp_path,
        "p.jsonl",
        b'"one"\n\n{"prompt": "two\\nlines", "id": "q7", "answer": "42"}\n{"prompt": "three"}\n{"prompt": "four", "id": 9}\n',
    )
    assert read([], file) == [
        Prompt(0, 0, "one"),
        Prompt(2, "q7", "two\nlines"),
        Prompt(3, 3, "three"),
        Prompt(4, 9, "four"),
    ]


@pytest.mark.parametrize(("arguments", "file"), [([], None), (["-"], None), ([], "-")])
def test_standard_input_is_text(arguments, file, monkeypatch):
    standard_input(monkeypatch, b"a\nb")
    assert read(arguments, file) == [Prompt(0, 0, "a"), Prompt(1, 1, "b")]


def test_a_dash_reads_even_from_a_terminal(monkeypatch):
    standard_input(monkeypatch, b"typed\n", terminal=True)
    assert [prompt.text for prompt in read(["-"], None)] == ["typed"]


def test_nothing_given_on_a_terminal_is_told_what_to_type(monkeypatch):
    standard_input(monkeypatch, b"", terminal=True)
    diagnostic = mistake()
    assert diagnostic.code == "E0425"
    assert "dsldec run" in diagnostic.help


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b'{"prompt": "x"', "E0428", "line 2 of `{file}` is not JSON at column 15"),
        (b"42", "E0428", "line 2 of `{file}` is neither a string nor an object: `42`"),
        (b"null", "E0428", "neither a string nor an object"),
        (b'{"promt": "x"}', "E0428", "an object without a `prompt`"),
        (b'{"prompt": 7}', "E0428", "an object without a `prompt` that is a string"),
        (
            b'{"prompt": "x", "id": true}',
            "E0428",
            "the `id` on line 2 of `{file}` is neither a string nor a whole number: `true`",
        ),
        (b'{"prompt": "x", "id": [1]}', "E0428", "neither a string nor a whole number: `[1]`"),
        (b'{"messages": []}', "E0428", "line 2 of `{file}`: the messages are a list of at least one message"),
        (b'{"messages": "hi"}', "E0428", "the messages are a list of at least one message, not `'hi'`"),
        (b'{"messages": [{"content": "x"}]}', "E0428", "line 2 of `{file}`: message 0 has no `role`"),
        (b'{"messages": [{"role": "user"}]}', "E0428", "message 0 has no `content`"),
        (
            b'{"messages": [{"role": 3, "content": "x"}]}',
            "E0428",
            "the `role` of message 0 is a text, not `3`",
        ),
        (b'{"messages": [{"role": "user", "content": null}]}', "E0428", "a text or a list of text parts"),
        (
            b'{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}',
            "E0428",
            "but `'image_url'`",
        ),
        (b'{"messages": [{"role": "user", "content": "\\ud83d"}]}', "E0427", "not valid Unicode"),
        (
            b'{"messages": [{"role": "user", "content": "x"}], "prompt": "x"}',
            "E0428",
            "`prompt` and `messages`",
        ),
        (
            b'{"prompt": "x", "gen_length": "many"}',
            "E0428",
            "line 2 of `{file}` has a wrong value: `gen_length`",
        ),
        (b'{"prompt": "x", "gen_length": [4]}', "E0428", "`gen_length` must be a whole number"),
        (b'{"prompt": "x", "n": 0}', "E0428", "`n` must be a whole number of 1 or more, not `0`"),
        (b'{"prompt": "x", "stop": [""]}', "E0428", "`stop` takes texts that are not empty"),
        (b'{"prompt": "x", "stop_ids": "a"}', "E0428", "`stop_ids` takes ids"),
        (b'{"prompt": "x", "min_length": -1}', "E0428", "`min_length` must be a whole number of 0 or more"),
        (b'{"prompt": "x", "seed": "7"}', "E0428", "`seed` takes whole numbers"),
        (b'{"prompt": "x", "system": 7}', "E0428", "`system` takes a text"),
        (b"[" * 100_000, "E0428", "is not JSON"),
        (b"9" * 5000, "E0428", "is not JSON"),
        (b'"\\ud83d"', "E0427", "line 2 of `{file}` is not valid Unicode"),
        (b'{"prompt": "x", "id": "\\udc00"}', "E0427", "not valid Unicode"),
        (b'"caf\xe9"', "E0427", "line 2 of `{file}` is not UTF-8: byte 5 is 0xe9"),
    ],
)
def test_a_wrong_line_of_jsonl_is_named(line, code, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.jsonl").write_bytes(b'"fine"\n' + line + b"\n")
    diagnostic = mistake(file="p.jsonl")
    assert diagnostic.code == code
    assert says.format(file="p.jsonl") in diagnostic.message
    assert len(str(diagnostic)) < 500, "a hostile line must not fill the screen"
    assert diagnostic.help


def test_no_message_moves_the_cursor(tmp_path):
    assert "\x1b" not in str(mistake(file=written(tmp_path, "p.jsonl", b"\x1b[2J{")))


def test_an_empty_prompt_is_one_where_something_says_that_it_is(tmp_path):
    assert [prompt.text for prompt in read(("", "  "), None)] == ["", "  "]
    assert [
        (prompt.number, prompt.text)
        for prompt in read((), written(tmp_path, "p.jsonl", b'""\n\n{"prompt": ""}\n'))
    ] == [
        (0, ""),
        (2, ""),
    ]
    assert [prompt.text for prompt in read((), written(tmp_path, "p.txt", b"a\n\nb\n"))] == [
        "a",
        "b",
    ]  # a blank line separates


def test_an_argument_that_is_no_unicode_is_named():
    assert mistake("caf\udce9").code == "E0427"  # how Python passes on a byte that is not UTF-8


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \n"])
def test_a_file_without_a_prompt_is_named(data, tmp_path):
    assert mistake(file=written(tmp_path, "p.txt", data)).code == "E0425"
    assert mistake(file=written(tmp_path, "p.jsonl", data)).code == "E0425"


def test_a_missing_file_is_looked_for_nearby(tmp_path):
    written(tmp_path, "questions.txt", b"a")
    diagnostic = mistake(file=str(tmp_path / "question.txt"))
    assert diagnostic.code == "E0426"
    assert diagnostic.message.endswith("cannot be read: no such file or directory")
    assert "questions.txt" in diagnostic.help


def test_what_cannot_be_a_file_is_told_so(tmp_path):
    assert "is a directory" in mistake(file=str(tmp_path)).message
    assert "no folder" in mistake(file=str(tmp_path / "none" / "p.txt")).help
    assert mistake(file="a\0b").code == "E0426"


def test_prompts_come_from_one_place(tmp_path):
    file = written(tmp_path, "p.txt", b"a")
    assert mistake("b", file=file).code == "E0423"
    assert mistake("b", "-").code == "E0423"


def jsonl(tmp_path, *given) -> list[Prompt]:
    return read([], written(tmp_path, "p.jsonl", "".join(f"{json.dumps(line)}\n" for line in given).encode()))


@pytest.mark.parametrize("id_", [0, 1, 2, "0", "1", "2", "line 1", "line 2", "line 1'"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_line_without_an_id_takes_none_of_another_line(id_, place, tmp_path):
    given = [{"prompt": "a"}, "b", {"prompt": "c"}]
    given[place] = {"prompt": "x", "id": id_}
    prompts = jsonl(tmp_path, *given)
    assert prompts[place].id == id_
    assert len({str(prompt.id) for prompt in prompts}) == 3
    # What does not stand elsewhere stays, so that a run goes on whose input has grown.
    assert [p.id for p in prompts if p.number != place and str(p.number) != str(id_)] == [
        number for number in range(3) if number != place and str(number) != str(id_)
    ]


def test_ids_that_are_made_up_meet_no_other(tmp_path):
    prompts = jsonl(
        tmp_path,
        "a",
        {"prompt": "b", "id": 0},
        {"prompt": "c", "id": "line 1"},
        {"prompt": "d", "id": "line 1'"},
    )
    assert [prompt.id for prompt in prompts] == ["line 1''", 0, "line 1", "line 1'"]


def test_other_fields_are_kept_as_json_and_ours_apart(tmp_path):
    ours = {name: name for name in RESULT_FIELDS - {"messages", "logprobs"}}
    (prompt,) = jsonl(tmp_path, {"answer": [1.5, None], "prompt": "a", "\u00e4": {"x": "\u00fc"}} | ours)
    assert (prompt.text, prompt.id) == ("prompt", "id")
    others = {name: name for name in RESULT_FIELDS - {"id", "prompt", "messages", "logprobs"}}
    assert json.loads(b"{" + prompt.extra + b"}") == {
        "answer": [1.5, None],
        "\u00e4": {"x": "\u00fc"},
        "input": others,
    }
    assert set(prompt.moved) == others.keys()


def test_other_fields_may_hold_what_utf_8_cannot(tmp_path):
    (prompt,) = jsonl(tmp_path, {"prompt": "a", "half": "\ud83d"})
    assert prompt.extra == b'"half": "\\ud83d"'


def test_a_field_that_is_too_deep_is_named(tmp_path):
    deep = eval("[" * 91 + "]" * 91)
    jsonl(tmp_path, {"prompt": "a", "meta": deep[0], "text": deep[0]})
    with pytest.raises(UsageError, match=r"the field `meta` on line 1 of .* is nested more than 90 deep"):
        jsonl(tmp_path, {"prompt": "a", "meta": deep})
