"""Hooks that stay on a model: they act only inside calls of their owner, in its thread, and go with it."""

from __future__ import annotations

import copy
import gc
import io
import threading
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsldec.models import attention_hooks
from dsldec.models.forward_hooks import SwitchedHooks
from dsldec.models.head import Head

from .test_attention import denoiser
from .test_kv_cache import LENGTHS, canvas, deep, kept_whole


class Adds(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


def plus(value: int, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0] + value,)


def times(value: int, inputs: Any, output: Tensor) -> Tensor:
    return output * value


def hooked(module: nn.Module) -> SwitchedHooks:
    hooks = SwitchedHooks()
    hooks.before(module, plus)
    hooks.after(module, times)
    return hooks


def registered(module: nn.Module) -> int:
    return sum(len(one._forward_pre_hooks) + len(one._forward_hooks) for one in module.modules())


def test_hooks_act_inside_and_are_off_after_an_error() -> None:
    module, x = Adds(), torch.zeros(())
    hooks = hooked(module)
    assert module(x) == 1
    with hooks.on(10):
        assert module(x) == 110
        with hooks.on(2):
            assert module(x) == 6
        assert module(x) == 110
    with pytest.raises(ZeroDivisionError), hooks.on(10):
        raise ZeroDivisionError
    assert module(x) == 1


def test_owners_do_not_meet() -> None:
    module, x = Adds(), torch.zeros(())
    one, other = hooked(module), hooked(module)
    with one.on(10):
        assert module(x) == 110
    with other.on(3):
        assert module(x) == 12
    del other
    gc.collect()
    assert registered(module) == 2
    with one.on(10):
        assert module(x) == 110
    one.remove()
    assert registered(module) == 0


def test_other_threads_see_the_plain_module() -> None:
    module, found = Adds(), list[float]()
    hooks = hooked(module)
    with hooks.on(10):
        thread = threading.Thread(target=lambda: found.append(float(module(torch.zeros(())))))
        thread.start()
        thread.join()
    assert found == [1.0]


def test_copies_of_the_model_are_plain() -> None:
    module, x = Adds(), torch.zeros(())
    hooks, file = hooked(module), io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (copy.deepcopy(module), torch.load(file, weights_only=False)):
        with hooks.on(10):
            assert other(x) == 1


def test_a_model_with_idle_hooks_compiles_to_one_graph() -> None:
    module, x = Adds(), torch.zeros(3)
    hooks = hooked(module)
    compiled = torch.compile(module, backend="eager")
    assert torch._dynamo.explain(module)(x).graph_break_count == 0
    assert torch.equal(compiled(x), x + 1)
    with hooks.on(10):
        assert torch.equal(compiled(x), (x + 11) * 10)
    assert torch.equal(compiled(x), x + 1)


def test_a_forward_registers_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    own, ids = denoiser(), canvas()
    memory, _ = kept_whole(own, ids)
    own(ids, columns=torch.tensor([[3], [5]]))
    gc.collect()
    before = registered(own.model)
    assert before == 3  # two of the rotary embedding, one of the head

    def refuse(*given: Any) -> None:
        raise AssertionError("a hook is registered in a forward")

    monkeypatch.setattr(nn.Module, "register_forward_pre_hook", refuse)
    monkeypatch.setattr(nn.Module, "register_forward_hook", refuse)
    again, _ = kept_whole(own, ids)
    own(ids, columns=torch.tensor([[3], [5]]))
    assert registered(own.model) == before
    model = own.model
    del own, memory, again
    gc.collect()
    assert registered(model) == 0


def test_a_new_head_of_the_model_gets_the_hook() -> None:
    own, ids = denoiser(), canvas()
    head = Head(own.model, True)
    at = torch.tensor([[3], [5]])
    head(ids, at)
    old = own.model.head
    own.model.head = nn.Linear(old.in_features, old.out_features)
    whole = own.model(input_ids=ids).logits
    assert torch.allclose(head(ids, at), whole.gather(1, at.unsqueeze(-1).expand(-1, -1, whole.shape[-1])))
    assert head.picks
    assert registered(old) == 0


class Config:
    _attn_implementation = "sdpa"


def test_the_last_call_to_leave_gives_the_name_back() -> None:
    config = Config()
    one, other = (attention_hooks._named_ours([config]) for _ in range(2))
    one.__enter__()
    other.__enter__()
    assert config._attn_implementation == attention_hooks.NAME
    assert attention_hooks._own_name(config) == "sdpa"
    one.__exit__(None, None, None)
    assert config._attn_implementation == attention_hooks.NAME
    other.__exit__(None, None, None)
    assert config._attn_implementation == attention_hooks._own_name(config) == "sdpa"
    assert not attention_hooks._RENAMED


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_a_plain_call_beside_a_cached_one_is_plain(implementation: str) -> None:
    own, ids = deep("qwen2"), canvas()
    own.model.set_attn_implementation(implementation)
    memory, whole = kept_whole(own, ids)
    plain, found = own(ids, list(LENGTHS)), list[Tensor]()
    attend = type(memory)._call

    def meanwhile(*given: Any) -> Any:
        call = attend(*given)
        around = call.attend

        def attending(*layer: Any) -> Tensor:
            if not found:
                thread = threading.Thread(target=lambda: found.append(own(ids, list(LENGTHS))))
                thread.start()
                thread.join()
            return around(*layer)

        call.attend = attending  # type: ignore[method-assign]
        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(memory), "_call", meanwhile)
        _, beside = kept_whole(own, ids)
    assert torch.equal(found[0], plain)
    assert torch.equal(beside, whole)
    assert own.model.config._attn_implementation == implementation


def test_a_cache_is_freed_with_its_last_name() -> None:
    memory, _ = kept_whole(denoiser(), canvas())
    freed = weakref.ref(memory)
    gc.disable()
    try:
        del memory
        assert freed() is None
    finally:
        gc.enable()
