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

OUTPUT = ("text", "ids", "finish_reason", "forwards", "tokens", "error")
OWN = ("model", "parameters", "prompt", "request_id")
# A column gives the first; the others have no column.
NOT_TAKEN = frozenset({"request_ids", "trace", "logprobs"})


class Decode:
    """A callable class for `map_batches`: a batch with a column of prompts to the same batch with answers.

    Args:
        policy: The name of a shipped policy, the text of a policy, or a policy file on the machine of the
            worker.
        model: A Hugging Face folder on the machine of the worker, or a name of the hub. Default: the small
            model inside dsldec.
        parameters: Values of the policy's parameters.
        prompt: The column of the prompts: texts, or chats (lists of {"role", "content"}). Default: "prompt".
        request_id: The column of a whole number for each prompt, which names its random numbers. Needed for
            a policy that draws, because Ray Data decides which prompts are in a batch.
        options: The other options of `dsldec.decode` and `dsldec.from_pretrained`, by name.

    The new columns: `text`, `ids` (the generated ids), `finish_reason`, `forwards`, `tokens` (before the end
    of the text), and `error` (None, or why there is no answer). With `n` above 1, each row is repeated for
    its samples, and `sample` numbers them. A prompt that fails does not stop the others.

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
        self._gen_length = 0
        if not self._options.infill:
            given = self._options.gen_length
            self._gen_length = given if isinstance(given, int) else int(self._denoiser.gen_length)
            self._options = replace(self._options, gen_length=self._gen_length)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch with its new columns. Raises `UsageError` (E0409) for a column that is missing."""
        from ..runtime.decode import stream_rows

        n, prompts = self._options.n, [_plain(one) for one in self._column(batch, self._prompt)]
        encoded = [self._encoded(one) for one in prompts]
        fitting = [place for place, (_, error) in enumerate(encoded) if error is None]
        answers = [_without_answer(error) for _, error in encoded for _ in range(n)]
        numbers = self._request_ids(batch, len(prompts))
        options = replace(self._options, system=None, request_ids=[numbers[place] for place in fitting])
        try:
            for row in stream_rows(self._denoiser, [encoded[at][0] for at in fitting], self._policy, options):
                prompt, sample = divmod(row.index, n)
                place = fitting[prompt]
                answers[place * n + sample] = self._answer(prompts[place], row)
        except (UsageError, PolicyError):
            raise
        except Exception as failure:  # the denoiser is third-party code: the finished rows have answers
            _explain(answers, failure)
        columns = dict(batch)
        if n > 1:
            columns = {name: [one for one in column for _ in range(n)] for name, column in batch.items()}
            columns["sample"] = [*range(n)] * len(prompts)
        return {**columns, **{name: [one[name] for one in answers] for name in OUTPUT}}

    def _encoded(self, prompt: str | list[Any]) -> tuple[list[int], str | None]:
        """The ids of a prompt, or why the model does not take it."""
        from ..models.denoiser import too_long, unknown_id
        from ..runtime.prompts import ids_of

        try:
            ids = ids_of(self._denoiser, prompt, self._options.infill, self._options.system)
        except UsageError as mistake:  # a text without a gap, a chat that the template refuses
            return [], _line(mistake.diagnostic)
        except Exception as failure:  # third-party code
            return [], f"E0410: the tokenizer failed on this prompt: {type(failure).__name__}: {failure}"
        wrong = unknown_id(self._denoiser, ids) or too_long(self._denoiser, len(ids), self._gen_length)
        return list(ids), None if wrong is None else _line(wrong)

    def _answer(self, prompt: str | list[Any], row: Any) -> dict[str, Any]:
        if row.error is not None:
            return _without_answer(_line(row.error))
        from ..runtime.decoded import text_of

        filled = self._options.infill
        text = self._denoiser.filled(prompt, row.ids.tolist()) if filled else text_of(self._denoiser, row)
        return {
            "text": text or "",
            "ids": row.ids[row.prompt_length :].tolist(),
            "finish_reason": row.finish_reason,
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

    def _request_ids(self, batch: Mapping[str, Any], count: int) -> list[int]:
        if self._request_id is None:  # nothing is drawn
            return [*range(count)]
        return [int(one) for one in self._column(batch, self._request_id)]


UNFINISHED = "E0410: decoding failed before this prompt was finished"


def _plain(prompt: Any) -> str | list[Any]:
    """A prompt without the classes of numpy, which Ray Data gives a chat."""
    return prompt if isinstance(prompt, str) else [dict(turn) for turn in prompt]


def _without_answer(error: str | None) -> dict[str, Any]:
    empty = {"text": "", "ids": [], "finish_reason": "error", "forwards": 0, "tokens": 0}
    return {**empty, "error": error or UNFINISHED}


def _explain(answers: Sequence[dict[str, Any]], failure: Exception) -> None:
    """Add the failure of the denoiser to the rows that it left unfinished."""
    cause = failure.__cause__ or failure
    for answer in answers:
        if answer["error"] == UNFINISHED:
            answer["error"] = f"{UNFINISHED}: {type(cause).__name__}: {cause}"


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
