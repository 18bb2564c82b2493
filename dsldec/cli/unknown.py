"""Diagnostics for unknown options and unknown verbs.

Not here: the names of options in other programs (`synonyms`), parsing of options (`arguments`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..diagnostics import Diagnostic, did_you_mean
from ..instead import is_whole
from ..policy import in_use
from ..spelling import N, option, typed
from ..synonyms import SHIPPED, WORDS, UnknownArgument, advice, normal
from ..tools import quoted

# The positional argument of a verb. Other programs have a flag of this name.
POSITIONAL = {
    "check": "policy", "fmt": "policy", "test": "policy", "explain": "policy", "show": "policy", "build": "policy", "export-hf": "policy",
    "precompile": "policy", "tune": "policy",
    "model": "model",
}  # fmt: skip
ANOTHER_VERB = {
    "decode": "run", "generate": "run", "infer": "run", "inference": "run", "chat": "run", "complete": "run", "predict": "run",
    "sample": "run", "infill": "run", "ask": "run", "eval": "evaluate",
    "lm_eval": "evaluate", "lint": "check", "validate": "check", "verify": "check",
    "format": "fmt", "compile": "build", "package": "build", "export": "export-hf", "export_hf": "export-hf", "info": "model",
    "inspect": "model", "probe": "model", "docs": "explain", "describe": "explain", "doc": "explain", "policies": "list", "ls": "list", "man": "explain", "ir": "show",
    "dump": "show", "cases": "test", "benchmark": "bench", "perf": "bench", "warmup": "precompile", "prebuild": "precompile", "cache": "precompile",
    "optimize": "tune", "optimise": "tune", "search": "tune", "optuna": "tune",
}  # fmt: skip
OTHERWISE = {
    "serve": "`dsldec export-hf MODEL threshold`, then `transformers serve MODEL --trust-remote-code` is a server",
    "help": "`dsldec --help` lists the verbs, `dsldec run --help` the options of one",
    "version": "`dsldec --version` prints the version",
    "train": "`python -m dsldec.models.train --help` trains the embedded model; others are trained elsewhere",
}
SHORTEST_MISSPELT = 3
MOST_SHOWN = 8  # of the options of one command line
OTHERWISE |= {
    "api": OTHERWISE["serve"],
    "server": OTHERWISE["serve"],
}


def unknown_options(
    verb: str, followed: Mapping[str, str | None], known: Sequence[str], values: Mapping[str, object]
) -> Diagnostic:
    """The diagnostic about options that `verb` (`dsldec run`) does not have, each with the word after it.
    `known`: the flags of the verb, `values`: their values.
    """
    helps = {}
    for one, following in list(followed.items())[:MOST_SHOWN]:
        name, equals, given = one.partition("=")
        helps[one] = _help(verb, name, given if equals else following, known, values)
    if len(helps) == 1:
        return Diagnostic("E0420", f"`{verb}` has no option {quoted(one)}", help=helps[one])
    named = ", ".join(quoted(one) for one in helps)
    # Several options get a line each, so that the first mistake does not hide the others.
    help = "".join(f"\n    {quoted(one)}: {help}" for one, help in helps.items())
    return Diagnostic("E0420", f"`{verb}` has no options {named}", help=f"use instead:{help}")


def _help(verb: str, name: str, value: str | None, known: Sequence[str], values: Mapping[str, object]) -> str:
    takes = frozenset(normal(one) for one in known)
    parameters = _parameters_in_use(values)
    word = normal(name)
    positional = POSITIONAL.get(verb.partition(" ")[2])
    if positional and word == positional:
        return f"write it without an option: `{verb} {typed(value or ('threshold' if positional == 'policy' else './MODEL'))}`"
    if name == "-n" and word in takes:  # llama.cpp counts tokens with it
        number = value if is_whole(value) else N
        return f"for the number of tokens write {option('gen_length', number)}; for several samples {option('n', number)}"
    if word in takes and word != "block_length":
        return _meant(next(one for one in known if normal(one) == word))
    argument = UnknownArgument(name, value, parameters=parameters, takes=takes)
    if (suggestion := advice(argument)) is not None:
        return suggestion
    # A misspelt flag of another program, or a misspelt parameter, may also be close to a flag of ours.
    foreign = {
        f"--{one.replace('_', '-')}": one
        for one in (*WORDS, *SHIPPED, *(parameters or ()))
        if len(one) > SHORTEST_MISSPELT
    }
    closest = next(iter(difflib.get_close_matches(name[:64], [*known, *foreign], n=1, cutoff=0.85)), None)
    if (
        closest in foreign
        and closest not in known
        and (suggestion := advice(replace(argument, word=foreign[closest]))) is not None
    ):
        return suggestion
    near = did_you_mean(name, known)
    return (
        _meant(near) if near else f"`{verb} --help` lists the options; after `--` a prompt may begin with `-`"
    )


def _meant(flag: str, value: str | None = None) -> str:
    return f"did you mean `{flag}{f' {typed(value)}' if value else ''}`?"


def _parameters_in_use(values: Mapping[str, object]) -> Mapping[str, object] | None:
    named = next((values[key] for key in ("policy", "subject") if isinstance(values.get(key), str)), None)
    found = None if named is None else in_use(named)
    return None if found is None else found[1]


def unknown_verb(word: str, verbs: Sequence[str]) -> Diagnostic:
    """The diagnostic about an unknown verb."""
    message, plain = f"dsldec has no verb {quoted(word)}", word.strip("-").lower().replace("-", "_")
    other = ANOTHER_VERB.get(plain) or ANOTHER_VERB.get(word.lower())
    if (
        (near := did_you_mean(word, [*verbs, "--help", "--version"])) is not None
        and other is None
        and plain not in OTHERWISE
    ):
        return Diagnostic("E0421", message, help=f"did you mean `dsldec {near}`?")
    if other is not None:
        return Diagnostic("E0421", message, help=f"it is called `dsldec {other}`")
    if word in ("-v", "-V"):
        return Diagnostic("E0421", message, help=OTHERWISE["version"])
    if plain in OTHERWISE:
        return Diagnostic("E0421", message, help=OTHERWISE[plain])
    if word.startswith("-"):
        return Diagnostic(
            "E0421", message, help="options go after the verb: `dsldec run --policy threshold ...`"
        )
    if word.endswith(".policy"):
        return Diagnostic(
            "E0421",
            message,
            help=f"write `dsldec check {typed(word)}`, or `dsldec run --policy {typed(word)} ...`",
        )
    return Diagnostic("E0421", message, help="`dsldec --help` lists the verbs; prompts go after `dsldec run`")
