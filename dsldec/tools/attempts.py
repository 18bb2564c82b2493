"""Decodes the prompts of a run: for each prompt its result, an answer or the reason why there is none.

A failure of one prompt does not end the run. Not here: the use of a result (`run`), the loop of a batch
(`runtime`).
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from ..checks.values import Value
from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..options import DecodeOptions
from ..policy import Policy
from ..runtime.prompt_options import PromptOptions, options_of_prompts, patterns_given, prompt_options
from ..terminal import printable
from . import quoted
from .displays import Watch
from .line_options import with_line
from .process import say
from .prompts import Prompt
from .results import Result

if TYPE_CHECKING:
    from ..models.huggingface import HuggingFaceDenoiser
    from ..runtime.rows import Row
    from ..runtime.trace import StepEvent


class _ViewFailedError(Exception):
    """The live view failed; `__cause__` is why. It is raised inside the decoding, and is no failure of the
    denoiser.
    """


@dataclass(frozen=True, slots=True)
class Attempts:
    """Decodes prompts with one denoiser, policy and set of options. `dtype`: of the model; `watch` is called
    after each step; `parameters`: for each prompt the values that replace those of the policy.
    """

    denoiser: HuggingFaceDenoiser
    policy: Policy
    options: DecodeOptions
    dtype: str = "float32"
    watch: Watch | None = None
    parameters: Sequence[Mapping[str, Value]] | None = None

    def results(self, work: Sequence[Prompt]) -> Iterator[tuple[int, Result]]:
        """The result of each prompt with its place in `work`, as each is finished; after a failure of the
        denoiser, the failed ones.
        """
        unfinished = dict(enumerate(work))
        try:
            for place, result in self._attempted(work):
                del unfinished[place]
                yield place, result
        except (UsageError, PolicyError, AssertionError, KeyboardInterrupt, GeneratorExit):
            raise
        except _ViewFailedError as failure:
            raise failure.__cause__ or failure from None
        except BaseException as failure:
            # The one broad catch: a model is third-party code and may raise anything in the middle of a long
            # run (`sys.exit`, a panic of a tokenizer in Rust), on an accelerator even after the call that
            # failed. Finished results are stored already; each of the others gets a line with the reason.
            error = self._failed(failure)
            for place, prompt in unfinished.items():
                yield place, Result(prompt, error=error)

    def _attempted(self, work: Sequence[Prompt]) -> Iterator[tuple[int, Result]]:
        from ..runtime.constraints import facts_of
        from ..runtime.decode import stream_rows

        default = 0 if self.options.infill else self._gen_length()
        self._require_template(work)
        # The samples of a prompt are side by side, and are encoded once.
        prompts = [
            list(of) for _, of in groupby(enumerate(work), lambda one: (one[1].number, self._values(one[0])))
        ]
        fitting: list[tuple[list[int], list[int], PromptOptions]] = []  # places in `work`, ids, options
        for samples in prompts:
            prompt, places = samples[0][1], [place for place, _ in samples]
            own = self._options_of(prompt, [one.sample for _, one in samples], default)
            own = replace(own, parameters=self._values(places[0]))
            ids, error = self._encoded(prompt, own)
            if error is None:
                fitting.append((places, ids, own))
            else:
                yield from ((place, Result(one, error=error)) for place, one in samples)
        if not fitting:
            return
        if not self.options.infill:
            self._warn_of_masks([(work[places[0]], ids) for places, ids, _ in fitting])
        request_ids = [work[places[0]].number for places, _, _ in fitting]
        logprobs = any(with_line(self.options, work[places[0]].given).logprobs for places, _, _ in fitting)
        options = replace(
            self.options, gen_length=None, system=None, request_ids=request_ids, logprobs=logprobs
        )
        each_place = [place for places, _, _ in fitting for place in places]

        def on_step(event: StepEvent) -> None:
            assert self.watch is not None
            try:
                self.watch(each_place[event.index], event)
            except Exception as failure:
                raise _ViewFailedError from failure

        watch = None if self.watch is None else on_step
        each = [own for _, _, own in fitting]
        encoded = [ids for _, ids, _ in fitting]
        for line in facts_of(self.policy, each, self.denoiser, self.options.infill):
            say(line)
        for row in stream_rows(self.denoiser, encoded, self.policy, options, watch, each):
            place = each_place[row.index]
            yield place, self._result(work[place], row)

    def _values(self, place: int) -> Mapping[str, Value]:
        return {} if self.parameters is None else self.parameters[place]

    def _gen_length(self) -> int:
        """The tokens to generate for a prompt whose line sets none. Raises `UsageError` (E0430, E0409)."""
        given, most = self.options.gen_length, self.denoiser.max_length
        gen_length = given if isinstance(given, int) else self.denoiser.gen_length
        if most is not None and gen_length >= most:
            message = f"`--gen-length {gen_length}` leaves no room for a prompt: the model takes {most} tokens in all"
            help = f"for example `--gen-length {max(1, most // 2)}`"
            raise UsageError(Diagnostic("E0430", message, help=help))
        options_of_prompts(replace(self.options, gen_length=gen_length), 1)
        return gen_length

    def _require_template(self, work: Sequence[Prompt]) -> None:
        """Raise `UsageError` (E0409) where messages or a system turn are given and there is no template."""
        from ..models.huggingface import require_template

        if (
            any(prompt.messages is not None or "system" in prompt.given for prompt in work)
            or self.options.system
        ):
            require_template(self.denoiser.reader, self.denoiser.raw)

    def _options_of(self, prompt: Prompt, samples: Sequence[int], gen_length: int) -> PromptOptions:
        """The options of a prompt's samples. `gen_length`: where its line sets none."""
        options = with_line(self.options, prompt.given)
        (pattern,) = patterns_given(options, 1)
        own = prompt_options(options, prompt.given.get("gen_length", gen_length), pattern)
        return replace(own, samples=tuple(samples))

    def _encoded(self, prompt: Prompt, own: PromptOptions) -> tuple[list[int], Diagnostic | None]:
        """The ids of a prompt, or why the model does not take it."""
        from ..models.denoiser import too_long, unknown_id
        from ..runtime.prompts import ids_of as encoded

        chat = prompt.messages is not None or own.system is not None
        try:
            ids = encoded(self.denoiser, prompt.asked, self.options.infill, own.system)
        except UsageError as mistake:
            if not (self.options.infill or chat):
                raise
            return [], mistake.diagnostic  # a text without a gap, a chat that the template refuses
        except KeyboardInterrupt:
            raise
        except BaseException as failure:  # third-party code, like the model: only this prompt fails
            return [], self._failed(failure, "the tokenizer failed on this prompt")
        gen_length = 0 if self.options.infill else own.gen_length
        problem = None if self.options.infill else own.problem()
        return ids, problem or unknown_id(self.denoiser, ids) or too_long(self.denoiser, len(ids), gen_length)

    def _warn_of_masks(self, encoded: Sequence[tuple[Prompt, list[int]]]) -> None:
        mask_id = self.denoiser.mask_id
        masked = [prompt for prompt, ids in encoded if mask_id in ids or "[MASK" in prompt.text]
        if masked:
            more = f" and {len(masked) - 1} more" * (len(masked) > 1)
            which = f"prompt {quoted(str(masked[0].id))}{more}"
            say(f"masks in a prompt are not filled ({which}): use `--infill` to fill them")

    def _result(self, prompt: Prompt, row: Row) -> Result:
        if row.error is not None:
            return Result(prompt, error=row.error)
        from ..runtime.decoded import text_of

        ids = row.ids[row.prompt_length :].tolist()
        try:
            if self.options.infill:
                text = self.denoiser.filled(prompt.text, row.ids.tolist())
            else:
                text = text_of(self.denoiser, row) or ""
        except KeyboardInterrupt:
            raise
        except BaseException as failure:
            why = self._failed(failure, "the tokenizer failed to make a text of the generated ids")
            return Result(prompt, ids=tuple(ids), error=why)
        return Result(
            prompt,
            text,
            tuple(ids),
            int(row.forwards),
            int(row.rows),
            int(row.tokens),
            float(row.seconds),
            row.proposed,
            row.accepted,
            finish_reason=row.finish_reason,
            logprobs=row.logprobs if with_line(self.options, prompt.given).logprobs else None,
            trajectory=row.trajectory,
        )

    def _failed(self, failure: BaseException, what: str = "") -> Diagnostic:
        """Why there is no answer; `what`: the failed part, if it is not the one that raised `failure`."""
        from ..models.denoiser import memory_ran_out
        from ..runtime.forward import DenoiserFailed

        if os.environ.get("DSLDEC_DEBUG"):
            traceback.print_exception(failure)
        whose = "the denoiser" if isinstance(failure, DenoiserFailed) else "decoding"
        what = what or f"{whose} failed before this prompt was finished"
        if isinstance(failure, DenoiserFailed) and failure.__cause__ is not None:
            failure = failure.__cause__
        first_line = next(iter(str(failure).strip().splitlines()), "")
        why = f"{type(failure).__name__}{': ' * bool(first_line)}{printable(first_line)[:300]}"
        help = "`DSLDEC_DEBUG=1` shows where"
        if memory_ran_out(failure):
            help = f"{self._less_memory()}; {help}"
        return Diagnostic("E0410", f"{what}: {why}", help=help)

    def _less_memory(self) -> str:
        batch = self.options.batch
        if batch > 1:
            return f"fewer prompts side by side need less memory: `--batch {batch // 2}`"
        halved = " and `--dtype bfloat16` halves the model" if self.dtype == "float32" else ""
        return f"a smaller `--gen-length` makes the canvas shorter{halved}"
