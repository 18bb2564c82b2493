"""Hooks on the modules of a model that are registered once and act only inside calls of their owner.

A hook that is registered for one call and removed after it changes the module twice for every forward:
code that `torch.compile` made is checked again, and threads that share the model meet a half-registered
hook. These hooks stay. Outside of `on` they change nothing. They are removed when their owner is freed. Not
here: their work (`head`, `attention_hooks`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# The value of `on` and the hook's arguments after the module, to the hook's result; `None`: nothing changes.
HookFunction = Callable[..., Any]


class _SwitchedHook:
    """A hook as a module calls it. `values`: by thread, the value of `on`. torch.compile checks whether this
    dict is empty; it would take the value of a `threading.local` for a constant. A copied or pickled model
    gets a hook that does nothing.
    """

    def __init__(self, values: dict[int, Any], function: HookFunction) -> None:
        self.values, self.function = values, function

    def __call__(self, module: Any, *given: Any) -> Any:
        if not self.values:
            return None
        value = self.values.get(threading.get_ident())
        return None if value is None else self.function(value, *given)

    def __reduce__(self) -> tuple[Any, ...]:
        return _SwitchedHook, ({}, _nothing)


def _nothing(*given: Any) -> None:
    return None


class SwitchedHooks:
    """The hooks of one owner, who holds this object. Several owners may have hooks on one module."""

    def __init__(self) -> None:
        self._values, self._handles = dict[int, Any](), list[Any]()
        weakref.finalize(self, _remove, self._handles).atexit = False

    def before(self, module: Any, function: HookFunction) -> None:
        """`function(value, inputs)` gives the inputs of the module's `forward`, or `None`."""
        self._handles.append(module.register_forward_pre_hook(_SwitchedHook(self._values, function)))

    def after(self, module: Any, function: HookFunction) -> None:
        """`function(value, inputs, output)` gives the module's output, or `None`."""
        self._handles.append(module.register_forward_hook(_SwitchedHook(self._values, function)))

    @contextmanager
    def on(self, value: Any) -> Iterator[None]:
        """Inside, the hooks act in this thread, with this value."""
        thread = threading.get_ident()
        before = self._values.get(thread)
        self._values[thread] = value
        try:
            yield
        finally:
            if before is None:
                del self._values[thread]
            else:
                self._values[thread] = before

    def remove(self) -> None:
        """Removes the hooks from their modules."""
        _remove(self._handles)


def _remove(handles: list[Any]) -> None:
    while handles:
        handles.pop().remove()
