"""Decodes the requests of the harness: for each request a row, its text and its costs.

Not here: the interface of the harness (`model`), arguments (`arguments`, `generation`), the bound on a
likelihood (`likelihood`).
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...diagnostics import Diagnostic, UsageError
from ...models.denoiser import too_long
from ...runtime.decode import stream_rows
from ...runtime.prompt_options import PromptOptions, ids_of, patterns_given
from ...runtime.rows import Row
from .arguments import ModelArguments
from .counts import TaskCounts
from .generation import RequestedAnswer, cut, read_generation, sampling_warnings
from .likelihood import Pair
from .texts import Texts

# Under the harness's own logger, whose lines its command shows.
log = logging.getLogger("lm_eval.models.dsldec")


def task_of(request: Any) -> str:
    """The task of a request."""
    return str(getattr(request, "task_name", None) or "requests")


class RequestDecoder:
    """Decodes requests with one denoiser and policy. `counts`: the totals by task."""

    def __init__(self, arguments: ModelArguments, denoiser: Any) -> None:
        self.arguments, self.denoiser = arguments, denoiser
        self.texts = Texts(denoiser, arguments.add_bos_token)
        self.counts: dict[str, TaskCounts] = defaultdict(TaskCounts)
        self._logged: set[str] = set()
        # An answer ends at an id that ends a text or a turn, and at those of the arguments.
        eos_id = getattr(denoiser, "eos_id", None)
        ends = getattr(denoiser, "stop_ids", () if eos_id is None else (eos_id,))
        self._stop_ids = (*ends, *ids_of(arguments.decode.stop_ids))

    @property
    def max_length(self) -> int | None:
        """The most tokens of a prompt and its answer."""
        limit: int | None = getattr(self.denoiser, "max_length", None)
        return limit

    def requested(self, gen_kwargs: Mapping[str, Any]) -> RequestedAnswer:
        for warning in sampling_warnings(gen_kwargs, self.arguments.policy):
            self.warn(warning)
        given: Any = self.arguments.decode.gen_length  # not a list: `read_arguments` refuses one
        wanted = read_generation(gen_kwargs, given, int(getattr(self.denoiser, "gen_length", 256)))
        if self.max_length is not None and wanted.gen_length >= self.max_length:
            message = f"{wanted.gen_length} tokens to generate leave no room for a prompt: the model takes {self.max_length} tokens in all"
            raise UsageError(
                Diagnostic("E0430", message, help=f"for example `gen_length={self.max_length // 2}`")
            )
        return wanted

    def fits(self, request: Any, prompt: Sequence[int], wanted: RequestedAnswer) -> bool:
        """Whether the model takes the prompt. If not, the request is counted as failed."""
        problem = too_long(self.denoiser, len(prompt), wanted.gen_length)
        if problem is not None:
            self._fail(request, problem)
        return problem is None

    def rows(
        self,
        places: Sequence[int],
        prompts: Sequence[Sequence[int]],
        wanted: Sequence[RequestedAnswer],
        ids: Sequence[int],
    ) -> Iterator[tuple[int, Row]]:
        """Each finished row with its place in `prompts`."""
        options = replace(self.arguments.decode, request_ids=[ids[place] for place in places])
        each = [self._options(wanted[place]) for place in places]
        here = [prompts[place] for place in places]
        rows = stream_rows(self.denoiser, here, self.arguments.policy, options, each=each)
        return ((places[row.index], row) for row in rows)

    def _options(self, wanted: RequestedAnswer) -> PromptOptions:
        """The options of a request. With `stop_at_eos=False` every token is decoded, and nothing ends a row."""
        decode = self.arguments.decode
        special, texts = self.texts.special(wanted.until)
        (pattern,) = patterns_given(decode, 1)
        own = PromptOptions(
            wanted.gen_length, min_length=wanted.min_length, seed=int(decode.seed), constrain=pattern
        )
        if not decode.stop_at_eos:
            return own
        return replace(own, stop=texts, stop_ids=(*ids_of(decode.stop_ids), *special))

    def answer(self, request: Any, row: Row, wanted: RequestedAnswer) -> str | None:
        """The text of a finished row, cut at the ends of the request; None where the row failed."""
        if row.error is not None:
            self._fail(request, row.error)
            return None
        special, texts = self.texts.special(wanted.until)
        # `row.text` is without the blanks at its ends; the first line of a program needs its indentation.
        whole = self.texts.decode(row.generated.tolist(), (*self._stop_ids, *special))
        self.counts[task_of(request)].add(row)
        return cut(whole, texts)

    def greedy(self, pairs: Sequence[Pair], ids: Sequence[int]) -> list[bool]:
        """For each pair whether the policy decodes exactly its answer, in a canvas of the answer's length."""
        same = [not pair.answer for pair in pairs]
        places = [place for place, pair in enumerate(pairs) if pair.answer]
        wanted = [RequestedAnswer(len(pair.answer)) for pair in pairs]
        for place, row in self.rows(places, [pair.prompt for pair in pairs], wanted, ids):
            same[place] = row.error is None and tuple(row.generated.tolist()) == pairs[place].answer
        return same

    def _fail(self, request: Any, why: Diagnostic) -> None:
        self.counts[task_of(request)].fail(why)
        message = f'a request of `{task_of(request)}` has no answer and counts as "": {why.message}'
        self.warn(Diagnostic("E0410", message, help=why.help))

    def warn(self, diagnostic: Diagnostic | None) -> None:
        """Log each message once."""
        if diagnostic is not None and diagnostic.message not in self._logged:
            self._logged.add(diagnostic.message)
            log.warning("%s", diagnostic)

    def log_counts(self, requests: Sequence[Any], seconds: float) -> None:
        """Log the totals of the tasks of these requests, which took so much time together."""
        for task, number in sorted(Counter(map(task_of, requests)).items()):
            counts = self.counts[task]
            counts.seconds += seconds * number / len(requests)  # tasks share batches
            log.info("%s: %s", task, counts.sentence())
            if counts.failed:
                whole = counts.failed + counts.answers
                log.warning("%s: %d of %d requests have no answer", task, counts.failed, whole)
