"""Features of every sample from every network and preprocessing, with one decode of each image.

Samples are processed in chunks. Each chunk is decoded once, shown to every network that lacks it, and written under a
name that identifies it. So a killed run resumes at the first missing chunk, and several processes share the work. The
finished table is one memory-mapped file: the memory used does not depend on the number of samples.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import NotFiniteImageError, UsageError
from ...builder.progress import progress
from ...builder.storage import remove_temporaries
from . import cache as store
from .cache import Inputs
from .engine import Runner, runner
from .engine import choose as choose_engine
from .processes import Processes
from .table import Features
from .views import METHODS, check_methods, views, views_of

if TYPE_CHECKING:
    from ..sets.samples import Samples
    from .backbones import Backbone

BATCH_PIXELS = 32 * 224 * 224  # pixels shown to a network at once: below 1 GB of activations in EfficientNet-B0

Key = tuple[str, str]
"""Names of a network and of a preprocessing method."""


def extract(
    samples: Samples,
    backbones: Backbone | Sequence[Backbone],
    *,
    methods: Sequence[str] = METHODS,
    size: int | None = None,
    cache: str | PathLike[str],
    engine: str = "auto",
    workers: int = 2,
) -> dict[Key, Features]:
    """Return the features of all samples, computed or from the cache.

    Parameters
    ----------
    samples : Samples
    backbones : Backbone or sequence of Backbone
        The networks; their names must differ.
    methods : sequence of str
        Preprocessing, from `views.METHODS`.
    size : int, optional
        Resize every view to `size` x `size` pixels; by default views have the size of the images.
    cache : path
        Folder that stores computed features.
    engine : {"auto", "torch", "openvino"}
        See `engine.choose`.
    workers : int
        Number of threads that decode and normalise images.

    Returns
    -------
    dict of (network, method) -> Features
        Rows in the order of the samples.

    Raises
    ------
    UsageError
        If there are no samples, two networks share a name, or a method or engine is unknown.
    NotFiniteImageError
        If a pixel is infinite or not a number.

    Notes
    -----
    Under `accelerate launch` or `torchrun` the processes share the chunks; each returns the complete table.
    """
    methods = check_methods(methods)
    networks = [backbones] if not isinstance(backbones, Sequence) else list(backbones)
    if not len(samples):
        raise UsageError("There are no samples", where=samples.root)
    if len({network.name for network in networks}) != len(networks):
        raise UsageError("Two networks have the same name; each needs its own")
    processes = Processes()
    engine = choose_engine(engine, processes.device)
    folder = Path(cache) / samples.task
    height, width = (size, size) if size else samples.shape
    inputs = Inputs(_digest(samples, folder, processes), size, (height, width), engine)
    folders = {(n.name, method): store.folder_of(folder, n, method, inputs) for n in networks for method in methods}
    missing = {key: place for key, place in folders.items() if not store.is_complete(place)}
    if missing:
        scale = _full_scale(folder, samples, inputs, missing, processes)
        settings = _compute(samples, networks, missing, inputs, scale, processes, workers)
        if processes.is_main:
            for key, place in missing.items():
                store.assemble(place, store.chunks_of(len(samples), inputs.view), settings[key], samples.ids)
                remove_temporaries(place)
        processes.wait()
    return {key: store.open_features(place, samples) for key, place in folders.items()}


def _digest(samples: Samples, folder: Path, processes: Processes) -> str:
    """Return the digest of the samples: one process reads the files, the others the digests that it stored."""
    if not processes.is_main:
        processes.wait()
    digest = samples.digest(folder / "files.json")
    if processes.is_main:
        processes.wait()
    return digest


def _full_scale(
    folder: Path, samples: Samples, inputs: Inputs, missing: Mapping[Key, Path], processes: Processes
) -> float | None:
    """Return the full scale of `raw` views; None if there are none."""
    if not any(method.endswith("raw") for _, method in missing):
        return None
    stored = store.full_scale_file(folder, inputs)
    if processes.is_main and not stored.is_file():
        store.write_full_scale(stored, samples)
    processes.wait()
    return store.read_full_scale(stored)


def _compute(
    samples: Samples,
    networks: Sequence[Backbone],
    missing: Mapping[Key, Path],
    inputs: Inputs,
    scale: float | None,
    processes: Processes,
    workers: int,
) -> dict[Key, dict[str, Any]]:
    """Write the missing chunks; return the settings of each table."""
    incomplete = [
        (number, rows)
        for number, rows in enumerate(store.chunks_of(len(samples), inputs.view))
        if not all(store.has_chunk(place, number) for place in missing.values())
    ]
    processes.wait()  # all processes must list the same chunks before any of them writes one
    mine = incomplete[processes.index :: processes.count]
    needed = [n for n in networks if mine and any(n.name == name for name, _ in missing)]
    runners = {n.name: runner(n.module, n.name, inputs.view, inputs.engine, processes.device) for n in needed}
    decoder = _Decoder(samples, tuple(dict.fromkeys(method for _, method in missing)), inputs.view, scale, workers)
    started, seconds = time.perf_counter(), dict.fromkeys(missing, 0.0)
    with progress(f"features of {samples.task}", sum(len(rows) for _, rows in mine)) as bar:
        for number, rows in mine:
            lacking = [key for key, place in missing.items() if not store.has_chunk(place, number)]
            parts: dict[Key, list[NDArray[np.float32]]] = {key: [] for key in lacking}
            constant = 0
            for batch, constant_in_batch in decoder.batches(rows):
                constant += constant_in_batch
                for key in lacking:
                    begun = time.perf_counter()
                    parts[key].append(_run(runners[key[0]], batch[:, decoder.columns[key[1]]]))
                    seconds[key] += time.perf_counter() - begun
                bar.advance(len(batch))
            for key in lacking:
                of_norm = constant if key[1].endswith("norm") else 0
                store.write_chunk(missing[key], number, np.concatenate(parts[key]), of_norm)
    processes.wait()
    by_name = {n.name: n for n in networks}
    return {
        (name, method): {
            "task": samples.task,
            "model": name,
            "source": by_name[name].source,
            "weights": by_name[name].digest,
            "preprocess": method,
            "channels": list(samples.channels),
            "images": inputs.images,
            "input_size": inputs.input_size,
            "shown": list(inputs.view),
            "full_scale": scale if method.endswith("raw") else None,
            "engine": inputs.engine,
            "device": processes.device,
            "processes": processes.count,
            # by this process in this run; an interrupted run may have computed the others
            "computed": sum(len(rows) for _, rows in mine),
            "network_seconds": round(seconds[name, method], 2),
            "all_seconds": round(time.perf_counter() - started, 2),
        }
        for name, method in missing
    }


class _Decoder:
    """Decodes samples in threads and returns their views in batches.

    A batch depends on the images alone, not on which methods are missing, so that its features are bit-identical in
    every run.
    """

    def __init__(
        self, samples: Samples, methods: Sequence[str], view: tuple[int, int], scale: float | None, workers: int
    ) -> None:
        self.samples, self.methods, self.view, self.scale, self.workers = samples, methods, view, scale, workers
        self.columns: dict[str, slice] = {}  # which views of a batch are those of a method
        start = 0
        for method in methods:
            stop = start + views_of(method, len(samples.channels))
            self.columns[method] = slice(start, stop)
            start = stop

    def batches(self, rows: range) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Yield views, shape (images, views, height, width), and the number of constant channels in them."""
        step = max(1, BATCH_PIXELS // (len(self.samples.channels) * self.view[0] * self.view[1]))
        batches = [rows[start : start + step] for start in range(0, len(rows), step)]
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            waiting = [pool.submit(self._views, i) for i in batches[0]]
            for following in [*batches[1:], range(0)]:
                ahead = [pool.submit(self._views, i) for i in following]
                images = [future.result() for future in waiting]
                yield np.stack([shown for shown, _ in images]), sum(constant for _, constant in images)
                waiting = ahead

    def _views(self, i: int) -> tuple[NDArray[np.float32], int]:
        try:
            shown, constant = views(self.samples.load(i), self.methods, self.scale or 1.0)
        except NotFiniteImageError as error:
            where = f"{self.samples.task}, sample {self.samples.ids[i]}"
            raise NotFiniteImageError(error.what, where=where) from error
        return _resized(shown, self.view), constant


def _resized(shown: NDArray[np.float32], view: tuple[int, int]) -> NDArray[np.float32]:
    if shown.shape[1:] == view:
        return shown
    import torch
    from torch.nn.functional import interpolate

    # antialiased: without it, reducing a field of 1024 x 1280 pixels would turn texture into noise
    small = interpolate(torch.from_numpy(shown)[None], size=view, mode="bilinear", antialias=True, align_corners=False)
    return small[0].clamp_(0, 1).numpy()


def _run(run: Runner, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return features, shape (images, views x features): those of all views of an image, concatenated."""
    images, count, height, width = shown.shape
    out = run(np.ascontiguousarray(shown.reshape(images * count, height, width)))
    return out.reshape(images, -1)
