"""Does every decoded text match its pattern, whichever way the pattern is given?"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig

import dsldec
from dsldec.cli import main
from dsldec.engines.transformers import custom_generate
from dsldec.runtime import prepared_patterns
from dsldec.runtime.decode import stream

QUESTION = "Ned collects 11 stones. Ned buys 14 more stones. How many stones does Ned have now?"
SCHEMA = {
    "type": "object",
    "properties": {"stones": {"type": "integer", "minimum": 0, "maximum": 99}, "sure": {"type": "boolean"}},
    "required": ["stones", "sure"],
}
CONSTRAINED = """
policy shaped(shape: pattern):
  window blocks(16)
  logits constrain(shape)
  commit masked and conf > 0.9 at least 1 by conf
"""
DENOISER = dsldec.from_pretrained()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(prepared_patterns.VARIABLE, str(tmp_path / "patterns"))
    prepared_patterns._prepared._entries.clear()
    return tmp_path / "patterns"


def decode(prompts: Any = QUESTION, policy: Any = "threshold", **how: Any) -> dsldec.Decoded:
    return dsldec.decode(DENOISER, prompts, policy, backend="eager", **{"gen_length": 24} | how)


@pytest.mark.parametrize("policy", ["threshold", "static", "dico", "entropy_bounded", "freedave"])
@pytest.mark.parametrize("gen_length", [23, 40])
def test_the_text_matches_under_every_policy(policy: str, gen_length: int) -> None:
    decoded = decode([QUESTION, "Hello"], policy, constrain=r"[a-z]+ is [0-9]{1,3}\.", gen_length=gen_length)
    assert decoded.errors == [None, None]
    assert all(re.fullmatch(r"[a-z]+ is [0-9]{1,3}\.", text or "") for text in decoded.text)


def test_a_schema_gives_json() -> None:
    (text,) = decode(constrain=SCHEMA).text
    found = json.loads(text or "")
    assert isinstance(found["stones"], int)
    assert isinstance(found["sure"], bool)
    assert decode(constrain=json.dumps(SCHEMA)).text == [text]
    assert decode(constrain=dsldec.Pattern.of(SCHEMA)).text == [text]


def test_each_prompt_may_have_its_own_pattern() -> None:
    patterns = ["[0-9]+", None, SCHEMA, "(yes|no)"]
    together = decode([QUESTION] * 4, constrain=patterns, batch=3)
    alone = [decode(constrain=pattern).text[0] for pattern in patterns]
    assert together.text == alone
    assert alone[1] == decode().text[0]
    rows = {
        row.index: row
        for row in stream(
            DENOISER, [QUESTION] * 4, "threshold", constrain=patterns, gen_length=24, backend="eager"
        )
    }
    assert [DENOISER.decode_text(rows[at].generated.tolist()) for at in range(4)] == alone


def test_a_prompt_whose_pattern_is_too_long_fails_alone() -> None:
    with pytest.warns(dsldec.DecodingWarning):
        decoded = decode([QUESTION] * 3, constrain=["[0-9]+", "[a-z]{3000}", "a{,3}"], n=2, seed=1)
    assert decoded.failed == [2, 3, 4, 5]
    assert [error and error.code for error in decoded.errors] == [
        None,
        None,
        "E0321",
        "E0321",
        "E0490",
        "E0490",
    ]
    assert decoded.text[0] == decode(constrain="[0-9]+").text[0]
    assert decoded.finish_reason[2:] == ["error"] * 4
    with pytest.raises(dsldec.UsageError, match=r"E0321(.|\n)*generate at least"):
        decode([QUESTION] * 2, constrain="[a-z]{3000}")


@pytest.mark.parametrize(
    ("constrain", "code", "says"),
    [
        (3, "E0499", "a regular expression or a JSON schema"),
        ([], "E0499", "an empty list"),
        (["[0-9]+"] * 3, "E0499", "there is 1 prompt and 3 values of `constrain`"),
        ("(", "E0490", "not closed"),
        ({"type": "x"}, "E0492", "no type `x`"),
        (" +", "E0496", "begins or ends with a space"),
        ("\\x00", "E0496", "NUL"),
    ],
)
def test_a_wrong_pattern_is_refused(constrain: Any, code: str, says: str) -> None:
    with pytest.raises(dsldec.UsageError) as refused:
        decode(constrain=constrain)
    assert refused.value.diagnostic.code == code
    assert says in str(refused.value)
    assert refused.value.diagnostic.help


class Spelled:
    """A denoiser of a dozen letters, without an end of text unless it is given."""

    mask_id, vocab_size = 11, 12

    def __init__(self, eos_id: int | None = None) -> None:
        self.eos_id = eos_id

    def __call__(self, ids: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(int(ids.sum()))
        return torch.randn(*ids.shape, 12, generator=generator)

    def token_texts(self) -> list[bytes | None]:
        return [
            b"a",
            b"b",
            b"ab",
            b" ",
            "é".encode()[:1],
            "é".encode()[1:],
            None,
            b"",
            b"7",
            b"77",
            b"c",
            b"MASK",
        ]

    def decode_text(self, ids: list[int]) -> str:
        end = ids.index(self.eos_id) if self.eos_id in ids else len(ids)
        return b"".join(self.token_texts()[id_] or b"" for id_ in ids[:end]).decode().strip()


@pytest.mark.parametrize("seed", range(12))
def test_random_logits_end_in_a_match(seed: int) -> None:
    draw = random.Random(seed)
    regex = draw.choice(["[ab]+", "(ab|é)*", "a?(b77){2,9}", "(?:a é|7+b)+", "[^c]{4,20}"])
    denoiser, policy = Spelled(draw.choice([None, 6])), draw.choice(["threshold", "static", "dico"])
    decoded = dsldec.decode(denoiser, [[0], [1, 2]], policy, gen_length=13, constrain=regex, backend="eager")
    for ids in decoded.ids:
        assert denoiser.mask_id not in ids
    for text in decoded.text:
        assert re.fullmatch(regex, text or ""), (regex, text)


def test_a_denoiser_without_texts_is_refused() -> None:
    class Plain(Spelled):
        token_texts = None  # type: ignore[assignment]

    with pytest.raises(dsldec.UsageError, match=r"E0495.*no tokenizer"):
        dsldec.decode(Plain(), [[0]], "threshold", gen_length=4, constrain="a+", backend="eager")

    class Short(Spelled):
        def token_texts(self) -> list[bytes | None]:
            return [b"a"]

    with pytest.raises(dsldec.UsageError, match=r"E0495.*does not return bytes"):
        dsldec.decode(Short(), [[0]], "threshold", gen_length=4, constrain="a+", backend="eager")


def test_an_infilling_matches_in_its_gaps() -> None:
    decoded = dsldec.decode(
        DENOISER, ["11+14=[MASK*2]."], "threshold", infill=True, constrain="[0-9]+", backend="eager"
    )
    text = decoded.text[0] or ""
    assert re.fullmatch(r"11\+14=[0-9]+\.", text)


def test_a_policy_may_hold_the_pattern(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    of_file = dsldec.load(CONSTRAINED, shape=f"@{file}")
    assert of_file.parameters["shape"] == json.dumps(SCHEMA)
    assert dsldec.load(CONSTRAINED, shape=SCHEMA).parameters == of_file.parameters
    assert json.loads(decode(policy=of_file).text[0] or "")["sure"] in (True, False)
    assert re.fullmatch("[0-9]+", decode(policy=of_file, constrain="[0-9]+").text[0] or "")  # of the call
    assert decode(policy=dsldec.load(CONSTRAINED, shape="(yes|no)")).text[0] in ("yes", "no")
    with pytest.raises(dsldec.UsageError, match=r"E0320"):
        decode(policy=dsldec.load(CONSTRAINED))
    with pytest.raises(dsldec.UsageError, match=r"E0490"):
        dsldec.load(CONSTRAINED, shape="(")
    with pytest.raises(dsldec.UsageError, match=r"E0499(.|\n)*Pattern.of_file"):
        decode(constrain="schema.json")
    with pytest.raises(dsldec.UsageError, match=r"E0499.*no such file"):
        dsldec.load(CONSTRAINED, shape="@nowhere.json")


# --- the folder of prepared patterns


def test_a_prepared_pattern_is_read_again(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = dsldec.Pattern.of("[0-9]+ stones")
    first = prepared_patterns.prepared(pattern, DENOISER)
    assert not first.stored
    assert prepared_patterns.prepared(pattern, DENOISER) is first
    prepared_patterns._prepared._entries.clear()
    monkeypatch.setattr(prepared_patterns, "_made", None)  # nothing is prepared again
    again = prepared_patterns.prepared(pattern, DENOISER)
    assert again.stored
    for name in ("next_state", "class_of", "final"):
        assert (getattr(again.automaton, name) == getattr(first.automaton, name)).all()
    assert again.shortest == first.shortest
    assert f"{first.automaton.states} states, {first.automaton.classes} classes" in str(first)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "others", "link"])
def test_a_file_that_cannot_be_trusted_is_made_again(own_folder: Path, damage: str) -> None:
    pattern = dsldec.Pattern.of("[0-9]+ stones")
    first = prepared_patterns.prepared(pattern, DENOISER)
    (file,) = own_folder.glob("*.pattern")
    data = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(data[:-1])
    elif damage == "changed":
        data[40] ^= 1
        file.write_bytes(data)
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "others":
        file.chmod(0o666)
    else:
        file.unlink()
        file.symlink_to(own_folder / "nowhere")
    prepared_patterns._prepared._entries.clear()
    again = prepared_patterns.prepared(pattern, DENOISER)
    assert not again.stored
    assert (again.automaton.next_state == first.automaton.next_state).all()


def test_the_key_names_all_that_decides() -> None:
    pattern, other = dsldec.Pattern.of("[ab]+"), dsldec.Pattern.of("[ab]*")
    made = [
        prepared_patterns.prepared(pattern, Spelled()),
        prepared_patterns.prepared(other, Spelled()),
        prepared_patterns.prepared(pattern, Spelled(6)),
        prepared_patterns.prepared(pattern, Spelled(), infill=True),
        prepared_patterns.prepared(pattern, DENOISER),
    ]
    assert len({id(one) for one in made}) == 5
    assert prepared_patterns.prepared(pattern, Spelled()) is made[0]


def test_the_folder_has_a_limit(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_patterns, "MOST_STORED", 2000)
    for n in range(12):
        prepared_patterns.prepared(dsldec.Pattern.of(f"a{{{n + 1}}}"), DENOISER)
    assert sum(file.stat().st_size for file in own_folder.glob("*.pattern")) <= 2000


# --- the command line and other hosts


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    status = main(["run", "--no-live", "--backend", "eager", "--gen-length", "24", *arguments])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def test_the_command_line_takes_a_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(SCHEMA))
    policy = tmp_path / "shaped.policy"
    policy.write_text(CONSTRAINED.lstrip())
    for given in (str(file), f"@{file}", json.dumps(SCHEMA)):
        status, out, err = run(capsys, QUESTION, "--constrain", given)
        assert status == 0, err
        assert "sure" in json.loads(out[-1])
        assert err.count("classes of ids") == 1, err
    status, out, _ = run(capsys, QUESTION, "--policy", str(policy), "--set", f"shape=@{file}")
    assert (status, "sure" in json.loads(out[-1])) == (0, True)
    status, out, _ = run(capsys, QUESTION, "--policy", str(policy), "--set", "shape=[0-9]+")
    assert re.fullmatch("[0-9]+", out[-1])
    for given, code in (("(", "E0490"), ("@nowhere", "E0499"), ('{"type":', "E0492")):
        status, _, err = run(capsys, QUESTION, "--constrain", given)
        assert (status, code in err) == (2, True), err
        status, _, err = run(capsys, QUESTION, "--policy", str(policy), "--set", f"shape={given}")
        assert (status, code in err) == (2, True), err


def test_a_line_of_prompts_may_have_a_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, results = tmp_path / "prompts.jsonl", tmp_path / "results.jsonl"
    lines = [
        {"prompt": QUESTION, "constrain": "[0-9]+"},
        {"prompt": QUESTION, "constrain": SCHEMA},
        {"prompt": QUESTION},
        {"prompt": QUESTION, "constrain": "[a-z]{3000}"},
    ]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    status, _, err = run(capsys, "--prompts", str(prompts), "--out", str(results), "--constrain", "(yes|no)")
    assert status == 1, err
    found = {line["id"]: line for line in map(json.loads, results.read_text().splitlines())}
    assert re.fullmatch("[0-9]+", found[0]["text"])
    assert "sure" in json.loads(found[1]["text"])
    assert found[2]["text"] in ("yes", "no")
    assert found[3]["error"].startswith("no text of 24 tokens matches") or "E0321" in json.dumps(found[3])
    answered = {id_: line["text"] for id_, line in found.items() if "text" in line}
    status, _, err = run(
        capsys, "--prompts", str(prompts), "--out", str(results), "--constrain", "(yes|no)", "--resume"
    )
    assert status == 1, err
    again = {line["id"]: line for line in map(json.loads, results.read_text().splitlines())}
    assert {id_: again[id_]["text"] for id_ in answered} == answered
    status, _, err = run(
        capsys, "--prompts", str(prompts), "--out", str(results), "--constrain", "[0-9]+", "--resume"
    )
    assert (status, "E0437" in err) == (2, True), err
    prompts.write_text(json.dumps({"prompt": QUESTION, "constrain": "@schema.json("}) + "\n")
    status, _, err = run(capsys, "--prompts", str(prompts))
    assert (status, "E0428" in err) == (2, True), err


def test_generate_of_transformers_takes_a_pattern() -> None:
    model, tokenizer = DENOISER.model, DENOISER.tokenizer
    ids = torch.tensor([DENOISER.encode(QUESTION)])
    function = custom_generate("threshold", backend="eager", tokenizer=tokenizer, constrain="[0-9]+")

    def text(**how: Any) -> str:
        config = GenerationConfig(max_new_tokens=24, pad_token_id=tokenizer.pad_token_id)
        out = function(model, ids, generation_config=config, **how)
        return DENOISER.decode_text(out[0, ids.shape[1] :].tolist())

    assert re.fullmatch("[0-9]+", text())
    assert text(constrain="(yes|no)") in ("yes", "no")
