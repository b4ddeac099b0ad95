"""Features of every sample from every network and preprocessing, with one decode of each image.

Samples are processed in chunks. Each chunk is decoded once, shown to every network that lacks it, and written under a
name that identifies it. So a killed run resumes at the first missing chunk, and several processes share the work. The
finished table is one memory-mapped file: the memory used does not depend on the number of samples.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.progress import Bar, progress
from ...builder.storage import remove_temporaries
from ...loaders.cores import default_workers
from . import cache as store
from .cache import Inputs
from .decode import MOST_THREADS, Batch, Decoder, decoded
from .engine import Pending, Runner, runner
from .engine import choose as choose_engine
from .precision import computed_as
from .processes import Processes
from .table import Features
from .tiles import tiles_in
from .trial import precisions_of
from .views import METHODS, check_methods

if TYPE_CHECKING:
    from ..sets.samples import Samples
    from .backbones import Backbone

BATCH_PIXELS = 32 * 224 * 224  # pixels shown to a network at once: below 1 GB of activations in EfficientNet-B0
GPU_BATCH_PIXELS = 8 * BATCH_PIXELS

Key = tuple[str, str]
"""Names of a network and of a preprocessing method."""


def extract(
    samples: Samples,
    backbones: Backbone | Sequence[Backbone],
    *,
    methods: Sequence[str] = METHODS,
    size: int | None = None,
    tile: int | None = None,
    every_tile: bool = False,
    cache: str | PathLike[str],
    engine: str = "auto",
    workers: int | None = None,
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
    tile : int, optional
        Instead, cut every view into tiles of `tile` x `tile` pixels; the features of a sample are the mean over them.
    every_tile : bool
        Return the features of every tile instead, with the ids `<id>#tile=<left>,<top>`.
    cache : path
        Folder that stores computed features.
    engine : {"auto", "torch", "openvino"}
        See `engine.choose`.
    workers : int, optional
        Number of threads that decode and normalise images; more than `decode.MOST_THREADS` are processes. By default
        as many threads as the cores allow.

    Returns
    -------
    dict of (network, method) -> Features
        Rows in the order of the samples. Samples of an image table that can't be used are in `refused` instead.

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
    if tile and size:
        raise UsageError("Images are either resized or cut into tiles", next="Leave out --input-size or --tile")
    if every_tile and not tile:
        raise UsageError("There are no tiles without their size", next="Add --tile 224")
    if len({network.name for network in networks}) != len(networks):
        raise UsageError("Two networks have the same name; each needs its own")
    processes = Processes()
    engine = choose_engine(engine, processes.device)
    workers = workers or min(default_workers(), MOST_THREADS)
    folder = Path(cache) / samples.task
    height, width = (tile, tile) if tile else (size, size) if size else samples.shape
    cut = ("every" if every_tile else "mean") if tile else ""
    inputs = Inputs(_digest(samples, folder, processes), size, (height, width), engine, cut)
    views = _samples_at_once(samples, inputs, processes.device) * len(samples.channels)
    precisions = precisions_of(networks, samples, folder, inputs, processes, views)
    folders = {
        (n.name, method): store.folder_of(
            folder, n, method, inputs, computed_as(processes.device, precisions[n.name]["precision"])
        )
        for n in networks
        for method in methods
    }
    missing = {key: place for key, place in folders.items() if not store.is_complete(place)}
    if missing:
        scale = _full_scale(folder, samples, inputs, missing, processes)
        settings = _compute(samples, networks, missing, inputs, scale, precisions, processes, workers)
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
    precisions: Mapping[str, dict[str, Any]],
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
    runners = {
        n.name: runner(n.module, n.name, inputs.view, inputs.engine, processes.device, precisions[n.name]["precision"])
        for n in needed
    }
    methods = tuple(dict.fromkeys(method for _, method in missing))
    decoder = Decoder(
        samples, methods, inputs.view, resize=inputs.size is not None, tile=bool(inputs.tile), scale=scale
    )
    # a batch depends on the images alone, not on what is missing: features are bit-identical in every run
    step = _samples_at_once(samples, inputs, processes.device)
    # of large fields fewer images at once: each is cut into many views
    images = max(1, step // tiles_in(samples.first_shape, inputs.view[0])) if inputs.tile and mine else step
    parts = {number: [rows[i : i + images] for i in range(0, len(rows), images)] for number, rows in mine}
    batches = decoded(decoder, [part for within in parts.values() for part in within], workers)
    started, seconds = time.perf_counter(), dict.fromkeys(missing, 0.0)
    with progress(f"features of {samples.task}", sum(len(rows) for _, rows in mine)) as bar:
        before: _Started | None = None
        for number, within in parts.items():
            chunk = _Chunk(number, [key for key, place in missing.items() if not store.has_chunk(place, number)])
            for position, batch in enumerate(itertools.islice(batches, len(within))):
                pending = {}
                for key in chunk.keys:
                    begun = time.perf_counter()
                    shown = batch.shown[:, decoder.columns[key[1]]]
                    pending[key] = _start(runners[key[0]], shown, batch, inputs.tile, step)
                    seconds[key] += time.perf_counter() - begun
                after = _Started(chunk, replace(batch, shown=batch.shown[:0]), pending, position == len(within) - 1)
                # a GPU computes this batch while the features of the one before are fetched and written
                if before is not None:
                    before.finish(missing, inputs.tile, seconds, bar)
                before = after
        if before is not None:
            before.finish(missing, inputs.tile, seconds, bar)
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
            **precisions[name],
            "processes": processes.count,
            # by this process in this run; an interrupted run may have computed the others
            "computed": sum(len(rows) for _, rows in mine),
            "network_seconds": round(seconds[name, method], 2),
            "all_seconds": round(time.perf_counter() - started, 2),
        }
        for name, method in missing
    }


@dataclass
class _Chunk:
    """A chunk that is being computed: its number, the tables that lack it, and what has been computed of it."""

    number: int
    keys: list[Key]
    values: dict[Key, list[NDArray[np.float32]]] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)


@dataclass
class _Started:
    """A batch whose features are being computed; `last` in its chunk or not."""

    chunk: _Chunk
    batch: Batch
    pending: dict[Key, Pending]
    last: bool

    def finish(self, places: Mapping[Key, Path], tile: str, seconds: dict[Key, float], bar: Bar) -> None:
        """Wait for the features; write the chunk if it is complete."""
        chunk = self.chunk
        for key, pending in self.pending.items():
            begun = time.perf_counter()
            chunk.values.setdefault(key, []).append(pending())
            seconds[key] += time.perf_counter() - begun
        chunk.batches.append(self.batch)
        bar.advance(self.batch.count, failed=len(self.batch.refused))
        if not self.last:
            return
        rows = np.concatenate([_rows(batch, tile) for batch in chunk.batches])
        refused = [refusal for batch in chunk.batches for refusal in batch.refused]
        for key, values in chunk.values.items():
            constant = sum(batch.constant for batch in chunk.batches) if key[1].endswith("norm") else 0
            store.write_chunk(places[key], chunk.number, np.concatenate(values), constant, rows, refused)


def _samples_at_once(samples: Samples, inputs: Inputs, device: str) -> int:
    """Return the number of samples shown to a network at once: a GPU needs more to be busy."""
    pixels = BATCH_PIXELS if device == "cpu" else GPU_BATCH_PIXELS
    return max(1, pixels // (len(samples.channels) * inputs.view[0] * inputs.view[1]))


def _start(run: Runner, shown: NDArray[np.float32], batch: Batch, tile: str, step: int) -> Pending:
    """Start to compute features, one row per sample or tile: those of all its views, concatenated."""
    rows, count, height, width = shown.shape
    if not rows:
        return lambda: np.empty((0, count * run(np.zeros((2, height, width), np.float32)).shape[1]), np.float32)
    # tiles of one image may be many: never more at once than in a batch of images
    parts = [shown[i : i + step].reshape(-1, height, width) for i in range(0, rows, step)]
    pending = [run.start(np.ascontiguousarray(part)) for part in parts]

    def finish() -> NDArray[np.float32]:
        out = np.concatenate([wait() for wait in pending]).reshape(rows, -1)
        if tile != "mean":
            return out
        first = np.flatnonzero(np.diff(batch.rows[:, 0], prepend=-1))
        tiles = np.diff(first, append=rows)
        return (np.add.reduceat(out, first, axis=0, dtype=np.float64) / tiles[:, None]).astype(np.float32)

    return finish


def _rows(batch: Batch, tile: str) -> NDArray[np.int64]:
    """Return the position and tile of each row of features."""
    if tile != "mean":
        return batch.rows
    samples = np.unique(batch.rows[:, 0])
    return np.column_stack([samples, np.zeros((len(samples), 2), np.int64)])
