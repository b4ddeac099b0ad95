"""Decide whether compiling the network pays, and compile it.

The network alone is compiled, for training alone: evaluation, smaller last batches, and loss functions with and without
mixup use the same code as before, so nothing is compiled a second time.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from typing import Literal

import torch
from torch import nn

from ..builder.errors import UsageError
from ..builder.storage import cache_folder
from .recipes import Settings

Mode = Literal["none", "inductor", "reduce-overhead", "eager"]

# EfficientNet-B0 in bf16 on one H100, see docs/training.md
EAGER_PIXELS_PER_SECOND = 4454 * 224**2  # in large batches
COMPILED_PIXELS_PER_SECOND = 5997 * 224**2
LAUNCH_SECONDS = 64 / 1945  # shortest step: the host launches some 3,000 operations
COMPILE_SECONDS = 64  # until the second step


def choose_mode(chosen: Settings, *, batches: int, world: int = 1, gpu: bool | None = None) -> tuple[Mode, str]:
    """Return how to compile the network of a run, and the reason.

    With `compile=auto` the network is compiled on a GPU if that saves at least twice the time that it takes, by what
    was measured for EfficientNet-B0 on an H100. Where the host takes longer to launch the operations of a step than the
    GPU to compute them, CUDA graphs launch all of them at once (`reduce-overhead`).

    Parameters
    ----------
    chosen : Settings
    batches : int
        Number of batches of the run in each process.
    world : int
        Number of processes.
    gpu : bool, optional
        Whether there is a GPU; by default torch is asked.

    Returns
    -------
    mode : {"none", "inductor", "reduce-overhead", "eager"}
    reason : str

    Raises
    ------
    UsageError
        If the settings ask for CUDA graphs where they don't work.

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> choose_mode(settings("paper"), batches=300_000, gpu=True)[0]
    'reduce-overhead'
    >>> choose_mode(settings("modern", batch_size=256), batches=75_000, gpu=True)[0]
    'inductor'
    >>> choose_mode(settings("modern", batch_size=256), batches=100, gpu=True)[0]
    'none'
    """
    graphs_work = chosen.accumulation == world == 1
    if chosen.compile == "reduce-overhead" and not graphs_work:
        # accumulated gradients would be silently wrong: https://github.com/pytorch/pytorch/issues/169545
        raise UsageError(
            "compile=reduce-overhead works only with one process and accumulation=1",
            next="Use --set compile=inductor",
        )
    if chosen.compile != "auto":
        return chosen.compile, "as set"
    if not (torch.cuda.is_available() if gpu is None else gpu):
        return "none", "on a CPU"
    if chosen.deterministic:
        return "none", "compiled code may differ between runs"
    if gpu is None and not _can_compile():
        return "none", "this needs Triton and a C compiler"
    pixels = chosen.batch_size * chosen.size**2
    launch_bound = pixels / EAGER_PIXELS_PER_SECOND < LAUNCH_SECONDS
    eager = max(LAUNCH_SECONDS, pixels / EAGER_PIXELS_PER_SECOND)
    saved = batches * (eager - pixels / COMPILED_PIXELS_PER_SECOND)
    if saved < 2 * COMPILE_SECONDS:
        return "none", f"it takes about {COMPILE_SECONDS} s and would save about {saved:.0f} s"
    reason = f"it takes about {COMPILE_SECONDS} s and saves about {saved / 60:.0f} min"
    return "reduce-overhead" if launch_bound and graphs_work else "inductor", reason


def compile_network(network: nn.Module, mode: Mode) -> None:
    """Compile calls of the network, in place; the names of its weights do not change."""
    if mode == "none":
        return
    # the compiler's own default is a folder that is removed when the machine restarts
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiler"))
    if mode == "reduce-overhead":
        network.compile(dynamic=False, mode=mode)
    else:
        network.compile(dynamic=False, backend=mode)


def stop_compiling(network: nn.Module) -> None:
    """Undo `compile_network`."""
    network._compiled_call_impl = None


def _can_compile() -> bool:
    compilers = (os.environ.get("CC", ""), "gcc", "clang", "cc")
    return importlib.util.find_spec("triton") is not None and any(map(shutil.which, compilers))
