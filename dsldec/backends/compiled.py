"""A step's module compiled by Inductor: one graph, static shapes; needs a C++ compiler on a CPU."""

from __future__ import annotations

import shutil
from typing import cast

import torch

from .module import StepModule
from .step import Function


def compiler() -> str | None:
    """The C++ compiler Inductor would use on this machine."""
    return shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")


def compiled(module: StepModule) -> Function:
    """The module as one compiled graph; each new shape of its inputs compiles again."""
    return cast(Function, torch.compile(module, fullgraph=True, dynamic=False))
