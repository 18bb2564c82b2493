"""Converts the values that a caller gives to parameters, and checks that each parameter takes its value.

Not here: the default values in a policy's text (`checks.parameters`).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from typing import Any

from . import checks
from .checks.parameters import MOST_NUMBERS, unfit
from .checks.values import Value
from .diagnostics import Diagnostic, Severity, did_you_mean
from .ir.nodes import Program, ProgramParameter
from .language.words import Extent, Kind, Type
from .networks.network import LearnedNetwork
from .networks.network_file import read_network
from .patterns import Pattern
from .spelling import LONGEST_SHOWN, reads_flags, setting
from .synonyms import UnknownArgument, advice


def misfit(
    program: Program,
    bound: Mapping[str, Value],
    name: str,
    value: object,
    options: frozenset[str] = frozenset(),
) -> Diagnostic | None:
    """The diagnostic (E0402, E0403) about a value that the parameter `name` of a program does not take.

    `bound`: the present values; `options`: the other arguments of the function that was called.
    """
    parameter = program.parameters.get(name)
    if parameter is None:
        close = did_you_mean(name, program.parameters)
        known = ", ".join(f"`{known}`" for known in program.parameters)
        help_ = (
            f"did you mean `{close}`?" if close else f"its parameters are {known}" if known else "it has none"
        )
        help_ = advice(UnknownArgument(name, value, "{}", bound, options)) or help_
        return Diagnostic("E0403", f"the policy `{program.name}` has no parameter `{name}`", help=help_)
    if parameter.choices:
        return _no_choice(name, parameter.choices, value)
    if problem := unfit(parameter.kind, value):
        example = _example(name, parameter)
        message = f"`{name}` is of kind `{parameter.kind}`, and {_in_words(value)} is {problem}"
        return Diagnostic("E0402", message, help=f"for example {example}")
    if isinstance(value, LearnedNetwork):
        return _of_other_inputs(program, name, value)
    if isinstance(value, tuple | str):
        return None
    assert isinstance(value, int | float)
    low, high = parameter.smallest, parameter.largest
    if low is not None and high is not None and not low <= value <= high:
        return Diagnostic(
            "E0402",
            f"`{name}` lies in {low}..{high}, and `{value}` is outside",
            help=f"for example {_example(name, parameter)}",
        )
    return None


def _no_choice(name: str, choices: tuple[str, ...], value: object) -> Diagnostic | None:
    if isinstance(value, str) and value in choices:
        return None
    close = did_you_mean(value[:LONGEST_SHOWN], choices) if isinstance(value, str) else None
    known = ", ".join(f"`{one}`" for one in choices)
    help_ = f"did you mean {setting(name, close)}?" if close else f"for example {setting(name, choices[0])}"
    return Diagnostic("E0402", f"`{name}` is one of {known}, not {_in_words(value)}", help=help_)


def converted(program: Program, name: str, value: Any) -> Value:
    """A value in the form in which a parameter stores it: a network from the path of its file. Raises
    `WrongNetwork`.
    """
    parameter = program.parameters.get(name)
    kind = None if parameter is None else parameter.kind
    if kind is Kind.PATTERN:
        return pattern_text(value)
    of_network = kind is Kind.NETWORK and isinstance(value, str | os.PathLike)
    return read_network(value) if of_network else plain(value)


def unbound(program: Program, bound: Mapping[str, Value]) -> Diagnostic | None:
    """The diagnostic (E0507) about a network that the policy reads and that is not bound."""
    for name, parameter in program.parameters.items():
        if parameter.default is None and name not in bound:
            message = f"the policy `{program.name}` needs a network for its parameter `{name}`"
            return Diagnostic("E0507", message, help=f"bind one: {_example(name, parameter)}")
    return None


def misfits_of_outputs(program: Program, bound: Mapping[str, Value]) -> list[Diagnostic]:
    """The errors in the policy's text with the kinds and polarities of the bound networks. For example, a
    score after `by` must not be low when the denoiser is sure.
    """
    outputs = {
        name: Type(value.kind, Extent.POSITION, value.polarity)
        for name, value in bound.items()
        if isinstance(value, LearnedNetwork)
    }
    if all(type_ == Type(Kind.REAL, Extent.POSITION) for type_ in outputs.values()):
        return []  # the policy was checked for these
    checked, diagnostics = checks.check(program.facts.bound.resolved.policy.span.source, outputs)
    return [] if checked is not None else [d for d in diagnostics if d.severity is Severity.ERROR]


def _of_other_inputs(program: Program, name: str, network: LearnedNetwork) -> Diagnostic | None:
    given = program.facts.networks.get(name, network.inputs)
    if given == network.inputs:
        return None
    names = f": {', '.join(f'`{one}`' for one in network.input_names)}" if network.input_names else ""
    message = f"the network for `{name}` has {network.inputs} inputs, and the policy gives it {given}"
    calls = f"`learned({name}, ...)`"
    return Diagnostic(
        "E0506", message, help=f"{calls} needs {network.inputs} inputs{names[: LONGEST_SHOWN * 4]}"
    )


def _example(name: str, parameter: ProgramParameter) -> str:
    if parameter.kind is Kind.PATTERN:
        return setting(name, "[0-9]+")
    if parameter.kind is not Kind.NETWORK:
        return setting(name, parameter.default)
    return f"`--set {name}=@net.safetensors`" if reads_flags() else f'`{name}="net.safetensors"`'


def plain(value: Any) -> Value:
    """A number of numpy or torch as a number of Python, a sequence of numbers as a table; anything else
    unchanged, for `misfit` to report.
    """
    if isinstance(value, list | tuple):
        return tuple(_number(one) for one in value) if len(value) <= MOST_NUMBERS else value  # type: ignore[return-value]
    shape = (len(value),) if isinstance(value, array) else getattr(value, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 1 and hasattr(value, "tolist") and shape[0] <= MOST_NUMBERS:
        try:
            return tuple(value.tolist())
        except Exception:  # a tensor without numbers (`meta`), or another object with such a shape
            return value  # type: ignore[no-any-return]
    return _number(value)  # type: ignore[no-any-return]


def pattern_text(value: Any, *, files: bool = False) -> Value:
    """The value of a parameter of kind `pattern`: the text of a regular expression, or of a JSON schema.

    `files`: `@NAME` and a name that ends in `.json` are files. Raises `UsageError` (E0490 to E0494, E0499).
    """
    return Pattern.of(value, files=files).text


def _number(value: Any) -> Any:
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        try:
            return value.item()
        except Exception:  # as above
            return value
    return value


def _in_words(value: object) -> str:
    """A value of any type and length as a message shows it."""
    if isinstance(value, str | bool | float | int) and not (
        isinstance(value, int) and value.bit_length() > 200
    ):
        text = str(value)
        return f"`{text[:LONGEST_SHOWN]}{'…' * (len(text) > LONGEST_SHOWN)}`"
    return "this" if isinstance(value, int | tuple) else f"a value of the type `{type(value).__name__}`"
