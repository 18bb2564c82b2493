"""Reading the vocabulary in tiles gives the same results as reading it in one piece, and allocates little."""

from __future__ import annotations

import threading
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from dsldec.backends import cpu_tiles, vocabulary, vocabulary_tiles, vocabulary_top
from dsldec.backends.vocabulary import Statistics, observe
from dsldec.backends.vocabulary_dispatch import in_memory, reader
from tests.backends.test_vocabulary import CASES, DTYPES, relative_errors, tall_logits

WORST = 5e-7  # relative; both forms are this close to float64
VIEWS = ("view", "unsqueeze", "squeeze", "split", "slice", "select", "expand", "alias", "detach", "t.default")


@pytest.fixture(params=["small", "tiles"])
def form(request, monkeypatch) -> str:
    """Both forms for the same logits."""
    if request.param == "tiles":
        monkeypatch.setattr(vocabulary_tiles, "SMALL", 0)
        monkeypatch.setattr(
            cpu_tiles.tiles, "__defaults__", (6000,)
        )  # several tiles, of one position or more
    return request.param


def assert_same(one: Statistics, other: Statistics) -> None:
    finite = one.best.abs() < float("inf")
    assert torch.equal(finite, other.best.abs() < float("inf"))
    assert one.ties is not None
    assert other.ties is not None
    assert torch.equal(one.ties > 1, other.ties > 1)
    for name in ("best", "token", "score"):
        assert torch.equal(getattr(one, name).nan_to_num(7.5), getattr(other, name).nan_to_num(7.5)), name
    alone = finite & (one.ties == 1)
    assert torch.equal(one.below[alone], other.below[alone])
    for name in ("others", "spread"):
        torch.testing.assert_close(
            getattr(one, name)[finite], getattr(other, name)[finite], rtol=WORST, atol=1e-7
        )


def logits(size: int, dtype: torch.dtype, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 5, size, generator=generator) * torch.tensor([0.1, 1, 4, 10, 0]).view(5, 1)
    x[0, :, size // 3] += 25  # peaked
    if seed % 2:
        x = x.round()  # ties, within chunks and across
        x[1, 1, ::3] = float("-inf")
        x[1, 2] = float("-inf")
        x[1, 3, size // 2] = float("inf")
        x[1, 4, -1] = float("nan")
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 1025, 8192, 9001])
def test_tiles_equal_the_whole(size: int, dtype: torch.dtype, form: str) -> None:
    for seed, mask_id in product(range(2), (0, 31, 32, size // 3, size - 1, size + 5)):
        x = logits(size, dtype, seed)
        whole = vocabulary.statistics(x, mask_id)
        assert_same(whole, vocabulary_tiles.statistics(x, mask_id))
        assert_same(whole, vocabulary_tiles.statistics(x, torch.tensor(mask_id)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_tail_of_a_large_vocabulary_is_kept(dtype: torch.dtype) -> None:
    for peak, scale in CASES:
        x = tall_logits(peak, scale, dtype)
        errors = relative_errors(observe(x, 7, read=vocabulary_tiles.statistics), x)
        assert max(errors.values()) <= 1e-6, errors


def test_an_error_of_exp_does_not_add_up() -> None:
    for spread in (1.0, 24.0, 80.0):
        x = torch.full((1, 2, 126_464), -spread)
        x[..., 11] = 0.0
        others = vocabulary_tiles.statistics(x, 3).others
        exact = 126_463 * torch.tensor(-spread).double().exp()
        torch.testing.assert_close(others.double(), exact.expand(1, 2), rtol=WORST, atol=0)


def test_logits_of_any_strides(form: str) -> None:
    wide = torch.randn(6, 8, 6000, generator=torch.Generator().manual_seed(0))
    for x in (
        wide[::2, 1::3, :5003],
        wide[..., 900:5903].transpose(0, 1),
        wide[:1].expand(2, 8, 6000),
        wide.permute(2, 0, 1)[:4].contiguous().permute(1, 2, 0)[..., :4],
    ):
        assert_same(vocabulary.statistics(x, 7), vocabulary_tiles.statistics(x, 7))


def test_what_is_wanted_alone(form: str) -> None:
    x = logits(3000, torch.float32, 0)
    all_ = vocabulary_tiles.statistics(x, 5)
    for name in vocabulary.WANTED:
        alone = vocabulary_tiles.statistics(x, 5, [name])
        for other in ("token", "spread", "below"):
            assert (getattr(alone, other) is None) == (other != name)
        assert torch.equal(getattr(alone, name), getattr(all_, name))


def test_observations_do_not_depend_on_the_reader(form: str) -> None:
    for mask_id in (0, 5, 1000):  # with and without MASK as the best id
        x = logits(3000, torch.float32, 0)
        seen, wanted = (observe(x, mask_id, read=read) for read in (in_memory, vocabulary.statistics))
        for name, value in wanted.items():
            torch.testing.assert_close(seen[name], value, rtol=1e-6, atol=1e-7)


def test_no_result_shares_memory_with_a_buffer_or_the_logits(form: str) -> None:
    x, later = logits(3000, torch.float32, 0), logits(3000, torch.float32, 2)
    of = vocabulary_tiles.statistics(x, 5)
    before = [value.clone() for value in (getattr(of, name) for name in Statistics.__slots__)]
    vocabulary_tiles.statistics(later, 5)
    x.zero_()
    assert all(
        torch.equal(value, getattr(of, name))
        for name, value in zip(Statistics.__slots__, before, strict=True)
    )


def test_threads_and_modes_have_buffers_that_they_can_write(form: str) -> None:
    x = [logits(3000, torch.bfloat16, 2 * seed) for seed in range(4)]
    wanted = [vocabulary_tiles.statistics(each, 5) for each in x]
    with torch.inference_mode():
        assert_same(wanted[0], vocabulary_tiles.statistics(x[0], 5))
    wrong: list[BaseException] = []

    def read(number: int) -> None:
        try:
            with torch.inference_mode(number % 2 == 0):
                for _ in range(5):
                    assert_same(wanted[number], vocabulary_tiles.statistics(x[number], 5))
            assert_same(wanted[number], vocabulary_tiles.statistics(x[number], 5))
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_gradients_and_tracing_are_left_to_torch() -> None:
    x = torch.randn(1, 2, 50)
    assert cpu_tiles.pay(x)
    assert not cpu_tiles.pay(torch.randn(1, 2, 50, device="meta"))
    asked = x.clone().requires_grad_()
    assert not cpu_tiles.pay(asked)
    observe(asked, 3, read=reader(kernels=True, raw=True))["conf"].sum().backward()
    assert asked.grad is not None
    with torch.no_grad():
        assert cpu_tiles.pay(asked)
    assert reader(kernels=True, raw=True)(x[:, :0], 3).best.shape == (1, 0)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not any(view in str(func) for view in VIEWS):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_few_operations_read_a_small_vocabulary() -> None:
    x = torch.randn(1, 32, 818)
    x[..., 817] -= 100
    with _Counter() as counter:
        observe(x, 817, ("conf",), read=reader(kernels=True, raw=True))
    assert len(counter.names) <= 12, counter.names


def test_all_allocations_together_are_a_fraction_of_the_logits() -> None:
    for dtype in DTYPES:
        x = torch.randn(4, 8, 20_000, generator=torch.Generator().manual_seed(0)).to(dtype)
        x[..., 3] = 0.0  # where MASK is a best id, two chunks of its position are read again
        vocabulary_tiles.statistics(x, 3)  # allocates the buffers
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            vocabulary_tiles.statistics(x, 3)
        events = profiler.profiler.kineto_results.events()
        allocated = sum(max(event.nbytes(), 0) for event in events if event.name() == "[memory]")
        assert 1000 < allocated < 0.2 * 4 * x.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [8191, 8192, 9216, 20_480])
def test_the_best_ids_are_those_of_topk(size: int, dtype: torch.dtype, form: str) -> None:
    for seed, k in product(range(2), (1, 2, 257, 1000)):
        x = logits(size, dtype, seed).nan_to_num(0.0)
        scores, ids = vocabulary_top.top(x, k)
        assert torch.equal(scores, x.topk(k).values)
        assert torch.equal(x.gather(-1, ids), scores)
        assert all(len(set(row)) == k for row in ids.flatten(0, 1).tolist())
        compiled = vocabulary_top._top_of_groups(x, k, vocabulary_top.GROUP_COMPILED, 1)
        assert torch.equal(compiled[0], scores)
        assert torch.equal(x.gather(-1, compiled[1]), scores)


@pytest.mark.parametrize("method", ["gumbel", "nucleus"])
def test_draws_do_not_depend_on_tiles(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = logits(300, torch.float32, 0)
    numbers = [torch.tensor([[0.7], [0.0]]), torch.tensor(0.9), torch.tensor(40)]
    place = (torch.tensor([5, -7]), torch.tensor([0, 3]), torch.arange(10).view(2, 5))
    whole = vocabulary._sampled(x, 7, method, *numbers, *place)
    monkeypatch.setattr(vocabulary, "DRAW_TILE", 700)  # of two positions, not a divisor of 5
    assert torch.equal(vocabulary.sampled(x, 7, method, *numbers, *place), whole)
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(vocabulary.sampled(turned, 7, method, *numbers, *place), whole)
