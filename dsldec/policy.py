"""A policy in a program's hands: loaded, checked, bound to parameter values, compiled on demand.

Not here: how a policy is checked (`checks`) or how a step runs (`backends`, imported when a step is asked for).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import checks
from .checks.facts import Facts
from .checks.kinds import MOST_DRAFTS
from .checks.parameters import unfit
from .checks.values import Value
from .diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from .ir.lower import lower
from .ir.nodes import Program
from .resources import policy_file, shipped_policies
from .source import Source

if TYPE_CHECKING:
    from .backends.step import Function, Step

LARGEST_FILE = 1024 * 1024

# What a compiled step depends on: backend, mask id, end-of-text id, values of the static parameters.
Compiled = tuple[str, int, int | None, tuple[tuple[str, Value], ...]]


class Policy:
    """A checked policy bound to parameter values. Made by `load`, `check` and `bind`, never changed."""

    def __init__(self, program: Program, parameters: Mapping[str, Value], functions: dict[Compiled, Function]) -> None:
        self._program = program
        self._parameters = dict(parameters)
        self._functions = functions  # shared by all policies bound from one: with equal static values, steps differ in inputs alone

    def __repr__(self) -> str:
        shown = {name: "..." if isinstance(value, tuple) else value for name, value in self._parameters.items()}
        values = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"Policy({self.name}: {values})"

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def doc(self) -> str:
        """The policy's own description."""
        return self._program.doc

    @property
    def facts(self) -> Facts:
        """What was proved before it runs: bound on forwards, floor, dynamic parameters, ..."""
        return self._program.facts

    @property
    def program(self) -> Program:
        """The operations of one step; `str()` prints them."""
        return self._program

    @property
    def parameters(self) -> dict[str, Value]:
        """The values the parameters are bound to."""
        return dict(self._parameters)

    @property
    def parameter_kinds(self) -> dict[str, str]:
        """The kind of each parameter: `prob`, `nats`, `logit`, `real`, `int`, `token`, `bool` or `table`."""
        return {name: str(parameter.kind) for name, parameter in self._program.parameters.items()}

    def bind(self, /, **parameters: Value) -> Policy:
        """This policy with other parameter values; steps already compiled are shared where the static ones are the same.

        Raises `PolicyError` (E0402, E0403) for a name or value that does not fit.
        """
        parameters = {name: _plain(value) for name, value in parameters.items()}
        wrong = [d for name, value in parameters.items() if (d := self._misfit(name, value)) is not None]
        if wrong:
            raise PolicyError(wrong)
        return Policy(self._program, self._parameters | parameters, self._functions)

    def _misfit(self, name: str, value: object) -> Diagnostic | None:
        parameter = self._program.parameters.get(name)
        if parameter is None:
            close = did_you_mean(name, self._program.parameters)
            known = ", ".join(f"`{known}`" for known in self._program.parameters)
            help_ = f"did you mean `{close}`?" if close else f"its parameters are {known}" if known else "it has none"
            return Diagnostic("E0403", f"the policy `{self.name}` has no parameter `{name}`", help=help_)
        if problem := unfit(parameter.kind, value):
            example = f"{name}={parameter.default}"
            shown = "this" if isinstance(value, tuple) else f"`{value}`"
            message = f"`{name}` is of kind `{parameter.kind}`, and {shown} is {problem}"
            return Diagnostic("E0402", message, help=f"for example `{example}`")
        if isinstance(value, tuple):
            return None
        assert isinstance(value, int | float)
        low, high = parameter.smallest, parameter.largest
        if low is not None and high is not None and not low <= value <= high:
            return Diagnostic(
                "E0402", f"`{name}` lies in {low}..{high}, and `{value}` is outside", help=f"for example `{name}={parameter.default}`"
            )
        return None

    def drafts(self, lookahead: int | None = None) -> int:
        """How many drafts a forward verifies: what the policy says or, where it says nothing, what is asked for; 1 drafts nothing.

        Raises `UsageError` (E0409, E0411) for what is no such number, or where both say one.
        """
        if lookahead is None:
            return self.facts.lookahead(self._parameters)
        if not hasattr(lookahead, "__index__") or isinstance(lookahead, bool) or not 1 <= lookahead <= MOST_DRAFTS:
            message = f"`lookahead` is a whole number from 1 to {MOST_DRAFTS}, not `{lookahead}`"
            raise UsageError(Diagnostic("E0409", message, help="for example `lookahead=4`; 1 drafts nothing"))
        drafts = self.facts.drafts
        if drafts is not None:
            help_ = "ask for none, or delete that line"
            if isinstance(drafts, str):
                most = self._program.parameters[drafts].largest
                fits = lookahead if most is None else min(lookahead, int(most))
                help_ = f"set its parameter: `--set {drafts}={fits}`, in Python `{drafts}={fits}`"
            raise UsageError(Diagnostic("E0411", f"the policy `{self.name}` says itself how far it looks ahead", help=help_))
        return lookahead

    def compile(self, backend: str = "eager", *, mask_id: int, eos_id: int | None = None) -> Step:
        """One step of the policy as a pure function of tensors, for models with this mask token and end-of-text token.

        `backend` is `reference`, `eager`, `inductor`, `tensorrt` (needs the extra of that name and an NVIDIA GPU), or `auto`:
        here, for a step that runs often, `inductor` where a compiler is found and else `eager`. Raises `UsageError` (E0404)
        where it cannot run.
        """
        from . import backends

        if backend == "auto":
            backend, _ = backends.choose(backends.LOGITS_THAT_REPAY_COMPILING)
        static = {name: self._parameters[name] for name in self.facts.static}
        key = (backend, mask_id, eos_id, tuple(static.items()))
        if key not in self._functions:
            self._functions[key] = backends.make(self._program, backend, mask_id, eos_id, static)
        return backends.bound(self._program, backend, mask_id, eos_id, self._functions[key], self._parameters)


def _plain(value: Any) -> Value:
    """A number of numpy's or torch's as Python's own, numbers in a row as a table; anything else as it is."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()  # type: ignore[no-any-return]
    return tuple(value.tolist() if hasattr(value, "tolist") else value) if hasattr(value, "tolist") or isinstance(value, list) else value


def check(text: str, name: str = "<string>") -> tuple[Policy | None, list[Diagnostic]]:
    """Check a policy's text: the policy, or `None` where something is wrong, and every diagnostic sorted by place."""
    if not isinstance(text, str):
        return None, [_no_text(text, "a policy's text")]
    checked, diagnostics = checks.check(Source(text, name))
    if checked is None:
        return None, diagnostics
    program = lower(checked)
    defaults = {name: parameter.default for name, parameter in program.parameters.items()}
    return Policy(program, defaults, {}), diagnostics


def load(policy: str | os.PathLike[str], /, **parameters: Value) -> Policy:
    """A policy ready to run, its parameters bound by name.

    `policy` is source text if it holds a line break, a file if it ends in `.policy` or holds a path separator, and
    else the name of a shipped policy. Raises `PolicyError`, whose `diagnostics` say what is wrong and what to type.
    """
    text, name = read(policy)
    found, diagnostics = check(text, name)
    if found is None:
        raise PolicyError(diagnostics)
    return found.bind(**parameters)


def read(policy: str | os.PathLike[str]) -> tuple[str, str]:
    """The text that `load` would check, and the name it is shown under. Raises `PolicyError` (E0103, E0104, E0401)."""
    if not isinstance(policy, str | os.PathLike):
        raise PolicyError([_no_text(policy, "a policy's text, file or name")])
    if isinstance(policy, str) and "\n" in policy:
        return policy, "<string>"
    name = os.fsdecode(policy)  # a path may give bytes
    if name.endswith(".policy") or os.sep in name or "/" in name or not isinstance(policy, str):
        return _read(Path(name)), name
    if name in shipped_policies():
        file = policy_file(name)
        return _read(file), f"policies/{file.name}"
    close = did_you_mean(name, shipped_policies())
    known = ", ".join(f"`{shipped}`" for shipped in shipped_policies())
    help_ = f"did you mean `{close}`?" if close else f"the shipped policies are {known}; a file ends in `.policy`"
    raise PolicyError([Diagnostic("E0401", f"no policy is called `{name}`", help=help_)])


def _no_text(given: object, wanted: str) -> Diagnostic:
    help_ = "decode it first: `.decode()`" if isinstance(given, bytes | bytearray) else 'for example `dsldec.load("threshold")`'
    return Diagnostic("E0103", f"{wanted} is a `str`, not `{type(given).__name__}`", help=help_)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise PolicyError([Diagnostic("E0104", f"`{path}` is larger than a policy may be", help="policies are short texts")])
        return path.read_bytes().decode("utf-8-sig")  # editors on Windows begin a file with a mark
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text: byte {error.start} is none of it"
        raise PolicyError([Diagnostic("E0103", message, help="save the file as UTF-8")]) from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        why = (getattr(error, "strerror", None) or "it cannot be read").lower()
        near = did_you_mean(path.stem, shipped_policies())
        help_ = f"for the shipped policy write `{near}`" if near else "give the path of a `.policy` file"
        raise PolicyError([Diagnostic("E0401", f"`{path}` cannot be read: {why}", help=help_)]) from None
