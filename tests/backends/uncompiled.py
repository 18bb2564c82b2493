"""Packages that are the module itself: for tests of what surrounds a package, without minutes of compiling."""

from __future__ import annotations

import pytest
from torch import Tensor

from dsldec.backends import inductor, step_cache
from dsldec.backends.exported import EOS_ID, MASK_ID, _AnyModel
from dsldec.backends.module import StepModule
from dsldec.backends.step_cache import Runner
from dsldec.backends.step_form import StepForm
from dsldec.lru import LRUCache


def uncompiled(form: StepForm) -> Runner:
    """The package of a form, run by torch's operations: takes and returns plain lists, as a real one does."""
    module = _AnyModel(StepModule(form.program, 0, None, form.static))
    fields = sorted(form.program.carried)
    names = sorted({*form.program.parameters, MASK_ID, EOS_ID})

    def run(inputs: list[Tensor]) -> list[Tensor]:
        assert all(x.is_contiguous() for x in inputs)
        logits, canvas, editable, *more = inputs
        assert (len(logits) > 1) == form.sizes.any_rows
        assert (*logits.shape[1:], logits.dtype) == (
            form.sizes.window,
            form.sizes.vocab_size,
            form.sizes.dtype,
        )
        state = dict(zip(fields, more[: len(fields)], strict=True))
        params = dict(zip(names, more[len(fields) :], strict=True))
        canvas, done, state, events = module(logits, canvas, editable, state, params)
        return [canvas, done, *state.values(), *events.values()]

    return run


def pretend_to_compile(monkeypatch: pytest.MonkeyPatch) -> list[StepForm]:
    """A process without any package, which compiles to such ones; returns the forms that it compiles."""
    forms: list[StepForm] = []

    def compiled(form: StepForm) -> Runner:
        forms.append(form)
        return uncompiled(form)

    monkeypatch.setattr(step_cache, "load", lambda form: None)
    monkeypatch.setattr(step_cache, "compiled", compiled)
    monkeypatch.setattr(inductor, "FORMS", LRUCache(inductor.MOST_FORMS))
    monkeypatch.setattr(inductor, "WAITED", LRUCache(inductor.MOST_FORMS))
    return forms
