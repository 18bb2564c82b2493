"""The Triton kernel against the torch form, run by Triton's interpreter on a CPU, and compiled for GPUs that
are not here.

Skipped where triton is not installed (`pip install triton`; CUDA builds of torch bring it): 3.5 or newer,
with torch 2.9 or newer. Not measured on a GPU.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is not installed: `pip install triton`")

INTERPRETED = "TRITON_INTERPRET"

# In a process of their own: the variable has to be set before triton is imported.
COMPARISON = """
import math, sys
import torch
from dsldec.backends.vocabulary import OBSERVATIONS, observe
from dsldec.backends.vocabulary_triton import by_kernel

INF = math.inf

def compare(name, logits, mask_id, wanted=OBSERVATIONS, token=None):
    slow, fast = observe(logits, mask_id, wanted, token), observe(logits, mask_id, wanted, token, read=by_kernel)
    assert slow.keys() == fast.keys(), name
    for key, value in slow.items():
        about = lambda text: f"{name}, {key}: {text}"
        assert fast[key].dtype == value.dtype, about("dtype")
        if value.dtype == torch.float32:
            torch.testing.assert_close(fast[key], value, rtol=1e-6, atol=1e-37, equal_nan=True, msg=about)
        else:
            assert torch.equal(fast[key], value), about(f"{fast[key]} and not {value}")

torch.manual_seed(0)
for size in (1, 2, 17, 2047, 2048, 2049, 8191, 8192, 8193, 9000):
    for mask_id in (0, size - 1, -1, size + 3):
        compare(f"V = {size}", torch.randn(1, 3, size), mask_id)
for size in (4096, 4112, 16384, 16400):
    compare(f"V = {size}, bf16", torch.randn(1, 2, size).bfloat16(), size - 1)
for dtype in (torch.float32, torch.bfloat16):  # a better score comes again and again, or the same one
    rising = torch.linspace(-9, 9, 17008).expand(1, 2, -1).clone()
    rising[0, 1] = rising[0, 1].flip(-1)
    compare(f"slopes, {dtype}", rising.to(dtype), 17000)
    steps = torch.stack([torch.arange(17008) // 700, torch.arange(17008).flip(0) // 700])
    compare(f"steps, {dtype}", steps.unsqueeze(0).to(dtype), 17000)
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    logits = 8 * torch.randn(2, 3, 5003)
    logits[0, :, 4500] = 40.0
    compare(f"MASK the best, {dtype}", logits.to(dtype), 4500)
    compare(f"peaked, {dtype}", logits.to(dtype), 7)
    compare(f"many ties, {dtype}", torch.randint(0, 3, (2, 2, 5003)).to(dtype), 0)
    compare(f"all equal, {dtype}", torch.zeros(1, 2, 5003, dtype=dtype), 0)
for wanted in ((), ("entropy",), ("margin",)):
    compare(f"wanted {wanted}", torch.randn(1, 2, 5003), 3, wanted)
    compare(f"drawn, wanted {wanted}", torch.randn(1, 2, 5003), 3, wanted, torch.tensor([[3, 5002]]))
ends = torch.randn(1, 9, 5003)
ends[0, 0] = -INF
ends[0, 1, 100:] = -INF
ends[0, 2, 4200] = ends[0, 2, 4300] = INF
ends[0, 3, 4200] = math.nan
ends[0, 4, 7] = math.nan  # at MASK
ends[0, 5, 7] = INF
ends[0, 6] = -INF
ends[0, 6, 7] = 0.0  # nothing but MASK
ends[0, 7] = math.nan
ends[0, 8, :7] = ends[0, 8, 8:] = -200.0  # too far to weigh anything
ends[0, 8, 7] = 0.0
compare("the ends of the numbers", ends, 7)
compare("the ends of the numbers, MASK elsewhere", ends, 5000)
for spread in (1.0, 24.0, 80.0):  # where an error of exp would not average out
    alike = torch.full((1, 1, 5003), -spread)
    alike[..., 11] = 0.0
    compare(f"alike {spread}", alike, 7)
wide = torch.randn(3, 8, 6000)
compare("every second row and position", wide[::2, 1::3, :5003], 7)
compare("rows and positions exchanged", wide[..., 900:5903].transpose(0, 1), 7)
compare("one row for all", wide[:1].expand(2, 8, 6000), 7)
print("alike")
"""


def test_it_gives_what_torch_gives() -> None:
    environment = os.environ | {INTERPRETED: "1", "PYTHONWARNINGS": "ignore"}
    ran = subprocess.run([sys.executable, "-c", COMPARISON], capture_output=True, text=True, env=environment)
    assert ran.stdout == "alike\n", ran.stderr[-3000:]


def test_it_is_chosen_for_raw_logits_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dsldec.backends import vocabulary, vocabulary_dispatch, vocabulary_triton

    assert (
        vocabulary_dispatch.reader(kernels=True, raw=True) is vocabulary_dispatch.on_cpu
        or torch.cuda.is_available()
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert vocabulary_dispatch.reader(kernels=True, raw=True) is vocabulary_triton.statistics
    assert vocabulary_dispatch.reader(kernels=True, raw=False) is vocabulary_dispatch.in_memory
    assert vocabulary_dispatch.reader(kernels=False, raw=True) is vocabulary.plain_statistics
    logits = torch.randn(1, 2, 30)
    of, plain = vocabulary_triton.statistics(logits, 3), vocabulary.statistics(logits, 3)
    assert torch.equal(of.others, plain.others)  # logits on a CPU are left to torch


# As torch.compile sees it for a GPU that is not here: what a compiler must know of the kernel is read from
# its code.
TRACED = """
import torch
import triton
from torch._dynamo.backends.common import aot_autograd
from torch._subclasses import FakeTensorMode
from triton.backends.compiler import GPUTarget
from dsldec.backends.vocabulary import observe
from dsldec.backends.vocabulary_triton import statistics

class Driver:
    def get_current_target(self):
        return GPUTarget("cuda", 90, 32)

triton.runtime.driver.set_active(Driver())

def shown(graph, inputs):
    for node in graph.graph.nodes:
        if "triton_kernel" in str(node.target):
            print(*node.kwargs["tensors_to_clone"], *node.kwargs["grid"][0])
    return graph.forward

with FakeTensorMode():
    logits = torch.empty(1, 32, 126464, device="cuda", dtype=torch.bfloat16)
    compiled = torch.compile(lambda x: observe(x, 7, read=statistics), fullgraph=True, backend=aot_autograd(fw_compiler=shown))
    try:
        compiled(logits)
    except RuntimeError as error:
        assert "not linked with support for cuda" in str(error), error  # only running it takes a GPU
"""


def test_it_is_traced_whole_and_writes_into_nothing_of_the_callers() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("pretends to have a GPU, and there is one")
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11):
        pytest.skip(
            "torch before 2.11 compiles nothing over fake tensors of its caller's, which stand for the GPU's here"
        )
    environment = {name: value for name, value in os.environ.items() if name != INTERPRETED}
    ran = subprocess.run([sys.executable, "-c", TRACED], capture_output=True, text=True, env=environment)
    assert ran.stdout == "floats ints 32 8 1\nfloats_out ints_out 32 1 1\n", ran.stdout + ran.stderr[-3000:]


ARCHITECTURES = (80, 90, 100, 120)
FLAGS = (
    (True, True, True),
    (True, True, False),
    (True, False, True),
    (True, False, False),
    (False, True, True),
    (False, False, False),
)
WIDE = "ld.global.v4"
# Chunks are copied to shared memory while others are computed, 16 bytes by each thread.
AHEAD = re.compile(r"cp\.async\.\w+\.shared\.global \[[^]]+\], \[[^]]+\], 0x10")


def compiled_for(
    kernel,
    dtype: str,
    architecture: int,
    flags: tuple[bool, ...],
    *,
    aligned: bool = True,
    ones: tuple[str, ...] = (),
):
    """The kernel as a launch of this kind compiles it. `aligned`: pointers, V and strides are multiples of
    16; `ones`: sizes of 1.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dsldec.backends.vocabulary_triton import CHUNKS, LANES, STAGES, VECTOR, WARPS, WARPS_OF_WHOLE

    is_whole = "floats_out" in kernel.arg_names
    constants = dict(zip(("has_token", "has_spread", "has_below"), flags, strict=True)) | dict.fromkeys(
        ones, 1
    )
    ids = VECTOR // (4 if dtype == "fp32" or not aligned else 2)
    of_piece = {"LANES": LANES, "IDS": ids, "CHUNKS": CHUNKS, "STAGES": STAGES}
    constants |= {"has_mask": flags[0], "PIECES": 32} if is_whole else of_piece
    pointers = {
        "logits": f"*{dtype}",
        "floats": "*fp32",
        "ints": "*i32",
        "floats_out": "*fp32",
        "ints_out": "*i64",
    }
    numbers = {"row_stride": "i64"}
    signature = {
        n: "constexpr" if n in constants else pointers.get(n) or numbers.get(n, "i32")
        for n in kernel.arg_names
    }
    even = {*pointers, "size", "row_stride", "position_stride"} if aligned else {*pointers} - {"logits"}
    divisible = [(i,) for i, n in enumerate(kernel.arg_names) if n in even and signature[n] != "constexpr"]
    source = ASTSource(
        kernel,
        signature=signature,
        constexprs=constants,
        attrs={key: [["tt.divisibility", 16]] for key in divisible},
    )
    options = {"num_warps": WARPS_OF_WHOLE if is_whole else WARPS}
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)


def resources(cubin: bytes) -> dict[str, int]:
    """Registers a thread, and bytes of stack and local memory, which is where spilled ones go."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        told = subprocess.run([tool, "-res-usage", file], capture_output=True, text=True, check=True).stdout
    return {name: int(number) for name, number in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)}


def assert_compiles(kernel, dtype: str, architecture: int, flags: tuple[bool, ...], **how) -> str:
    compiled = compiled_for(kernel, dtype, architecture, flags, **how)
    used = resources(compiled.asm["cubin"])
    assert used["STACK"] == used["LOCAL"] == 0, f"{dtype} sm_{architecture} {flags} {how}: {used}"
    print(kernel.__name__, dtype, f"sm_{architecture}", flags, how, used)
    return compiled.asm["ptx"]


def program(cubin: bytes) -> list[tuple[int, str]]:
    """The instructions for the GPU, with their addresses."""
    import triton

    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        told = subprocess.run([tool, "-sass", file], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"/\*([0-9a-f]{4,5})\*/\s+(.*?);", told)
    return [(int(address, 16), instruction) for address, instruction in found]


def in_loops(cubin: bytes) -> list[int]:
    """The number of instructions in each loop, but for those that a forward jump leaves out mostly (MASK)."""
    instructions, loops = program(cubin), []
    for address, text in instructions:
        jump = re.search(r"\bBRA\b.* 0x([0-9a-f]+)", text)
        if jump and (begin := int(jump[1], 16)) < address:
            loops.append(sum(begin <= at <= address for at, _ in instructions))
    return loops


@pytest.mark.skipif(INTERPRETED in os.environ, reason="an interpreted kernel is not compiled")
def test_it_compiles_for_a_gpu_that_is_not_here() -> None:
    from dsldec.backends.vocabulary_triton import put_together, read_piece

    ptx = assert_compiles(read_piece, "bf16", 90, FLAGS[0])
    assert len(AHEAD.findall(ptx)) >= 4
    assert WIDE not in assert_compiles(read_piece, "bf16", 90, FLAGS[0], aligned=False)
    assert_compiles(read_piece, "bf16", 90, FLAGS[0], ones=("length", "pieces", "mask_id"))
    assert_compiles(put_together, "bf16", 90, FLAGS[0])
    assert_compiles(put_together, "bf16", 90, FLAGS[0], ones=("length", "pieces", "mask_id", "size"))


@pytest.mark.skipif(INTERPRETED in os.environ, reason="an interpreted kernel is not compiled")
def test_it_computes_little_for_each_id() -> None:
    """An H100 executes 17 instructions in the time in which it reads one id of 2 bytes."""
    from dsldec.backends.vocabulary_triton import LANES, VECTOR, read_piece

    for flags, most in ((FLAGS[0], 36), (FLAGS[3], 31)):
        cubin = compiled_for(read_piece, "bf16", 90, flags).asm["cubin"]
        whole = max(in_loops(cubin), default=len(program(cubin)))
        assert whole / VECTOR <= most, (flags, whole / VECTOR)
        assert resources(cubin)["REG"] * LANES * 2 <= 65536  # two programs at a time, at least


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED in os.environ, reason="an interpreted kernel is not compiled")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_spills_nothing(architecture: int) -> None:
    from dsldec.backends.vocabulary_triton import put_together, read_piece

    for dtype, flags in product(("fp32", "bf16", "fp16"), FLAGS):
        assert AHEAD.search(assert_compiles(read_piece, dtype, architecture, flags))
        assert_compiles(read_piece, dtype, architecture, flags, aligned=False)
        assert_compiles(put_together, dtype, architecture, flags)
