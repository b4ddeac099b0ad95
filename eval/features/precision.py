"""The precision in which a GPU computes features: the fastest of those that change them little enough.

Which one that is depends on the network and on the size of the images: half precision is not always faster, and some
networks lose too much by it. So a short trial decides, see `trial`. CPUs always compute in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32 = "float32"
PRECISIONS = (FLOAT32, "tf32", "float16", "bfloat16")
"""`tf32`: float32 with the 10 bits of the matrix units' float32 mode, which PyTorch would use in convolutions."""
SMALLEST_COSINE = 0.999  # between the features of one image in this precision and in float32 on the CPU
LARGEST_ERROR = 0.045  # distance between the two, relative to their length: what a cosine of 0.999 allows


@contextmanager
def tf32_allowed(allowed: bool) -> Iterator[None]:
    """Let PyTorch compute convolutions and matrix products of float32 in TF32 within this context, or not."""
    import torch

    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    try:
        yield
    finally:
        cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def network_in(module: Any, precision: str) -> Any:
    """Return a network whose weights have a precision; one in float32 is the module itself.

    Parameters
    ----------
    module : torch.nn.Module
    precision : {"float32", "tf32", "float16", "bfloat16"}

    Examples
    --------
    >>> import torch
    >>> network_in(torch.nn.Linear(2, 1), "float16").weight.dtype
    torch.float16
    """
    import torch

    if precision in (FLOAT32, "tf32"):
        return module
    return copy.deepcopy(module).to(getattr(torch, precision))


def agreement(found: NDArray[np.float32], expected: NDArray[np.float32]) -> tuple[float, float]:
    """Return the smallest cosine between rows of two tables, and the largest distance relative to the expected row.

    Examples
    --------
    >>> agreement(np.array([[0.0, 4.0]]), np.array([[3.0, 4.0]]))
    (0.8, 0.6)
    """
    a, b = found.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(a).all():
        return -1.0, float("inf")
    lengths = np.linalg.norm(a, axis=1), np.maximum(np.linalg.norm(b, axis=1), 1e-300)
    cosine = (a * b).sum(1) / np.maximum(lengths[0] * lengths[1], 1e-300)
    return float(cosine.min()), float((np.linalg.norm(a - b, axis=1) / lengths[1]).max())


def choose_precision(trial: Mapping[str, Mapping[str, float]]) -> str:
    """Return the fastest precision whose features agree with those of float32; float32 if there is none.

    Parameters
    ----------
    trial : mapping
        Precision -> `images_per_second`, `cosine` and `error`, the results of `agreement`.

    Examples
    --------
    >>> exact = {"images_per_second": 8000, "cosine": 1.0, "error": 0.0}
    >>> choose_precision({"float32": exact, "float16": {"images_per_second": 15000, "cosine": 0.998, "error": 0.04}})
    'float32'
    """
    fits = {
        name: found["images_per_second"]
        for name, found in trial.items()
        if found["cosine"] >= SMALLEST_COSINE and found["error"] <= LARGEST_ERROR
    }
    return max(fits, key=fits.__getitem__, default=FLOAT32)


def computed_as(device: str, precision: str) -> str:
    """Return device and precision as they are part of the key of cached features; empty for a CPU.

    Examples
    --------
    >>> computed_as("cuda:1", "float16"), computed_as("cpu", "float32")
    ('cuda float16', '')
    """
    return "" if device == "cpu" else f"{device.split(':')[0]} {precision}"
