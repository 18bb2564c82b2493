"""A policy in a pipeline of Ray Data: `dataset.map_batches(Decode, ...)` decodes a column of prompts.

Each actor loads the model and compiles the policy once. Needs no Ray to be imported. Not here: the verb
`dsldec batch` (`tools.batch`), which also stores results and survives deaths of workers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..checks.values import Value
from ..diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from ..options import DECODE, LOAD, DecodeOptions, LoadOptions
from ..policy import Policy, load
from ..spelling import shown

OUTPUT = ("text", "ids", "forwards", "tokens", "error")
OWN = ("model", "parameters", "prompt", "request_id")
# A column gives these, or Ray Data decides them.
NOT_TAKEN = frozenset({"request_ids", "trace"})


class Decode:
    """A callable class for `map_batches`: a batch with a column of prompts to the same batch with answers.

    Args:
        policy: The name of a shipped policy, the text of a policy, or a policy file on the machine of the
            worker.
        model: A Hugging Face folder on the machine of the worker, or a name of the hub. Default: the small
            model inside dsldec.
        parameters: Values of the policy's parameters.
        prompt: The column of the prompts. Default: "prompt".
        request_id: The column of a whole number for each prompt, which names its random numbers. Needed for
            a policy that draws, because Ray Data decides which prompts are in a batch.
        options: The other options of `dsldec.decode` and `dsldec.from_pretrained`, by name.

    The new columns: `text`, `ids` (the generated ids), `forwards`, `tokens` (before the end of the text), and
    `error` (None, or why there is no answer). A prompt that fails does not stop the others.

    Raises `UsageError` and `PolicyError` when the actor starts.
    """

    def __init__(
        self,
        policy: str = "threshold",
        *,
        model: str | None = None,
        parameters: Mapping[str, Value] | None = None,
        prompt: str = "prompt",
        request_id: str | None = None,
        **options: Any,
    ) -> None:
        from ..models.huggingface import from_pretrained

        _require_known(options)
        self._policy = load(policy).bound(parameters or {})
        self._prompt, self._request_id = prompt, request_id
        _require_request_id(self._policy, request_id)
        loading = LoadOptions.of(options)
        self._denoiser: Any = from_pretrained(model, **{name: getattr(loading, name) for name in LOAD})
        self._options = DecodeOptions.of(options)
        if self._options.gen_length is None and not self._options.infill:
            self._options = replace(self._options, gen_length=int(self._denoiser.gen_length))

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with its new columns. Raises `UsageError` (E0409) for a column that is missing."""
        from ..runtime.decode import stream_rows

        prompts = [str(text) for text in self._column(batch, self._prompt)]
        encoded = [self._encoded(text) for text in prompts]
        fitting = [place for place, (_, error) in enumerate(encoded) if error is None]
        answers: list[dict[str, Any]] = [_without_answer(error) for _, error in encoded]
        numbers = self._request_ids(batch)
        options = replace(self._options, request_ids=[numbers[place] for place in fitting])
        try:
            for row in stream_rows(self._denoiser, [encoded[at][0] for at in fitting], self._policy, options):
                place = fitting[row.index]
                answers[place] = self._answer(prompts[place], row)
        except (UsageError, PolicyError):
            raise
        except Exception as failure:  # the denoiser is third-party code: the finished rows have answers
            self._explain(answers, fitting, failure)
        return {**batch, **{name: [one[name] for one in answers] for name in OUTPUT}}

    def _explain(self, answers: list[dict[str, Any]], fitting: Sequence[int], failure: Exception) -> None:
        cause = failure.__cause__ or failure
        why = f"E0410: decoding failed before this prompt was finished: {type(cause).__name__}: {cause}"
        for place in fitting:
            if answers[place]["error"] == UNFINISHED:
                answers[place]["error"] = why

    def _encoded(self, text: str) -> tuple[list[int], str | None]:
        """The ids of a prompt, or why the model does not take it."""
        from ..models.denoiser import too_long, unknown_id

        encode = self._denoiser.encode_gaps if self._options.infill else self._denoiser.encode
        try:
            ids = list(encode(text))
        except UsageError as mistake:  # a text without a gap to fill
            return [], _line(mistake.diagnostic)
        except Exception as failure:  # third-party code
            return [], f"E0410: the tokenizer failed on this prompt: {type(failure).__name__}: {failure}"
        wrong = unknown_id(self._denoiser, ids) or too_long(
            self._denoiser, len(ids), self._options.gen_length or 0
        )
        return ids, None if wrong is None else _line(wrong)

    def _answer(self, prompt: str, row: Any) -> dict[str, Any]:
        if row.error is not None:
            return _without_answer(_line(row.error))
        ids = row.ids[row.prompt_length :].tolist()
        text = (
            self._denoiser.filled(prompt, row.ids.tolist())
            if self._options.infill
            else self._denoiser.decode_text(ids)
        )
        return {
            "text": text,
            "ids": ids,
            "forwards": int(row.forwards),
            "tokens": int(row.tokens),
            "error": None,
        }

    def _column(self, batch: Mapping[str, Any], name: str) -> Sequence[Any]:
        if name not in batch:
            columns = ", ".join(f"`{one}`" for one in batch)
            message = f"the batch has no column {shown(name)}: its columns are {columns}"
            raise UsageError(
                Diagnostic("E0409", message, help='name it: `Decode("threshold", prompt="question")`')
            )
        column = batch[name]
        return list(column)

    def _request_ids(self, batch: Mapping[str, Any]) -> list[int]:
        if self._request_id is None:  # nothing is drawn
            return [*range(len(batch[self._prompt]))]
        return [int(one) for one in self._column(batch, self._request_id)]


UNFINISHED = "E0410: decoding failed before this prompt was finished"


def _without_answer(error: str | None) -> dict[str, Any]:
    return {"text": "", "ids": [], "forwards": 0, "tokens": 0, "error": error or UNFINISHED}


def _line(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.code}: {diagnostic.message}{f' ({diagnostic.help})' if diagnostic.help else ''}"


def _require_known(options: Mapping[str, Any]) -> None:
    """Raise `UsageError` (E0447) for an option that `Decode` does not have."""
    known = [name for name in (*OWN, *DECODE, *LOAD) if name not in NOT_TAKEN]
    for name in options:
        if name not in known:
            close = did_you_mean(name, known)
            help = (
                f"did you mean `{close}`?"
                if close
                else "it takes the options of `decode` and `from_pretrained`"
            )
            raise UsageError(Diagnostic("E0447", f"`Decode` has no option {shown(name)}", help=help))


def _require_request_id(policy: Policy, request_id: str | None) -> None:
    """Raise `UsageError` (E0409) for a policy that draws without a name for its random numbers."""
    if request_id is None and not policy.facts.deterministic:
        message = f"the policy `{policy.name}` draws, and the numbers of a prompt would depend on its batch"
        help = 'give each row a whole number in a column: `Decode(..., request_id="number")`'
        raise UsageError(Diagnostic("E0409", message, help=help))
