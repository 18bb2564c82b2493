"""What `dsldec run` does: every prompt decoded under a policy, every result kept the moment it exists.

Not here: how options are spelt (`cli`), where prompts come from (`prompts`), what a results file holds
(`results`).
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from ..diagnostics import Diagnostic, PolicyError, UsageError
from ..policy import Policy
from ..terminal import bare, data, printable
from . import quoted, quoted_path
from .differences import digest, noted
from .prompts import INPUT, Prompt, read
from .results import STANDARD_OUTPUT, InOrder, Result, ResultsFile, Tally
from .settings import chosen

if TYPE_CHECKING:
    from rich.console import Console

    from ..models.huggingface import HuggingFaceDenoiser
    from ..runtime.rows import Row
    from ..runtime.trace import StepEvent

DECODED, FAILED, INTERRUPTED = 0, 1, 130
# The options that an answer depends on: drafts, and how and where rows are fed, change none but for rounding.
DECIDING = (
    "model", "mask_id", "eos_id", "shift_logits", "block_length", "dtype", "raw", "infill", "gen_length", "cache", "seed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the command line asked for; None where it left the choice to us."""

    prompts: tuple[str, ...] = ()
    file: str | None = None
    policy: str = "threshold"
    settings: tuple[str, ...] = ()
    model: str | None = None
    trust_remote_code: bool = False
    mask_id: int | None = None
    eos_id: int | None = None
    shift_logits: bool | None = None
    block_length: int | None = None
    all_ids: bool = False
    dtype: str = "float32"
    device: str | None = None
    raw: bool = False
    infill: bool = False
    gen_length: int | None = None
    batch: int = 8
    lookahead: int | None = None
    verify_rows: str = "batch"
    cache: str = "auto"
    seed: int = 0
    backend: str = "auto"
    out: str | None = None
    resume: bool = False
    live: bool | None = None


# Hears of every step of the prompt at a place.
Watch = Callable[[int, "StepEvent"], None]


class Display(Protocol):
    """Something that shows a run as it goes. A place counts the prompts of this run from 0."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def finished(self, place: int, result: Result) -> None: ...


def run(options: RunOptions) -> int:
    """Decode, and return the exit status. Raises UsageError and PolicyError before the first result, if at
    all.
    """
    if options.out == "/dev/stdout":
        options = replace(options, out=STANDARD_OUTPUT)
    with _termination_interrupts(), _log_on_stderr(), ExitStack() as open_things:
        prompts = read(options.prompts, options.file)
        if options.resume and options.out is None:
            help = "name the file to continue: `--out results.jsonl --resume`"
            raise UsageError(Diagnostic("E0423", "`--resume` needs `--out`", help=help))
        if options.infill and options.gen_length is not None:
            help = "leave `--gen-length` out: the gaps give the number of tokens, `[MASK*8]` is eight"
            raise UsageError(Diagnostic("E0423", "`--gen-length` cannot be used with `--infill`", help=help))
        policy = chosen(options.policy, options.settings)
        policy.drafts(options.lookahead)  # told before anything is loaded
        if options.seed and policy.facts.deterministic:
            help = "leave it out, or let the policy draw: `draw gumbel(temperature=0.7)` after `window`"
            message = (
                f"`--seed {options.seed}` has no effect: the policy `{policy.name}` draws nothing at random"
            )
            _say(str(Diagnostic("W0401", message, help=help)))
        file = None
        if options.out is not None:
            file = ResultsFile(options.out, prompts, resume=options.resume, made_by=_made_by(policy, options))
            open_things.callback(file.close)  # it is ours from here on, whatever comes before its first line
            _tell_of_file(file, prompts)
        work = [prompt for prompt in prompts if file is None or prompt.id not in file.finished]
        tally = Tally(len(work), earlier=len(prompts) - len(work))
        if not work:
            assert file is not None  # there are prompts, and only a file has answers
            with file:  # what was cut off goes all the same
                pass
            _say(
                f"nothing is left to do: {quoted_path(options.out)} has an answer to each of the {len(prompts)} prompts"
            )
            return DECODED
        if file is not None and file.retried:
            _say(f"tried again, since they failed before: {file.retried} of {len(work)} prompts")
        try:
            _decode_all(work, policy, options, file, tally)
        except KeyboardInterrupt:
            _say(tally.interrupted(options.out))
            return INTERRUPTED
        except UsageError as mistake:
            if (
                tally.decoded and mistake.diagnostic.code != "E0439"
            ):  # then nothing is kept where it should be
                _say(tally.interrupted(options.out))
            raise
        for line in tally.errors():
            _say(line)
        _say(tally.summary())
        return FAILED if tally.failed else DECODED


def _tell_of_file(file: ResultsFile, prompts: Sequence[Prompt]) -> None:
    """Warnings about the lines of a results file."""
    if file.unlocked is not None:
        _say(str(file.unlocked))
    if file.torn:
        lines = f"{file.torn} line{'s' * (file.torn != 1)}"
        _say(
            f"{lines} of {quoted_path(file.name)} removed, cut off by a crash: the prompts are decoded again"
        )
    if moved := dict.fromkeys(name for prompt in prompts for name in prompt.moved):
        names = ", ".join(f"`{name}`" for name in moved)
        _say(f"input fields with the name of a result's field are under `{INPUT}` in the results: {names}")


def _decode_all(
    work: Sequence[Prompt], policy: Policy, options: RunOptions, file: ResultsFile | None, tally: Tally
) -> None:
    from ..models.huggingface import from_pretrained

    denoiser = from_pretrained(
        options.model,
        trust_remote_code=options.trust_remote_code,
        mask_id=options.mask_id,
        eos_id=options.eos_id,
        shift_logits=options.shift_logits,
        block_length=options.block_length,
        all_ids=options.all_ids,
        dtype=options.dtype,
        device=options.device,
        raw=options.raw,
    )
    watch, displays = _displays(work, policy, denoiser, options)
    results = _results(work, denoiser, policy, options, watch)
    with ExitStack() as open_things:
        if file is not None:
            open_things.enter_context(file)
        for display in displays:
            open_things.enter_context(display)
        tally.start()
        for place, result in results:
            if file is not None:
                file.append(result)
            tally.add(result)
            for display in displays:
                display.finished(place, result)
        tally.stop()


def _results(
    work: Sequence[Prompt],
    denoiser: HuggingFaceDenoiser,
    policy: Policy,
    options: RunOptions,
    watch: Watch | None,
) -> Iterator[tuple[int, Result]]:
    """Every prompt's result with its place in `work`, as each is finished; after a failure of the denoiser,
    the failed ones.
    """
    unfinished = dict(enumerate(work))
    try:
        for place, result in _attempted(work, denoiser, policy, options, watch):
            del unfinished[place]
            yield place, result
    except (UsageError, PolicyError, AssertionError, KeyboardInterrupt, GeneratorExit):
        raise
    except _NotShown as failure:
        raise failure.__cause__ or failure from None
    except BaseException as failure:
        # The one broad catch: a model is other people's code and may raise anything half-way through a long
        # run (`sys.exit`, a panic of a tokenizer in Rust), on an accelerator even later than where it failed.
        # What is finished is kept already; the rest gets a line that says why there is no answer.
        error = _failed(failure, options)
        for place, prompt in unfinished.items():
            yield place, Result(prompt, error=error)


class _NotShown(Exception):
    """The live view could not be shown; `__cause__` is why. It is no failure of the denoiser's, though that
    is where it comes from.
    """


def _told(watch: Watch, place: int, event: StepEvent) -> None:
    try:
        watch(place, event)
    except Exception as failure:
        raise _NotShown from failure


def _attempted(
    work: Sequence[Prompt],
    denoiser: HuggingFaceDenoiser,
    policy: Policy,
    options: RunOptions,
    watch: Watch | None,
) -> Iterator[tuple[int, Result]]:
    from ..models.denoiser import too_long
    from ..runtime.decode import stream

    gen_length = 0 if options.infill else _gen_length(options, denoiser)
    fitting: list[tuple[int, list[int]]] = []
    for place, prompt in enumerate(work):
        ids, error = _encoded(denoiser, prompt, options)
        if error := error or too_long(denoiser, len(ids), gen_length):
            yield place, Result(prompt, error=error)
        else:
            fitting.append((place, ids))
    unfilled = (
        []
        if options.infill
        else [work[place] for place, ids in fitting if denoiser.mask_id in ids or "[MASK" in work[place].text]
    )
    if unfilled:
        also = f" and {len(unfilled) - 1} more" * (len(unfilled) > 1)
        _say(
            f"masks in a prompt are not filled (prompt {quoted(str(unfilled[0].id))}{also}): use `--infill` to fill them"
        )
    rows = stream(
        denoiser,
        [ids for _, ids in fitting],
        policy,
        gen_length=gen_length or None,
        backend=options.backend,
        seed=options.seed,
        request_ids=[work[place].number for place, _ in fitting],
        batch=options.batch,
        lookahead=options.lookahead,
        verify_rows=options.verify_rows,
        infill=options.infill,
        cache=options.cache,
        on_step=None if watch is None else lambda event: _told(watch, fitting[event.index][0], event),
    )
    for row in rows if fitting else ():
        place = fitting[row.index][0]
        yield place, _result(work[place], row, denoiser, options)


def _encoded(
    denoiser: HuggingFaceDenoiser, prompt: Prompt, options: RunOptions
) -> tuple[list[int], Diagnostic | None]:
    try:
        return list((denoiser.encode_gaps if options.infill else denoiser.encode)(prompt.text)), None
    except UsageError as mistake:
        if not options.infill:
            raise
        return [], mistake.diagnostic  # a text without a gap; the others have theirs
    except KeyboardInterrupt:
        raise
    except BaseException as failure:  # other people's code, as the model: it fails this prompt, and no other
        return [], _failed(failure, options, what="the tokenizer failed on this prompt")


def _result(prompt: Prompt, row: Row, denoiser: HuggingFaceDenoiser, options: RunOptions) -> Result:
    if row.error is not None:
        return Result(prompt, error=row.error)
    ids = row.ids[row.prompt_length :].tolist()
    try:
        text = denoiser.filled(prompt.text, row.ids.tolist()) if options.infill else denoiser.decode_text(ids)
    except KeyboardInterrupt:
        raise
    except BaseException as failure:
        why = _failed(failure, options, what="the tokenizer failed to make a text of the generated ids")
        return Result(prompt, ids=tuple(ids), error=why)
    drafts = (row.proposed, row.accepted)
    return Result(
        prompt,
        text,
        tuple(ids),
        int(row.forwards),
        int(row.rows),
        int(row.tokens),
        float(row.seconds),
        *drafts,
    )


def _gen_length(options: RunOptions, denoiser: HuggingFaceDenoiser) -> int:
    gen_length = int(denoiser.gen_length if options.gen_length is None else options.gen_length)
    if denoiser.max_length is not None and gen_length >= denoiser.max_length:
        message = f"`--gen-length {gen_length}` leaves no room for a prompt: the model takes {denoiser.max_length} tokens in all"
        raise UsageError(
            Diagnostic(
                "E0430", message, help=f"for example `--gen-length {max(1, denoiser.max_length // 2)}`"
            )
        )
    return gen_length


def _failed(failure: BaseException, options: RunOptions, what: str = "") -> Diagnostic:
    """Why there is no answer; `what`: whose failure it is, if not that of whoever raised it."""
    from ..models.denoiser import memory_ran_out
    from ..runtime.forward import DenoiserFailed

    if os.environ.get("DSLDEC_DEBUG"):
        traceback.print_exception(failure)
    whose = "the denoiser" if isinstance(failure, DenoiserFailed) else "decoding"
    what = what or f"{whose} failed before this prompt was finished"
    failure = (
        failure.__cause__
        if isinstance(failure, DenoiserFailed) and failure.__cause__ is not None
        else failure
    )
    first_line = next(iter(str(failure).strip().splitlines()), "")
    why = f"{type(failure).__name__}{': ' * bool(first_line)}{printable(first_line)[:300]}"
    help = "`DSLDEC_DEBUG=1` shows where"
    if memory_ran_out(failure):
        help = f"{_less_memory(options)}; {help}"
    return Diagnostic("E0410", f"{what}: {why}", help=help)


def _less_memory(options: RunOptions) -> str:
    if options.batch > 1:
        return f"fewer prompts side by side need less memory: `--batch {options.batch // 2}`"
    halved = " and `--dtype bfloat16` halves the model" if options.dtype == "float32" else ""
    return f"a smaller `--gen-length` makes the canvas shorter{halved}"


def _displays(
    work: Sequence[Prompt], policy: Policy, denoiser: HuggingFaceDenoiser, options: RunOptions
) -> tuple[Watch | None, list[Display]]:
    """What shows this run, and who of them wants to hear of every step."""
    console = _live_console(options)
    displays: list[Display] = []
    answers_on_console = console is not None and console.file is bare(sys.stdout)
    if options.out is None and not answers_on_console:
        displays.append(PlainAnswers(data(), many=len(work) > 1))
    if console is not None:
        from .live import LiveDisplay

        live = LiveDisplay(console, _title(policy), denoiser, work, print_answers=answers_on_console)
        return live.step, [*displays, live]
    # Answers printed to the same terminal would run into the bar.
    if len(work) > 1 and sys.stderr.isatty() and not (displays and sys.stdout.isatty()):
        displays.append(Bar(len(work)))
    return None, displays


def _live_console(options: RunOptions) -> Console | None:
    on_stdout = options.out != STANDARD_OUTPUT and sys.stdout.isatty()
    if not (on_stdout and os.environ.get("TERM") != "dumb" if options.live is None else options.live):
        return None
    from rich.console import Console

    # Asked for while standard output goes elsewhere: the answers go there, the view to the terminal that is
    # left.
    return Console(
        file=bare(
            sys.stderr
            if not on_stdout and (sys.stderr.isatty() or options.out == STANDARD_OUTPUT)
            else sys.stdout
        )
    )


def _made_by(policy: Policy, options: RunOptions) -> dict[str, Any]:
    """The settings that decide an answer: the policy's name, and under `run` all settings with a digest."""
    said = {name: getattr(options, name) for name in DECIDING}
    if options.model is not None and os.path.exists(options.model):
        said["model"] = os.path.realpath(options.model)
    # A file that was written before there was this option says nothing of it.
    said |= {"all_ids": True} if options.all_ids else {}
    # Of the caches, only those that approximate change an answer.
    said["cache"] = options.cache if options.cache in ("prefix", "dual") else None
    whole = json.dumps([str(policy.program), policy.parameters, said], sort_keys=True)
    return {"policy": _title(policy), "run": {"digest": digest(whole), **noted(policy, said)}}


def _title(policy: Policy) -> str:
    tables = {
        name: "..." for name, value in policy.parameters.items() if isinstance(value, tuple)
    }  # a number for each id
    said = policy.parameters | tables
    values = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in said.items()
    )
    return f"{policy.name}({values})"


class PlainAnswers:
    """The answers as text, in the order of the prompts; each under its prompt where there are several."""

    def __init__(self, stream: TextIO, many: bool) -> None:
        self._stream = stream
        self._many = many
        self._results = InOrder[Result]()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for result in self._results.rest():
            self._print(result)

    def finished(self, place: int, result: Result) -> None:
        self._results.put(place, result)
        for ready in self._results.ready():
            self._print(ready)

    def _print(self, result: Result) -> None:
        text = result.text if result.error is None else f"(no answer: {result.error.message})"
        if self._many:
            text = "\n".join(f"> {line}" for line in result.prompt.text.split("\n")) + f"\n{text}\n"
        elif result.error is not None:
            return
        print(text, file=self._stream, flush=True)


class Bar:
    """A progress bar on standard error."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(file=bare(sys.stderr))
        self._progress = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._progress.add_task("prompts", total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def finished(self, place: int, result: Result) -> None:
        self._progress.advance(self._task)


def _say(line: str) -> None:
    if sys.stderr is not None:  # closed, `2>&-`: it would go among the answers
        print(line, file=sys.stderr, flush=True)


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Inside, SIGTERM is what Ctrl-C is. Only the main thread may say so; elsewhere signals stay as they are."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _log_on_stderr() -> Iterator[None]:
    """Inside, what the layers below have to say (which backend was chosen, and why) is a line on standard
    error.
    """
    logger, handler, before = (
        logging.getLogger("dsldec"),
        logging.StreamHandler(),
        logging.getLogger("dsldec").level,
    )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
