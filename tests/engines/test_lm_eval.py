"""lm-evaluation-harness with the model class `dsldec`: the same answers as `decode`, and the right score."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec.diagnostics import PolicyError, UsageError
from dsldec.models.tasks import TASKS
from dsldec.runtime.forward import DenoiserFailed

pytest.importorskip("lm_eval")

from dsldec.engines.lm_eval import DslDecLM
from dsldec.engines.lm_eval.generation import cut, request_ids

from ..models import tiny
from .lm_eval_tasks import NUMBER, answers, documents, evaluated, examples, saved_task

DRAWS = """\
policy draws(temperature: real = 0.9):
  window blocks(48)
  draw gumbel(temperature=temperature)
  commit top(masked, 6, by=conf)
"""


@pytest.fixture(scope="module")
def denoiser() -> Any:
    return dsldec.from_pretrained(raw=True, device="cpu")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """The lines of the model's log."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("lm_eval.models.dsldec")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def request(context: str, **generation: Any) -> Any:
    from lm_eval.api.instance import Instance

    return Instance("generate_until", {}, (context, generation), 0, ("task", 0, 1))


@pytest.mark.parametrize("batch_size", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_answers_score_and_forwards_are_those_of_decode(
    denoiser: Any, batch_size: int, tmp_path: Path
) -> None:
    count = 2 if batch_size == 1 else 6
    file = saved_task(tmp_path, "words", documents(count))
    policy = dsldec.load("threshold", confidence=0.8)
    own = dsldec.decode(denoiser, [one.prompt for one in examples(count)], policy, gen_length=48)
    lm = DslDecLM(denoiser, "threshold", confidence=0.8, batch_size=batch_size)
    results = evaluated(lm, file)
    assert [text.strip() for text in answers(results, "words")] == own.text
    right = [
        TASKS["word_problems"].score(one, text).answer
        for one, text in zip(examples(count), own.text, strict=True)
    ]
    assert results["results"]["words"]["exact_match,number"] == pytest.approx(sum(right) / count)
    counts = results["config"]["dsldec"]["tasks"]["words"]
    assert counts["answers"] == count
    assert counts["forwards"] == int(own.forwards.sum())
    assert counts["tokens"] == int(own.tokens.sum())
    assert counts["forwards_per_answer"] == pytest.approx(float(own.forwards.double().mean()), abs=1e-3)
    assert json.loads(json.dumps(results["config"]["dsldec"])) == results["config"]["dsldec"]


def test_the_chat_template_gives_the_prompts_of_decode(tmp_path: Path) -> None:
    lm = DslDecLM(policy="threshold", batch_size=8, device="cpu")
    file = saved_task(tmp_path, "words", documents(3))
    results = evaluated(lm, file, apply_chat_template=True)
    own = dsldec.decode(
        dsldec.from_pretrained(device="cpu"), [one.prompt for one in examples(3)], "threshold", gen_length=48
    )
    assert [text.strip() for text in answers(results, "words")] == own.text
    assert results["config"]["dsldec"]["tasks"]["words"]["forwards"] == int(own.forwards.sum())
    score = sum(
        TASKS["word_problems"].score(one, text).answer
        for one, text in zip(examples(3), own.text, strict=True)
    )
    assert results["results"]["words"]["exact_match,number"] == pytest.approx(score / 3)


def test_few_shot_turns_and_a_system_instruction_are_in_the_template(denoiser: Any, tmp_path: Path) -> None:
    lm = DslDecLM(denoiser)
    shots = [{"question": "A?", "answer": "1"}, {"question": "B?", "answer": "2"}]
    more = {
        "fewshot_config": {"sampler": "first_n", "samples": shots},
        "num_fewshot": 2,
    }
    file = saved_task(tmp_path, "shots", [{"question": "C?", "answer": "3"}], **more)
    how = {"apply_chat_template": True, "fewshot_as_multiturn": True, "system_instruction": "Be brief."}
    results = evaluated(lm, file, **how)
    context = results["samples"]["shots"][0]["arguments"][0][0]
    tokenizer = denoiser.tokenizer
    turns = [{"role": "system", "content": "Be brief."}]
    for one in shots:
        turns += [
            {"role": "user", "content": one["question"]},
            {"role": "assistant", "content": one["answer"]},
        ]
    turns += [{"role": "user", "content": "C?"}]
    assert context == tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    # The special tokens of the template are ids, and no others are added.
    assert (
        lm.texts.encode(lm.apply_chat_template(turns))
        == tokenizer(context, add_special_tokens=False)["input_ids"]
    )


def test_the_begin_of_an_answer_goes_on(denoiser: Any, tmp_path: Path) -> None:
    lm = DslDecLM(denoiser)
    turns = [{"role": "user", "content": "What is 1+2?"}, {"role": "assistant", "content": "It is "}]
    text = lm.apply_chat_template(turns, add_generation_prompt=False)
    theirs = denoiser.tokenizer.apply_chat_template(turns, continue_final_message=True, tokenize=False)
    assert text == theirs
    assert text.endswith("It is") or text.endswith("It is ")


def test_a_request_draws_the_same_numbers_in_any_batch_and_order(denoiser: Any) -> None:
    prompts = [one.prompt for one in examples(4)]
    requests = [request(prompt, max_gen_toks=48) for prompt in prompts]
    first = DslDecLM(denoiser, dsldec.check(DRAWS)[0], batch_size=4, seed=3).generate_until(requests)
    again = DslDecLM(denoiser, dsldec.check(DRAWS)[0], batch_size=1, seed=3).generate_until(requests[::-1])
    alone = DslDecLM(denoiser, dsldec.check(DRAWS)[0], seed=3).generate_until(requests[2:3])
    assert again[::-1] == first
    assert alone == first[2:3]
    other = DslDecLM(denoiser, dsldec.check(DRAWS)[0], batch_size=4, seed=4).generate_until(requests)
    assert other != first


@pytest.mark.slow
def test_repeats_are_other_samples(denoiser: Any, tmp_path: Path) -> None:
    file = saved_task(tmp_path, "words", documents(2), repeats=3)
    results = evaluated(DslDecLM(denoiser, dsldec.check(DRAWS)[0], batch_size=8), file)
    resps = [one["resps"][0] for one in results["samples"]["words"]]
    assert all(len(one) == 3 for one in resps)
    assert any(len(set(one)) > 1 for one in resps)
    assert results["config"]["dsldec"]["tasks"]["words"]["answers"] == 6
    assert len(set(request_ids(["a", "b", "a", "a"]))) == 4
    assert request_ids(["a", "b", "a"])[:2] == request_ids(["b", "a"])[::-1]


def test_an_answer_ends_before_the_texts_of_until(denoiser: Any) -> None:
    prompt = examples(1)[0].prompt
    lm = DslDecLM(denoiser, batch_size=3)
    whole, before, special = lm.generate_until(
        [request(prompt, max_gen_toks=48), request(prompt, until=["####", "zzz"], max_gen_toks=48),
         request(prompt, until="<|endoftext|>", max_gen_toks=48)]
    )  # fmt: skip
    assert "####" in whole
    assert before == whole[: whole.index("####")]
    assert special == whole
    every = DslDecLM(denoiser, "static", tokens=1, stop_at_eos=False)
    assert every.generate_until([request(prompt, until=["####"], max_gen_toks=48)]) == [before]
    assert every.decoder.counts["task"].forwards == 48
    early = DslDecLM(denoiser, "static", tokens=1, block=8)
    early.generate_until([request(prompt, until=["="], max_gen_toks=48)])
    assert early.decoder.counts["task"].forwards < 48
    assert cut("one\ndef two", ("\ndef", "\nclass")) == "one"
    assert cut("one", ("",)) == ""


def test_an_until_that_is_a_special_token_ends_at_its_id(denoiser: Any) -> None:
    lm = DslDecLM(denoiser)
    ids = denoiser.tokenizer("two", add_special_tokens=False)["input_ids"]
    other = denoiser.tokenizer.get_added_vocab()
    name, id_ = next(
        (name, id_) for name, id_ in other.items() if id_ not in denoiser.stop_ids and id_ != denoiser.mask_id
    )
    assert lm.texts.special([name, "two"]) == ((id_,), ("two",))
    assert lm.texts.decode([*ids, id_, *ids], [id_]) == denoiser.tokenizer.decode(ids)


def test_blanks_of_an_answer_stay(denoiser: Any) -> None:
    lm = DslDecLM(denoiser)
    ids = denoiser.tokenizer("x = 1\n", add_special_tokens=False)["input_ids"]
    assert lm.texts.decode(ids, []) == denoiser.tokenizer.decode(ids)


def test_the_length_of_the_model_arguments_counts_first(denoiser: Any) -> None:
    prompt = examples(1)[0].prompt
    lm = DslDecLM(denoiser, "static", tokens=1, gen_length=7, stop_at_eos=False)
    lm.generate_until([request(prompt, max_gen_toks=48)])
    assert lm.decoder.counts["task"].forwards == 7
    of_task = DslDecLM(denoiser, "static", tokens=1, stop_at_eos=False)
    of_task.generate_until([request(prompt, max_new_tokens=9)])
    assert of_task.decoder.counts["task"].forwards == 9


def test_a_least_length_is_kept(denoiser: Any) -> None:
    lm = DslDecLM(denoiser)
    prompt = examples(1)[0].prompt
    ended, longer = lm.generate_until(
        [request(prompt, max_gen_toks=44), request(prompt, max_gen_toks=44, min_length=44)]
    )
    assert len(longer) > len(ended)
    with pytest.raises(UsageError, match="`min_length` must be a whole number of 0 or more"):
        lm.generate_until([request("1", min_length=-1)])


def test_sampling_arguments_of_a_task_give_a_warning(denoiser: Any, seen: list[str]) -> None:
    lm = DslDecLM(denoiser)
    lm.generate_until([request("1", max_gen_toks=4, do_sample=False, temperature=0.0)])
    assert not [line for line in seen if "W0401" in line]
    for _ in range(2):
        lm.generate_until([request("1", max_gen_toks=4, do_sample=True, temperature=0.7)])
    (warning,) = [line for line in seen if "W0401" in line]
    assert "`do_sample=True`, `temperature=0.7` of the task has no effect" in warning
    seen.clear()
    draws = DslDecLM(denoiser, dsldec.check(DRAWS)[0])
    draws.generate_until([request("1", max_gen_toks=4, do_sample=True)])
    assert not [line for line in seen if "W0401" in line]
    draws.generate_until([request("1", max_gen_toks=4, do_sample=False)])
    assert [line for line in seen if "draws by its own `draw` statement" in line]


def test_an_unknown_argument_of_a_task_is_refused(denoiser: Any) -> None:
    lm = DslDecLM(denoiser)
    with pytest.raises(UsageError, match="`num_beams` has no meaning where a policy decides"):
        lm.generate_until([request("1", num_beams=4)])
    with pytest.raises(UsageError, match="did you mean `max_gen_toks`"):
        lm.generate_until([request("1", max_gen_tok=4)])
    with pytest.raises(UsageError, match="E0430"):
        lm.generate_until([request("1", max_gen_toks=100_000)])


def test_a_response_cache_stores_answers_and_belongs_to_one_policy(denoiser: Any, tmp_path: Path) -> None:
    file, cache = saved_task(tmp_path, "words", documents(2)), str(tmp_path / "cache")
    first = evaluated(DslDecLM(denoiser, batch_size=2), file, use_cache=cache)
    again = evaluated(DslDecLM(denoiser, batch_size=2), file, use_cache=cache)
    assert answers(again, "words") == answers(first, "words")
    assert again["config"]["dsldec"]["tasks"] == {}
    with pytest.raises(UsageError, match="E0437") as refused:
        evaluated(DslDecLM(denoiser, "dico", batch_size=2), file, use_cache=cache)
    assert "`policy`" in refused.value.diagnostic.message
    with pytest.raises(UsageError, match="`parameters`"):
        evaluated(DslDecLM(denoiser, confidence=0.5, batch_size=2), file, use_cache=cache)


class Failing:
    """Wraps a denoiser, and fails from a certain call on."""

    def __init__(self, denoiser: Any, calls: int) -> None:
        self.__dict__.update(denoiser=denoiser, calls=calls)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.__dict__["calls"] -= 1
        if self.calls < 0:
            raise RuntimeError("the device is gone")
        return self.denoiser(*args, **kwargs)


def test_answers_before_a_failure_are_in_the_response_cache(denoiser: Any, tmp_path: Path) -> None:
    file, cache = saved_task(tmp_path, "words", documents(3)), str(tmp_path / "cache")
    with pytest.raises(DenoiserFailed):
        evaluated(DslDecLM(Failing(denoiser, 30)), file, use_cache=cache)
    results = evaluated(DslDecLM(Failing(denoiser, 10_000)), file, use_cache=cache)
    assert 0 < results["config"]["dsldec"]["tasks"]["words"]["answers"] < 3
    whole = evaluated(DslDecLM(denoiser), file)
    assert answers(results, "words") == answers(whole, "words")


class OneRowNaN(Failing):
    """Gives no finite logits for a canvas that begins with a certain id."""

    def __call__(self, ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        logits = self.denoiser(ids, *args, **kwargs).clone()
        logits[ids[:, 0] == self.calls] = float("nan")
        return logits


def test_a_request_that_fails_alone_is_counted(denoiser: Any, seen: list[str]) -> None:
    prompts = ["What is 14+18?", "How many?"]
    bad = denoiser.encode(prompts[1])[0]
    assert denoiser.encode(prompts[0])[0] != bad
    lm = DslDecLM(OneRowNaN(denoiser, bad), batch_size=2)
    too_long = " ".join(["apples"] * 2000)
    got = lm.generate_until([request(prompt, max_gen_toks=16) for prompt in [*prompts, too_long]])
    assert got[1:] == ["", ""]
    counts = lm.get_model_info()["dsldec"]["tasks"]["task"]
    assert (counts["answers"], counts["failed"]) == (1, 2)
    assert {reason[:5] for reason in counts["reasons"]} == {"E0406", "E0407"}
    assert [line for line in seen if line == "task: 2 of 3 requests have no answer"]


MISTAKES = [
    ({"policy": "dicoo"}, "did you mean `dico`?"),
    ({"confidense": 0.8}, "did you mean `confidence`?"),
    ({"confidence": 2}, "not a probability"),
    ({"block_size": 16}, "`block=16`"),
    ({"model": "./x"}, "it is called `pretrained=./x`"),
    ({"max_gen_toks": 5}, "it is called `gen_length=5`"),
    ({"gen_length": 0}, "`gen_length` must be a whole number"),
    ({"cache": "fast"}, "there is no cache `fast`"),
    ({"backend": "cuda"}, "there is no backend `cuda`"),
    ({"batch_size": "many"}, "`batch_size` must be a whole number of 1 or more, or `auto`"),
    ({"batch": 8}, "`--batch_size 8`"),
    ({"raw": False}, "`--apply_chat_template`"),
    ({"mc_samples": 0}, "`mc_samples` must be"),
    ({"greedy": "no"}, "`greedy` is True or False"),
    ({"policy": "freedave", "lookahead": 4}, "E0411"),
    ({"pretrained": "/no/such/model"}, "there is no `/no/such/model`"),
    ({"add_bos_token": True}, "no begin-of-text token"),
]


@pytest.mark.parametrize(("given", "message"), MISTAKES, ids=[next(iter(given)) for given, _ in MISTAKES])
def test_a_mistake_in_the_arguments_is_one_sentence(given: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, PolicyError)) as mistake:
        DslDecLM(**given)
    assert message in str(mistake.value)


def test_help_about_a_model_is_an_argument_to_paste(tmp_path: Path) -> None:
    folder = tiny.saved(tmp_path / "model", "llada")
    with pytest.raises(UsageError) as mistake:
        DslDecLM(str(folder))
    assert mistake.value.diagnostic.help.endswith("write `trust_remote_code=True`")


def test_a_parameter_with_the_name_of_an_argument_is_refused() -> None:
    text = "policy mine(seed: real = 0.9):\n  window blocks(8)\n  commit masked and conf > seed at least 1 by conf\n"
    policy, _ = dsldec.check(text)
    with pytest.raises(UsageError, match="rename the parameter"):
        DslDecLM(policy=policy, seed=1)


def test_the_arguments_of_the_command_count_before_its_defaults(denoiser: Any, seen: list[str]) -> None:
    given = {"pretrained": denoiser, "policy": "dico", "batch_size": 4, "device": "cpu"}
    lm = DslDecLM.create_from_arg_obj(given, {"batch_size": 1, "max_batch_size": None, "device": "cuda:0"})
    assert (lm.arguments.decode.batch, lm.policy.name) == (4, "dico")
    lm = DslDecLM.create_from_arg_string("policy=threshold,confidence=0.7", {"batch_size": "auto"})
    assert lm.policy.parameters["confidence"] == 0.7
    assert lm.arguments.decode.batch == 8


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        DslDecLM()


def test_a_model_without_a_template_cannot_apply_one(denoiser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = DslDecLM(denoiser)
    with pytest.raises(UsageError, match="takes no name"):
        lm.chat_template("tool_use")
    assert lm.chat_template(False) is None
    assert lm.chat_template(True) == denoiser.tokenizer.chat_template
    monkeypatch.setattr(lm.tokenizer, "chat_template", None)
    with pytest.raises(UsageError, match="has no chat template"):
        lm.apply_chat_template([{"role": "user", "content": "1"}])
    assert NUMBER
