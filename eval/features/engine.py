"""The library that runs a network: PyTorch, or OpenVINO if it is installed and the device is a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.extras import MissingPackageError
from .precision import FLOAT32, network_in, tf32_allowed

ENGINES = ("auto", "torch", "openvino")
Pending = Callable[[], NDArray[np.float32]]
"""Waits for features that are being computed, and returns them."""


class Runner:
    """Maps grey views, (N, H, W) float32 in [0, 1], to features, (N, D) float32.

    Parameters
    ----------
    start : callable
        Starts to compute the features of views, and returns a Pending. A GPU computes meanwhile.
    """

    def __init__(self, start: Callable[[NDArray[np.float32]], Pending]) -> None:
        self.start = start

    def __call__(self, grey: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features of views."""
        return self.start(grey)()


def choose(engine: str, device: str) -> str:
    """Return `torch` or `openvino`.

    Parameters
    ----------
    engine : {"auto", "torch", "openvino"}
        `auto` is OpenVINO if it is installed and the device is a CPU, else PyTorch.
    device : str
        `cpu`, `cuda`, ...

    Raises
    ------
    UsageError
        If the engine is unknown, or the device is not a CPU; `MissingPackageError` if OpenVINO is not installed.
    """
    if engine not in ENGINES:
        raise UsageError(f"There is no engine {engine!r}", next=f"Use one of {', '.join(ENGINES)}")
    installed, fits = find_spec("openvino") is not None, device == "cpu"
    if engine == "openvino" and not installed:
        raise MissingPackageError("openvino", "fast")
    if engine == "openvino" and not fits:
        raise UsageError(f"OpenVINO runs on a CPU only, not on {device}", next="Use --engine torch")
    return "openvino" if engine != "torch" and installed and fits else "torch"


def runner(
    module: Any,
    name: str,
    size: tuple[int, int],
    engine: str = "torch",
    device: str = "cpu",
    precision: str = FLOAT32,
) -> Runner:
    """Return what maps grey views to features.

    Parameters
    ----------
    module : torch.nn.Module
        Maps (N, 3, H, W) float32 in [0, 1] to (N, D).
    name : str
        Name of the network, for errors.
    size : (height, width)
        Size of the views.
    engine : {"torch", "openvino"}
        See `choose`.
    device : str
        Device on which PyTorch computes.
    precision : {"float32", "tf32", "float16", "bfloat16"}
        Precision in which PyTorch computes; see `precision`.

    Returns
    -------
    Runner
        The grey view is copied to three channels on the device.

    Raises
    ------
    UsageError
        If the network does not accept images of this size, or does not return one row of features per image.
    """
    try:
        run = _openvino(module, size) if engine == "openvino" else _torch(module, device, precision)
        out = run(np.zeros((2, *size), np.float32))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"Network {name!r} can't process images of {size[0]} x {size[1]} pixels with {engine}: {error}",
            next="Use --input-size with the size it was trained at" + " or --engine torch" * (engine == "openvino"),
        ) from error
    if out.ndim != 2 or len(out) != 2:
        raise UsageError(f"Network {name!r} returns the shape {out.shape[1:]} per image, not a row of features")
    return run


def _torch(module: Any, device: str, precision: str) -> Runner:
    import torch

    network = network_in(module, precision).to(device).eval()
    if any(value.ndim == 4 for value in network.parameters()):
        network = network.to(memory_format=torch.channels_last)
    dtype = getattr(torch, precision, torch.float32)
    gpu = torch.device(device).type == "cuda"
    uploads = torch.cuda.Stream(device) if gpu else None  # so that copying a batch does not delay the one before

    def start(grey: NDArray[np.float32]) -> Pending:
        views = torch.from_numpy(grey)
        with torch.inference_mode(), tf32_allowed(precision == "tf32"):
            if uploads is None:
                shown = views.to(device, non_blocking=True)
            else:
                with torch.cuda.stream(uploads):
                    # from pinned memory the copy does not wait; torch keeps that memory until it is done
                    shown = views.pin_memory().to(device, non_blocking=True)
                computing = torch.cuda.current_stream(device)
                computing.wait_stream(uploads)
                shown.record_stream(computing)
            colour = shown.to(dtype)[:, None].expand(-1, 3, -1, -1)
            found = network(colour.contiguous(memory_format=torch.channels_last)).float()
            if device == "cpu":
                return found.numpy
            result = torch.empty(found.shape, pin_memory=gpu)
            result.copy_(found, non_blocking=True)
        if uploads is None:
            return result.numpy
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(device))

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            return result.numpy()

        return wait

    return Runner(start)


@lru_cache(maxsize=16)  # conversion takes seconds, and all tasks use the same networks
def _openvino(module: Any, size: tuple[int, int]) -> Runner:
    import openvino
    import torch

    class Grey(torch.nn.Module):
        """Copy a grey image to three channels inside the graph, so that a third of the bytes is passed to it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, grey: torch.Tensor) -> torch.Tensor:
            return self.network(grey[:, None].expand(-1, 3, -1, -1))

    network = Grey().eval()
    with torch.inference_mode(), warnings.catch_warnings():
        # tracing warns that what depends on the size of the image becomes constant; the size is fixed here
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(network, example_input=torch.rand(2, *size))
    converted.reshape([1, *size])
    threads = torch.get_num_threads()  # a launcher sets the share of each process
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": threads,  # one image per thread is faster than a batch on all threads
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # OpenVINO would choose a lower precision on some chips
    }
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, 2 * threads)
    rows: list[NDArray[np.float32]] = []
    queue.set_callback(lambda request, row: rows.__setitem__(row, np.array(request.get_output_tensor(0).data[0])))

    def start(grey: NDArray[np.float32]) -> Pending:
        rows[:] = [np.empty(0, np.float32)] * len(grey)
        for row in range(len(grey)):
            queue.start_async(grey[row : row + 1], row)
        queue.wait_all()
        features = np.stack(rows)
        return lambda: features

    return Runner(start)
