"""`dsldec show`: the result of one stage of a policy, in text that is the same from run to run.

`STAGES` is their order. Only the last one needs torch. Not here: a policy explained in words (`explain`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from ..language import parse, syntax
from ..language.words import Kind
from ..policy import read
from ..source import Source
from ..terminal import data
from . import quoted
from .settings import chosen

if TYPE_CHECKING:
    import torch

# Example shapes for a step: B rows, T window positions, V vocabulary. The last ids are the special ones.
B, T, V = 2, 4, 8
GEN_LENGTH = 256  # for facts that depend on it


def show(name: str, stage: str, settings: Sequence[str]) -> int:
    """Print a stage of a policy; returns the exit status. Raises `PolicyError` and `UsageError` as loading
    does.
    """
    if stage not in STAGES:
        near = did_you_mean(stage, STAGES)
        help = (
            f"did you mean `--stage {near}`?"
            if near
            else f"the stages are {', '.join(f'`{one}`' for one in STAGES)}"
        )
        raise UsageError(Diagnostic("E0422", f"there is no stage {quoted(stage)}", help=help))
    for line in STAGES[stage](name, settings):
        print(line, file=data())
    return 0


def _text(name: str, settings: Sequence[str]) -> Iterator[str]:
    """The text of the policy, as a start for your own policy."""
    _require_no_settings(settings, "text")
    yield from read(name)[0].splitlines()


def _require_no_settings(settings: Sequence[str], stage: str) -> None:
    if settings:
        message, help = (
            f"`--set` has no meaning for a {stage}: it shows what is written",
            "leave `--set` out, or show another stage",
        )
        raise UsageError(Diagnostic("E0423", message, help=help))


def _tree(name: str, settings: Sequence[str]) -> Iterator[str]:
    """The syntax tree. The policy must parse, but may fail the checks."""
    _require_no_settings(settings, "tree")
    text, shown = read(name)
    tree, diagnostics = parse.parse(Source(text, shown))
    if tree is None:
        raise PolicyError(diagnostics)
    yield from _node("", tree)


def _node(label: str, node: syntax.Node, depth: int = 0) -> Iterator[str]:
    """A node's class, place and values, then its child nodes, each on a line."""
    parts = [(field.name, getattr(node, field.name)) for field in fields(node) if field.name != "span"]
    plain = [f"{name}={value!r}" for name, value in parts if not _nodes(value) and value not in (None, ())]
    place = f"{node.span.line}:{node.span.column}"
    yield f"{'  ' * depth}{label}{' '.join([type(node).__name__, place, *plain])}"
    for name, value in parts:
        for index, child in enumerate(_nodes(value)):
            yield from _node(
                f"{name}[{index}]: " if isinstance(value, tuple) else f"{name}: ", child, depth + 1
            )


def _nodes(value: object) -> list[syntax.Node]:
    some = value if isinstance(value, tuple) else (value,)
    return [one for one in some if isinstance(one, syntax.Node)]


def _facts(name: str, settings: Sequence[str]) -> Iterator[str]:
    policy = chosen(name, settings)
    for field in fields(policy.facts):
        value = getattr(policy.facts, field.name)
        if not field.repr:
            continue
        if isinstance(value, Mapping):
            yield from (f"{field.name}[{key!r}]: {each}" for key, each in value.items())
        else:
            yield f"{field.name}: {', '.join(map(str, value)) or 'none' if isinstance(value, tuple) else value}"
    plan = policy.plan(GEN_LENGTH)
    yield f"block_length({GEN_LENGTH}): {plan.block_length}"
    yield f"forwards_bound({GEN_LENGTH}): {plan.max_forwards}"


def _ir(name: str, settings: Sequence[str]) -> Iterator[str]:
    policy = chosen(name, settings)
    values = dict(policy.program.parameters)
    for name, value in policy.parameters.items():
        # A table, a network and a pattern are too long to be shown.
        if isinstance(value, bool | int | float | str) and values[name].kind is not Kind.PATTERN:
            values[name] = replace(values[name], default=value)
    yield from str(replace(policy.program, parameters=values)).split("\n")


def _torch(name: str, settings: Sequence[str]) -> Iterator[str]:
    """The step as `torch.export` prints it for small shapes."""
    policy = chosen(name, settings)
    import torch

    from ..backends import toolchain

    toolchain.require_folder(writing=False)
    step = policy.compile("eager", mask_id=V - 1, eos_id=V - 2)
    assert isinstance(step.function, torch.nn.Module)
    state = step.start(B, T, vocab_size=V)
    inputs = (
        torch.zeros(B, T, V),
        torch.full((B, T), V - 1),
        torch.ones(B, T, dtype=torch.bool),
        state,
        dict(step.params),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        # With an empty decomposition table, this only removes operations without effect.
        exported = torch.export.export(step.function, inputs, strict=False).run_decompositions({})
    output = step(*inputs)
    names = ["canvas", "done", *output.state, *output.events._fields]
    constants = exported.graph_signature.inputs_to_buffers
    yield f"step {policy.name}, B={B} T={T} V={V}, mask {V - 1}, end of text {V - 2}"
    for node in exported.graph.nodes:
        if node.op == "output":
            results = zip(names, node.args[0], strict=True)
            yield from (f"  gives {name} = {value}" for name, value in results if value is not None)
        elif node.name in constants:
            yield f"  {_operation(node)} = {getattr(step.function, constants[node.name]).item()}"
        elif "val" in node.meta:  # an assertion of the export has no value
            yield f"  {_operation(node)}"


def _operation(node: torch.fx.Node) -> str:
    named = f"{node.name}: {_shape(node.meta['val'])}"
    if node.op == "placeholder":
        return named
    operands = [str(each) for each in node.args] + [f"{name}={value}" for name, value in node.kwargs.items()]
    return f"{named} = {_function(node.target)}({', '.join(operands)})"


def _function(target: Any) -> str:
    return str(getattr(target, "__name__", target)).removesuffix(".default")


def _shape(value: Any) -> str:
    """As `float32[2, 4]`. For an operation with several results, the shapes of all."""
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_shape, value))})"
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


STAGES: Mapping[str, Callable[[str, Sequence[str]], Iterator[str]]] = MappingProxyType(
    {"text": _text, "tree": _tree, "facts": _facts, "ir": _ir, "torch": _torch}
)
