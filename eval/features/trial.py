"""A short trial of a network in every precision, with images of the samples, before a GPU computes their features.

The result is stored with the features, so that all runs, and all processes of a run, compute in the same precision.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.storage import write_atomic
from .cache import Inputs
from .decode import Decoder
from .engine import runner
from .precision import FLOAT32, PRECISIONS, agreement, choose_precision
from .processes import Processes

if TYPE_CHECKING:
    from ..sets.samples import Samples
    from .backbones import Backbone

TRIAL_VIEWS = 16  # enough for the CPU to compare in a second
TRIAL_ROUNDS = 3
METHOD = "concat-norm"

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Views, (N, H, W) float32 in [0, 1] -> features, (N, D) float32."""
Trial = dict[str, dict[str, float]]
"""Precision -> `images_per_second`, and the `cosine` and `error` of `precision.agreement`."""


def precisions_of(
    networks: Sequence[Backbone], samples: Samples, folder: Path, inputs: Inputs, processes: Processes, batch: int
) -> dict[str, dict[str, Any]]:
    """Return the precision in which this device computes each network.

    Parameters
    ----------
    networks : sequence of Backbone
    samples : Samples
    folder : Path
        The cache of the task; trials are stored there.
    inputs : Inputs
    processes : Processes
    batch : int
        Number of views shown to a network at once.

    Returns
    -------
    dict
        Name of a network -> `precision`, and on a GPU `trial`.
    """
    if processes.device == "cpu":
        return {network.name: {"precision": FLOAT32} for network in networks}
    files = {network.name: _file(folder, network, inputs.view, processes.device) for network in networks}
    if processes.is_main:
        for network in networks:
            if not files[network.name].is_file():
                trial = _trial_of(network, samples, inputs, batch, processes.device)
                found = {"precision": choose_precision(trial), "trial": trial}
                write_atomic(files[network.name], json.dumps(found, indent=2).encode())
    processes.wait()
    return {name: json.loads(file.read_bytes()) for name, file in files.items()}


def run_trial(views: NDArray[np.float32], batch: int, runner_in: Callable[[str], Run], reference: Run) -> Trial:
    """Compute features of a few views in every precision.

    Parameters
    ----------
    views : array, shape (N, height, width), float32 in [0, 1]
    batch : int
        Number of views shown at once when the speed is measured; the views are repeated.
    runner_in : callable
        Precision -> a function that computes features on the GPU.
    reference : callable
        Computes them in float32 on the CPU.

    Returns
    -------
    dict
        A precision in which the network fails is absent.
    """
    expected = reference(views)
    repeated = np.ascontiguousarray(views[np.arange(batch) % len(views)])
    trial: Trial = {}
    for precision in PRECISIONS:
        try:
            run = runner_in(precision)
            cosine, error = agreement(run(views), expected)
            run(repeated)  # memory and kernels of this size
            begun = time.perf_counter()
            for _ in range(TRIAL_ROUNDS):
                run(repeated)
            seconds = time.perf_counter() - begun
        except (UsageError, RuntimeError, ValueError, TypeError):  # some networks fail in half precision
            continue
        trial[precision] = {
            "images_per_second": round(TRIAL_ROUNDS * batch / seconds, 1),
            "cosine": round(cosine, 6),
            "error": round(error, 6),
        }
    return trial


def _trial_of(network: Backbone, samples: Samples, inputs: Inputs, batch: int, device: str) -> Trial:
    """Try a network with some of the samples; nothing is tried if none of them can be read."""
    if not any(True for _ in network.module.parameters()):  # a mean of pixels gains nothing
        return {}
    decoder = Decoder(samples, (METHOD,), inputs.view, resize=inputs.size is not None, tile=bool(inputs.tile))
    found: list[NDArray[np.float32]] = []
    for i in range(min(len(samples), 2 * TRIAL_VIEWS)):
        found += [*decoder[i].shown.reshape(-1, *inputs.view)]
        if len(found) >= TRIAL_VIEWS:
            break
    if not found:
        return {}
    reference = runner(copy.deepcopy(network.module), network.name, inputs.view, "torch")

    def runner_in(precision: str) -> Run:
        return runner(network.module, network.name, inputs.view, "torch", device, precision)

    return run_trial(np.stack(found[:TRIAL_VIEWS]), batch, runner_in, reference)


def _file(folder: Path, network: Backbone, view: tuple[int, int], device: str) -> Path:
    """Return the file of a trial, for a network, size of views and kind of device."""
    key = hashlib.sha256(f"{network.digest} {view} {device.split(':')[0]}".encode()).hexdigest()
    return folder / f"precision-{key[:16]}.json"
