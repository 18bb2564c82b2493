"""The bound on a likelihood: against all sets of masked positions, and against a joint distribution.

Shapes: V vocabulary, L answer length.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.engines.lm_eval.likelihood import Pair, bounds, masked_copies

MASK, V = 0, 6


class Random:
    """A denoiser with random weights. Each position sees all others, in their order."""

    mask_id, vocab_size = MASK, V

    def __init__(self) -> None:
        drawn = torch.Generator().manual_seed(5)
        self.into = torch.randn(V, 8, generator=drawn)
        self.places = torch.randn(16, 8, generator=drawn)
        self.out = torch.randn(8, V, generator=drawn)

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.into[ids] + self.places[: ids.shape[1]])
        return (hidden + 2 * hidden.mean(1, keepdim=True).roll(1, -1)) @ self.out


class Selecting(Random):
    """The same, with the logits of some columns only."""

    selects_columns = True

    def __call__(self, ids: torch.Tensor, columns: torch.Tensor | None = None) -> torch.Tensor:
        logits = super().__call__(ids)
        return logits if columns is None else logits.gather(1, columns.unsqueeze(-1).expand(-1, -1, V))


class Joint:
    """The exact conditionals of a random joint distribution over three tokens; column 0 is a prompt."""

    mask_id, vocab_size = MASK, V

    def __init__(self) -> None:
        drawn = torch.Generator().manual_seed(7)
        table = torch.rand(V, V, V, generator=drawn, dtype=torch.float64) ** 3
        table[MASK], table[:, MASK], table[:, :, MASK] = 0, 0, 0
        self.table = table / table.sum()

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        logits = torch.full((*ids.shape, V), -50.0, dtype=torch.float64)
        for row, canvas in enumerate(ids[:, 1:].tolist()):
            given = self.table.clone()
            for place, id_ in enumerate(canvas):
                if id_ != MASK:
                    keep = torch.zeros(V, dtype=torch.float64)
                    keep[id_] = 1
                    given = given * keep.view([-1 if axis == place else 1 for axis in range(3)])
            for place in range(3):
                left = given.sum([axis for axis in range(3) if axis != place])
                logits[row, place + 1] = (left / left.sum()).clamp_min(1e-30).log()
        return logits


def by_enumeration(denoiser: Any, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    """The expectation in the bound, as its formula has it."""
    length, total = len(answer), 0.0
    for count in range(1, length + 1):
        subsets = list(itertools.combinations(range(length), count))
        for masked in subsets:
            canvas = [*prompt, *(MASK if at in masked else one for at, one in enumerate(answer))]
            scores = denoiser(torch.tensor([canvas])).float().log_softmax(-1)[0, len(prompt) :]
            whole = sum(float(scores[at, answer[at]]) for at in masked)
            total += length / count * whole / len(subsets) / length
    return total


@pytest.mark.parametrize("kind", [Random, Selecting])
def test_a_short_answer_is_exact(kind: type[Any]) -> None:
    pairs = [Pair((1, 2), (3, 4, 5, 1)), Pair((2,), (5,)), Pair((), (1, 1, 2)), Pair((3,), ())]
    got = {place: (bound, rows) for place, bound, rows in bounds(kind(), pairs, 15, 4)}
    for place, pair in enumerate(pairs):
        bound, rows = got[place]
        assert bound == pytest.approx(by_enumeration(kind(), pair.prompt, pair.answer), abs=1e-5)
        assert rows == 2 ** len(pair.answer) - 1


def test_samples_of_a_longer_answer_have_the_exact_mean() -> None:
    prompt, answer, samples, runs = (1, 2), (3, 4, 5, 1, 2, 5, 3), 24, 200
    pairs = [Pair(prompt, answer, key) for key in range(runs)]
    found = [bound for _, bound, _ in bounds(Random(), pairs, samples, 64)]
    mean = sum(found) / runs
    error = math.sqrt(sum((one - mean) ** 2 for one in found) / (runs - 1) / runs)
    assert 0 < error < 0.2
    assert abs(mean - by_enumeration(Random(), prompt, answer)) < 4 * error


def test_the_bound_is_the_likelihood_where_the_conditionals_belong_together() -> None:
    joint = Joint()
    for answer in [(1, 2, 3), (5, 5, 5), (2, 1, 4)]:
        ((_, bound, _),) = bounds(joint, [Pair((1,), answer)], 7, 8)
        assert bound == pytest.approx(float(joint.table[answer].log()), abs=1e-4)


def test_a_bound_depends_neither_on_the_batch_nor_on_other_requests() -> None:
    pairs = [Pair((1,) * (at % 3), tuple(1 + (at * i) % 5 for i in range(4 + at % 4)), at) for at in range(8)]
    one = {pairs[place]: (bound, rows) for place, bound, rows in bounds(Random(), pairs, 10, 1)}
    many = {pairs[::-1][place]: (bound, rows) for place, bound, rows in bounds(Random(), pairs[::-1], 10, 7)}
    assert set(one) == set(many) == set(pairs)
    for pair in pairs:
        assert many[pair][1] == one[pair][1]
        assert many[pair][0] == pytest.approx(one[pair][0], abs=1e-5)


def test_the_numbers_of_masks_are_spread_evenly() -> None:
    copies = list(masked_copies(0, Pair((), (1,) * 10, 3), 128))
    counts = [sum(len(copy.masked) == count for copy in copies) for count in range(1, 11)]
    assert len(copies) == 128
    assert set(counts) <= {12, 13}
    assert all(len(set(copy.masked)) == len(copy.masked) and max(copy.masked) < 10 for copy in copies)
    assert sum(copy.weight * len(copy.masked) for copy in copies) == pytest.approx(10)


lm_eval = pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def denoiser() -> Any:
    return dsldec.from_pretrained(raw=True, device="cpu")


def pair_of(context: str, continuation: str) -> Any:
    from lm_eval.api.instance import Instance

    return Instance("loglikelihood", {}, (context, continuation), 0, ("task", 0, 1))


def test_right_answers_are_likelier_than_wrong_ones(denoiser: Any, tmp_path: Path) -> None:
    from dsldec.engines.lm_eval import DslDecLM

    from .lm_eval_tasks import documents, evaluated, saved_task

    docs = []
    for doc in documents(4):
        right = doc["response"].split("####")[0] + "#### " + doc["answer"]
        docs.append({"question": doc["question"], "choices": [right.replace("=", "-="), right], "label": 1})
    file = saved_task(
        tmp_path, "choose", docs, output_type="multiple_choice", doc_to_choice="{{choices}}",
        doc_to_target="{{label}}", filter_list=None, generation_kwargs=None,
        metric_list=[{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    )  # fmt: skip
    lm = DslDecLM(denoiser, mc_samples=16, batch_size=16, greedy=False)
    results = evaluated(lm, file, apply_chat_template=True)
    assert results["results"]["choose"]["acc,none"] == 1.0
    counts = results["config"]["dsldec"]["tasks"]["choose"]
    assert (counts["scored"], counts["scored_rows"]) == (8, 8 * 16)


def test_a_continuation_is_greedy_where_the_policy_decodes_it(denoiser: Any) -> None:
    from dsldec.engines.lm_eval import DslDecLM

    lm = DslDecLM(denoiser, "static", mc_samples=1, batch_size=4)
    prompt = denoiser.encode("What is 14+18?")
    own = dsldec.decode(denoiser, [prompt], "static", gen_length=3).ids[0][len(prompt) :].tolist()
    text = denoiser.tokenizer.decode(own)
    assert lm.texts.encode_pair("What is 14+18?", text)[1] == own
    (right, greedy), (_, other) = lm.loglikelihood(
        [pair_of("What is 14+18?", text), pair_of("What is 14+18?", text[:-2] + "9")]
    )
    assert greedy
    assert not other
    assert right < 0


def test_blanks_before_a_continuation_belong_to_it(denoiser: Any) -> None:
    from dsldec.engines.lm_eval import DslDecLM

    lm = DslDecLM(denoiser)
    assert lm.texts.encode_pair("What is ", "it") == lm.texts.encode_pair("What is", " it")
    assert lm.texts.encode_pair("", "it") == ([], lm.texts.encode_plain("it"))


def test_a_block_causal_model_and_a_whole_text_are_refused(denoiser: Any) -> None:
    from dsldec.engines.lm_eval import DslDecLM

    class InBlocks:
        mask_id, vocab_size, eos_id, block_length, tokenizer = 0, 9, 1, 4, denoiser.tokenizer

        def __call__(self, ids: torch.Tensor) -> torch.Tensor:
            raise AssertionError

    with pytest.raises(UsageError, match="not available for a block-causal model"):
        DslDecLM(InBlocks()).loglikelihood([pair_of("a", "b")])
    with pytest.raises(UsageError, match="`loglikelihood_rolling`"):
        DslDecLM(denoiser).loglikelihood_rolling([])
    with pytest.raises(UsageError, match="E0407") as too_long:
        DslDecLM(denoiser).loglikelihood([pair_of("apples " * 3000, "b")])
    assert "`--num_fewshot 0`" in too_long.value.diagnostic.help
