"""How features are computed: PyTorch as it is, or OpenVINO where it is installed and the device is a CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import UsageError

RUNTIMES = ("auto", "torch", "openvino")
Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def choose(runtime: str, device: str) -> str:
    """Return `torch` or `openvino`.

    Parameters
    ----------
    runtime : {"auto", "torch", "openvino"}
        `auto` is OpenVINO on a CPU where it is installed.
    device : str
        `cpu`, `cuda`, ...

    Raises
    ------
    UsageError
        If OpenVINO was asked for and is not installed, or for a device that is no CPU.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"No runtime is called {runtime!r}", next=f"Use one of {', '.join(RUNTIMES)}")
    installed, fits = find_spec("openvino") is not None, device == "cpu"
    if runtime == "openvino" and not (installed and fits):
        raise UsageError(
            "OpenVINO is not installed" if not installed else f"OpenVINO is used on a CPU only, not on {device}",
            next="pip install 'cytoimagenet[fast]'" if not installed else "Use --runtime torch",
        )
    return "openvino" if runtime != "torch" and installed and fits else "torch"


def runner(module: Any, name: str, size: tuple[int, int], runtime: str = "torch", device: str = "cpu") -> Runner:
    """Return a function that maps grey views to features.

    Parameters
    ----------
    module : torch.nn.Module
        Maps (N, 3, H, W) float32 in [0, 1] to (N, D).
    name : str
        Of the network, for errors.
    size : (height, width)
        Of the views.
    runtime : {"torch", "openvino"}
        See `choose`.
    device : str
        Where torch computes.

    Returns
    -------
    callable
        (N, H, W) float32 in [0, 1] -> (N, D) float32. The grey view is copied to three channels on the device.

    Raises
    ------
    UsageError
        If the network does not take images of this size, or gives anything but a row of features per image.
    """
    try:
        run = _openvino(module, size) if runtime == "openvino" else _torch(module, device)
        out = run(np.zeros((2, *size), np.float32))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UsageError(
            f"Network {name!r} does not run on images of {size[0]} x {size[1]} pixels by {runtime}: {error}",
            next="Use --input-size with the size it was trained at" + " or --engine torch" * (runtime == "openvino"),
        ) from error
    if out.ndim != 2 or len(out) != 2:
        raise UsageError(f"Network {name!r} gives {out.shape[1:]} per image, not a row of features")
    return run


def _torch(module: Any, device: str) -> Runner:
    import torch

    network = module.to(device).eval()
    if any(value.ndim == 4 for value in network.parameters()):
        network = network.to(memory_format=torch.channels_last)

    def run(grey: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            shown = torch.from_numpy(grey).to(device)[:, None].expand(-1, 3, -1, -1)
            return network(shown.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    return run


@lru_cache(maxsize=16)  # converting takes seconds, and the tasks ask for the same networks
def _openvino(module: Any, size: tuple[int, int]) -> Runner:
    import openvino
    import torch

    class Grey(torch.nn.Module):
        """The copy to three channels belongs to the graph: a third of the bytes go in."""

        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, grey: torch.Tensor) -> torch.Tensor:
            return self.network(grey[:, None].expand(-1, 3, -1, -1))

    network = Grey().eval()
    with torch.inference_mode(), warnings.catch_warnings():
        # tracing bakes in whatever depends on the size of the image, and says so: the size is fixed here
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(network, example_input=torch.rand(2, *size))
    converted.reshape([1, *size])
    threads = torch.get_num_threads()  # a launcher gives each process its share
    settings = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": threads,  # an image a thread: faster than a batch on all, and no image sees its neighbours
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",  # whatever the chip would rather use
    }
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    queue = openvino.AsyncInferQueue(compiled, 2 * threads)
    rows: list[NDArray[np.float32]] = []
    queue.set_callback(lambda request, row: rows.__setitem__(row, np.array(request.get_output_tensor(0).data[0])))

    def run(grey: NDArray[np.float32]) -> NDArray[np.float32]:
        rows[:] = [np.empty(0, np.float32)] * len(grey)
        for row in range(len(grey)):
            queue.start_async(grey[row : row + 1], row)
        queue.wait_all()
        return np.stack(rows)

    return run
