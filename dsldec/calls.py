"""Diagnostics for calls with wrong arguments.

`checks_arguments` decorates a public function and keeps its signature. An unknown, a surplus and a missing
argument raise a `UsageError` with the right call in its help. Not here: whether a value fits (the functions
themselves), names of options in other programs (`synonyms`).
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
# The call that sets a parameter of a policy, such as `policy.bind({})`, and the policy's parameters.
InUse = Callable[[object], tuple[str, Mapping[str, Any]] | None]


def checks_arguments(example: str, policy: InUse | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function. `example` is a correct call; `policy` returns the parameters of the policy in a
    call.
    """

    def around(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        places = [one for one in signature.parameters.values() if one.kind is one.POSITIONAL_ONLY]
        nameless = sum(one.default is one.empty for one in places)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                # Python 3.13 binds a call without a required positional-only argument, where the function
                # takes any keyword.
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
    """The diagnostic about a call that the signature does not take."""
    named = {name: one for name, one in signature.parameters.items() if name != "self"}
    unknown = _unknown_words(named, given)
    if unknown and all(word in named for word in unknown):
        message = f"`{name}` takes `{unknown[0]}` by position, not by name"
        return Diagnostic("E0447", message, help=_write(example))
    if unknown:
        described = {
            word: _unknown(word, given[word], named, _in_use(named, args, given, policy)) for word in unknown
        }
        help = (
            next(iter(described.values()))
            if len(described) == 1
            else "; ".join(f"`{word}`: {one}" for word, one in described.items())
        )
        words = ", ".join(f"`{word}`" for word in unknown)
        return Diagnostic("E0447", f"`{name}` takes no {words}", help=help)
    return _miscounted(named, name, example, args[1:] if "self" in signature.parameters else args, given)


def _unknown_words(named: Mapping[str, inspect.Parameter], given: Mapping[str, Any]) -> list[str]:
    """The keywords of a call that the function does not take by name."""
    unknown = [
        word for word in given if word not in named or named[word].kind is inspect.Parameter.POSITIONAL_ONLY
    ]
    # Where a function takes any keyword, an unknown keyword is not its mistake.
    if any(one.kind is one.VAR_KEYWORD for one in named.values()):
        unknown = [word for word in unknown if word in named]
    return unknown


def _miscounted(
    named: Mapping[str, inspect.Parameter],
    name: str,
    example: str,
    args: tuple[Any, ...],
    given: Mapping[str, Any],
) -> Diagnostic:
    """The diagnostic about surplus, repeated or missing arguments. `args`: without `self`."""
    places = [
        word for word, one in named.items() if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    if len(args) > len(places):
        keywords = [word for word, one in named.items() if one.kind is one.KEYWORD_ONLY]
        by_name = f"; pass these by name: {', '.join(f'`{word}=`' for word in keywords)}" if keywords else ""
        number = f"{len(places)} argument{'s' * (len(places) != 1)}"
        message = f"`{name}` takes {number} by position, and gets {len(args)}"
        return Diagnostic("E0447", message, help=f"{_write(example)}{by_name}")
    if twice := [word for word in places[: len(args)] if word in given]:
        message = f"`{name}` gets `{twice[0]}` twice, by position and by name"
        return Diagnostic("E0447", message, help=_write(example))
    missing = [
        word
        for word, one in named.items()
        if one.default is one.empty
        and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        and word not in given
        and word not in places[: len(args)]
    ]
    message = f"`{name}` lacks {', '.join(f'`{word}`' for word in missing)}"
    return Diagnostic("E0447", message, help=_write(example))


def _write(example: str) -> str:
    return f"write `{example}`"


def _in_use(
    named: Mapping[str, inspect.Parameter],
    args: tuple[Any, ...],
    keywords: Mapping[str, Any],
    policy: InUse | None,
) -> tuple[str, Mapping[str, Any]]:
    """The policy of a call: the call that sets its parameters, and the parameters."""
    if policy is None:
        return "", {}
    place = list(named).index("policy") if "policy" in named else 0
    result = policy(
        keywords["policy"] if "policy" in keywords else args[place] if len(args) > place else None
    )
    return ("", {}) if result is None else result


def _unknown(
    word: str, value: object, named: Mapping[str, inspect.Parameter], policy: tuple[str, Mapping[str, Any]]
) -> str:
    """The replacement for a keyword that the function does not take."""
    takes = [name for name, one in named.items() if one.kind is not one.VAR_KEYWORD]
    described = advice(UnknownArgument(word, value, *policy, frozenset(takes)))
    if described is not None:
        return described
    near = did_you_mean(word, takes)
    if near is None and (close := did_you_mean(word, policy[1])):
        return f"did you mean the parameter `{close}`? `{policy[0].format(keyword(close, value))}`"
    return f"did you mean `{near}`?" if near else f"it takes {', '.join(f'`{name}`' for name in takes)}"
