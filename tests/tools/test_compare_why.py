"""Does `dsldec compare` say why two policies differ, on prompts and on the smallest case, and write the page?"""

from __future__ import annotations

import pytest

import dsldec
from dsldec.cli import main
from dsldec.tools.comparing import verb
from dsldec.tools.comparing.case_text import ComparedSide
from dsldec.tools.comparing.case_why import case_why, explained_case
from dsldec.tools.comparing.search import SearchLimits, same_blocks, search
from dsldec.tools.comparing.trial import ComparedPair

PROMPT = ("--prompt", "What is 14+18?", "--gen-length", "16", "--backend", "eager")
OUTCOMES = {"commit": "committed", "edit": "edited", "revoke": "revoked"}


def compare(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(["compare", *arguments])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


# --- on prompts


def test_the_first_difference_is_explained_on_both_sides(capsys):
    status, out, _ = compare(capsys, "threshold", "static", *PROMPT)
    assert status == 1
    head, _, why = out.partition("\n\nwhy, at position ")
    position = head.split("position ")[1].split("\n")[0]
    assert why.startswith(f"{position} in step ")
    assert "\n  threshold commits it as `" in why
    assert "\n  static does not write it, because:\n    commit " in why
    assert ">= confidence 0.9 -> yes" in why
    assert "-> no: rank " in why


def test_the_page_has_both_runs_and_the_first_difference(capsys, tmp_path):
    file = tmp_path / "both.html"
    status, _, err = compare(capsys, "threshold", "static", *PROMPT, "--html", str(file))
    assert status == 1
    assert f"`{file}` shows prompt `0` under both policies" in err
    html = file.read_text(encoding="utf-8")
    assert "<title>threshold and static: " in html
    status, _, _ = compare(capsys, "threshold", "factor", *PROMPT, "--html", str(file))
    assert "<title>threshold and factor: " in file.read_text(encoding="utf-8")


def test_show_chooses_the_prompt(capsys, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        '{"prompt": "What is 14+18?", "id": "sum"}\n{"prompt": "Compute 3*6.", "id": "product"}\n'
    )
    options = ("--prompts", str(prompts), "--gen-length", "16", "--backend", "eager")
    _, out, _ = compare(capsys, "threshold", "static", *options, "--show", "product")
    assert "first difference: prompt `product`, " in out
    assert out.index("why, at position") > out.index("first difference: prompt `product`, ")
    status, out, err = compare(capsys, "threshold", "static", *options, "--show", "produkt")
    assert (status, out) == (2, "")
    assert err.startswith("error[E0590]: no prompt has the id `produkt`")
    assert "`--show product`" in err


def test_prompts_with_equal_steps_have_a_page_too(capsys, tmp_path):
    file = tmp_path / "same.html"
    status, out, _ = compare(capsys, "freedave", "static", *PROMPT, "--html", str(file))
    assert (status, file.exists(), "why" in out) == (0, True, False)


def test_a_page_that_cannot_be_made_keeps_the_comparison(capsys, monkeypatch, tmp_path):
    def refuse(runs):
        raise dsldec.UsageError(dsldec.Diagnostic("E0573", "too large"))

    monkeypatch.setattr("dsldec.tools.comparing.on_prompts.page_of", refuse)
    status, out, err = compare(capsys, "threshold", "static", *PROMPT, "--html", str(tmp_path / "a.html"))
    assert (status, "why, at position" in out) == (1, True)
    assert "error[E0573]: too large" in err


@pytest.mark.parametrize(
    ("options", "code", "help_"),
    [
        (("--html", "a.html"), "E0423", "`--task word_problems`"),
        (("--show", "0"), "E0423", "`--task word_problems`"),
        ((*PROMPT, "--html", "no/folder/a.html"), "E0432", "--html"),
        ((*PROMPT, "--html", "mine.policy"), "E0436", "--html"),
        ((*PROMPT, "--html", ""), "E0422", "--html"),
    ],
)
def test_a_mistake_is_found_before_anything_is_decoded(capsys, monkeypatch, tmp_path, options, code, help_):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dsldec.models.huggingface.from_pretrained", None)
    (tmp_path / "mine.policy").write_text("policy mine():\n")
    status, out, err = compare(capsys, "threshold", "factor", *options)
    assert (status, out) == (2, "")
    assert err.startswith(f"error[{code}]: ")
    assert help_ in err
    assert (tmp_path / "mine.policy").read_text() == "policy mine():\n"


# --- on the smallest case


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (("threshold", {}), ("factor", {})),
        (("klass", {}), ("klass", {"patience": 1})),
        (("wino_plain", {}), ("threshold", {})),
        (("joint_threshold", {}), ("threshold", {})),
        (("local_leap", {}), ("threshold", {})),
    ],
)
def test_explanations_of_a_case_agree_with_its_writes(a, b):
    policies = [dsldec.load(name, **values) for name, values in (a, b)]
    sides = tuple(
        ComparedSide(dsldec.load(name), f"{name} {number}", tuple(f"{k}={v}" for k, v in values.items()))
        for number, (name, values) in enumerate((a, b))
    )
    pair = ComparedPair(*policies)
    block = same_blocks(pair.a, pair.b, lambda name: False)
    found = search(pair, block, SearchLimits(2000, 20, 0, False))
    assert found.trial is not None
    shown = verb.smallest(found.trial, sides, block)
    assert shown is not None
    number = shown.played.differs_at
    for side, text, steps in zip(sides, shown.cases, (shown.played.a, shown.played.b), strict=True):
        record = explained_case(text, side).records[number]
        for position in range(steps[number].start, steps[number].end):
            outcome = next(
                (OUTCOMES[kind] for kind in OUTCOMES if position in steps[number].written(kind)), "unchanged"
            )
            assert record.why(position).outcome == outcome
            assert record.why(position).lines
    lines = list(case_why(shown, sides))
    assert all(line.startswith("# ") for line in lines)
