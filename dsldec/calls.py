"""Diagnostics for calls with wrong arguments.

`arguments_told` decorates a public function and keeps its signature. An unknown, a surplus and a missing
argument raise a `UsageError`, whose help says what to write. Not here: whether a value fits (the functions
themselves), what others call an option (`synonyms`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from .diagnostics import Diagnostic, UsageError, did_you_mean
from .spelling import keyword
from .synonyms import UnknownArgument, advice

P = ParamSpec("P")
R = TypeVar("R")
# How a parameter of a policy is given another value, as in `policy.bind({})`, and its parameters.
InUse = Callable[[object], tuple[str, Mapping[str, Any]] | None]


def checks_arguments(example: str, policy: InUse | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function. `example` is a correct call; `policy` gives the parameters of the policy in a
    call.
    """

    def around(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        places = [one for one in signature.parameters.values() if one.kind is one.POSITIONAL_ONLY]
        nameless = sum(one.default is one.empty for one in places)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                # Python 3.13 binds what lacks an argument that has no name, where keywords of any name are
                # taken.
                if len(args) < nameless:
                    raise TypeError
                signature.bind(*args, **kwargs)
            except TypeError:
                mistake = _mistake(signature, function.__name__, example, args, kwargs, policy)
                raise UsageError(mistake) from None
            return function(*args, **kwargs)

        return called

    return around


def _mistake(
    signature: inspect.Signature,
    name: str,
    example: str,
    args: tuple[Any, ...],
    given: Mapping[str, Any],
    policy: InUse | None,
) -> Diagnostic:
    named = {name: one for name, one in signature.parameters.items() if name != "self"}
    unknown = [
        word for word in given if word not in named or named[word].kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    # Where a function takes keywords of any name, those are none of its mistakes.
    if any(one.kind is one.VAR_KEYWORD for one in named.values()):
        unknown = [word for word in unknown if word in named]
    if unknown and all(word in named for word in unknown):
        return Diagnostic("E0447", f"`{name}` takes `{unknown[0]}` without its name", help=_write(example))
    if unknown:
        said = {
            word: _unknown(word, given[word], named, _in_use(named, args, given, policy)) for word in unknown
        }
        help = (
            next(iter(said.values()))
            if len(said) == 1
            else "; ".join(f"`{word}`: {one}" for word, one in said.items())
        )
        words = ", ".join(f"`{word}`" for word in unknown)
        return Diagnostic("E0447", f"`{name}` takes no {words}", help=help)
    places = [
        word for word, one in named.items() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    args = args[1:] if "self" in signature.parameters else args
    if len(args) > len(places):
        keywords = [word for word, one in named.items() if one.kind is one.KEYWORD_ONLY]
        by_name = (
            f"; these are given by name: {', '.join(f'`{word}=`' for word in keywords)}" if keywords else ""
        )
        number = f"{len(places)} argument{'s' * (len(places) != 1)}"
        message = f"`{name}` takes {number} without a name, and is given {len(args)}"
        return Diagnostic("E0447", message, help=f"{_write(example)}{by_name}")
    if twice := [word for word in places[: len(args)] if word in given]:
        return Diagnostic(
            "E0447", f"`{name}` is given `{twice[0]}` twice, by place and by name", help=_write(example)
        )
    lacking = [
        word
        for word, one in named.items()
        if one.default is one.empty and word not in given and word not in places[: len(args)]
    ]
    lacking = [
        word
        for word in lacking
        if named[word].kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    return Diagnostic(
        "E0447", f"`{name}` lacks {', '.join(f'`{word}`' for word in lacking)}", help=_write(example)
    )


def _write(example: str) -> str:
    return f"write `{example}`"


def _in_use(
    named: Mapping[str, inspect.Parameter],
    args: tuple[Any, ...],
    given: Mapping[str, Any],
    policy: InUse | None,
) -> tuple[str, Mapping[str, Any]]:
    """The policy of a call: how a parameter of it is set, and its parameters."""
    if policy is None:
        return "", {}
    place = list(named).index("policy") if "policy" in named else 0
    found = policy(given["policy"] if "policy" in given else args[place] if len(args) > place else None)
    return ("", {}) if found is None else found


def _unknown(
    word: str, value: object, named: Mapping[str, inspect.Parameter], policy: tuple[str, Mapping[str, Any]]
) -> str:
    """The replacement for a keyword that the function does not take."""
    takes = [name for name, one in named.items() if one.kind is not one.VAR_KEYWORD]
    said = advice(UnknownArgument(word, value, *policy, frozenset(takes)))
    if said is not None:
        return said
    near = did_you_mean(word, takes)
    if near is None and (close := did_you_mean(word, policy[1])):
        return f"did you mean the parameter `{close}`? `{policy[0].format(keyword(close, value))}`"
    return f"did you mean `{near}`?" if near else f"it takes {', '.join(f'`{name}`' for name in takes)}"
