"""How a run uses its device: precision, speed flags, and reproducible kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .recipes import Settings


def uses_bf16(chosen: Settings) -> bool:
    """Return whether the network computes in bfloat16: if the settings say so, or by default on a GPU that has it."""
    if chosen.precision == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return chosen.precision == "bf16"


def describe_device(processes: int) -> str:
    """Return the device of each process in words, with its number if there are several processes."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
    else:
        threads = torch.get_num_threads()
        name = f"the CPU ({threads} thread{'s' * (threads != 1)})"
    return name if processes == 1 else f"{processes} processes, each on {name}"


@contextmanager
def device_flags(chosen: Settings) -> Iterator[None]:
    """Set torch's global flags for a run on a GPU within this context; on a CPU there are none to set.

    cuDNN measures its algorithms for each shape of a layer and keeps the fastest; the shapes of a run are constant.
    Matrix products in float32 use TF32. With `deterministic` the algorithms are not measured, and only those are used
    that return the same bits in every run.
    """
    if not torch.cuda.is_available():
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic, torch.get_float32_matmul_precision()
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.benchmark, cudnn.deterministic = not chosen.deterministic, chosen.deterministic
    torch.set_float32_matmul_precision("high")
    if chosen.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
        torch.use_deterministic_algorithms(True, warn_only=True)  # a network may have layers without such a kernel
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before[:2]
        torch.set_float32_matmul_precision(before[2])
        torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
