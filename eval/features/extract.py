"""Features of every sample, from every network, under every preprocessing method, out of one decode of each image.

Work is cut into chunks of samples. Each chunk is decoded once, shown to every network that still lacks it, and written
whole under a name that says what it is: that is how a killed run resumes and how several processes share the work. The
finished table is one memory-mapped file, so that memory stays flat however many samples there are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import NotFiniteImageError, UsageError
from ...builder.progress import progress
from ...builder.storage import atomic_writer, remove_temporaries, write_atomic
from . import engine as runtime
from . import views as preprocessing

if TYPE_CHECKING:
    import pandas as pd

    from ..tables.feature_table import FeatureTable
    from ..tasks import Samples
    from .backbones import Backbone

CACHE_VERSION = 2  # of what the numbers below a key mean; raise it when preprocessing changes
BATCH_PIXELS = 32 * 224 * 224  # pixels a network sees at once: below 1 GB of activations in EfficientNet-B0
CHUNK_PIXELS = 2**26  # pixels of a chunk: what a kill loses, and what processes share out
LARGEST_CHUNK = 512
# what differs between runs that give equal tables
OF_THE_RUN = ("computed", "network_seconds", "all_seconds", "processes")


@dataclass(frozen=True)
class Features:
    """Features of samples, a row each.

    Attributes
    ----------
    ids : list of str
        One per row, unique.
    values : array, shape (samples, features), float32
        Often memory-mapped.
    settings : mapping
        How they were made: model, weights, method, input size, runtime, seconds.
    """

    ids: list[str]
    values: NDArray[np.float32]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with the column `id` and a column per feature, `f0000` and so on."""
        import pandas as pd

        names = [f"f{number:04d}" for number in range(self.values.shape[1])]
        frame = pd.DataFrame(np.asarray(self.values), columns=names, copy=False)
        frame.insert(0, "id", pd.Series(self.ids, dtype="str"))
        return frame

    def to_table(self) -> FeatureTable:
        """Return what the scorers take, without copying the values."""
        import pandas as pd

        from ..tables.feature_table import FeatureTable

        names = [f"f{number:04d}" for number in range(self.values.shape[1])]
        source = f"{self.settings.get('model', 'features')} {self.settings.get('preprocess', '')}".strip()
        return FeatureTable(pd.DataFrame({"id": pd.Series(self.ids, dtype="str")}), self.values, names, source)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the table as Parquet, settings in the file's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pandas(self.to_frame(), preserve_index=False)
        settings = {name: value for name, value in self.settings.items() if name not in OF_THE_RUN}
        said = {"cytoimagenet": json.dumps(settings, sort_keys=True, default=str)}
        with atomic_writer(path) as file:
            # floats of a network hardly compress: spend no time on a dictionary
            pq.write_table(table.replace_schema_metadata(said), file, use_dictionary=["id"], compression="zstd")


def extract(
    samples: Samples,
    backbones: Backbone | Sequence[Backbone],
    *,
    methods: Sequence[str] = preprocessing.METHODS,
    size: int | None = None,
    cache: str | PathLike[str],
    engine: str = "auto",
    workers: int = 2,
) -> dict[tuple[str, str], Features]:
    """Compute the features of all samples, or take them from the cache.

    Parameters
    ----------
    samples : Samples
        What `tasks.read` returned.
    backbones : Backbone or sequence of Backbone
        The networks; their names must differ.
    methods : sequence of str
        From `preprocessing.METHODS`.
    size : int, optional
        Resize every view to `size` x `size` pixels; by default the network sees the image as it is.
    cache : path
        Folder that keeps what was computed.
    engine : {"auto", "torch", "openvino"}
        See `runtime.choose`.
    workers : int
        Threads that decode and normalise ahead.

    Returns
    -------
    dict of (model, method) -> Features
        Rows in the order of the samples.

    Raises
    ------
    UsageError
        If two networks share a name, or a method or engine is unknown.

    Notes
    -----
    Under `accelerate launch` or `torchrun` the processes share the chunks; each returns the whole table.
    """
    wanted = preprocessing.check_methods(methods)
    networks = [backbones] if not isinstance(backbones, Sequence) else list(backbones)
    if len({network.name for network in networks}) != len(networks) or not len(samples):
        raise UsageError("Each network needs a name of its own, and there must be samples")
    rank = _Rank()
    engine = runtime.choose(engine, rank.device)
    folder = Path(cache) / samples.task
    if not rank.main:
        rank.wait()  # one process reads every file, the others what it found
    images = samples.digest(folder / "files.json")
    if rank.main:
        rank.wait()
    shelf = _Shelf(folder, samples, images, size, engine)
    plan = {(n.name, method): shelf.place(n, method) for n in networks for method in wanted}
    missing = {key: place for key, place in plan.items() if not (place / "features.npy").is_file()}
    if missing:
        shelf.scale = _scale(folder, samples, shelf.images, missing, rank)
        about = _compute(samples, networks, missing, shelf, rank, workers)
        if rank.main:
            for key, place in missing.items():
                _assemble(place, shelf.chunks, about[key], samples.ids)
                remove_temporaries(place)
        rank.wait()
    return {key: _open(place, samples) for key, place in plan.items()}


def is_main_process() -> bool:
    """Say whether this process is the one of a launch that prints and writes; alone it is."""
    return _Rank().main


class _Rank:
    """Which of how many processes this is, and the device it computes on."""

    def __init__(self) -> None:
        import torch
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        # without `cpu=True` several processes on CPUs would each take themselves for the only one
        cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
        self._state = PartialState(cpu=cpu)
        self.index, self.count = self._state.process_index, self._state.num_processes
        self.main = self._state.is_main_process
        device = self._state.device
        self.device = "cpu" if device.type == "cpu" else str(device)

    def wait(self) -> None:
        self._state.wait_for_everyone()


class _Shelf:
    """Where in the cache each table lies, and how its rows are cut into chunks."""

    def __init__(self, folder: Path, samples: Samples, images: str, size: int | None, engine: str) -> None:
        self.folder, self.images, self.size, self.engine = folder, images, size, engine
        height, width = (size, size) if size else samples.shape
        self.view = (height, width)
        chunk = int(np.clip(CHUNK_PIXELS // (height * width), 16, LARGEST_CHUNK))
        self.chunks = [range(start, min(start + chunk, len(samples))) for start in range(0, len(samples), chunk)]
        self.scale: float | None = None  # known once a raw view is wanted

    def place(self, network: Backbone, method: str) -> Path:
        said = {
            "version": CACHE_VERSION,
            "weights": network.digest,
            "preprocess": method,
            "images": self.images,
            "input_size": self.size or "native",
            "engine": self.engine,
        }
        key = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        name = "".join(c if c.isalnum() or c in "-_." else "-" for c in network.name)[:60]
        return self.folder / f"{name}-{method}-{key[:16]}"


def _scale(
    folder: Path, samples: Samples, images: str, missing: Mapping[tuple[str, str], Path], rank: _Rank
) -> float | None:
    """Return what `raw` views divide by; where it had to be measured, it is kept."""
    if not any(method.endswith("raw") for _, method in missing):
        return None
    kept = folder / f"full-scale-{images[:16]}.json"
    if rank.main and not kept.is_file():
        write_atomic(kept, json.dumps({"full_scale": preprocessing.scale_of(samples)}).encode())
    rank.wait()
    return float(json.loads(kept.read_bytes())["full_scale"])


def _compute(
    samples: Samples,
    networks: Sequence[Backbone],
    missing: Mapping[tuple[str, str], Path],
    shelf: _Shelf,
    rank: _Rank,
    workers: int,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Write the chunks that are missing; return what there is to say about each table."""
    methods = tuple(dict.fromkeys(method for _, method in missing))
    todo = [
        (number, rows)
        for number, rows in enumerate(shelf.chunks)
        if not all(_chunk_file(place, number).is_file() for place in missing.values())
    ]
    rank.wait()  # until every process has seen the same state: one that looked later would share out other chunks
    mine = todo[rank.index :: rank.count]
    needed = {model for model, _ in missing}
    runners = {
        n.name: runtime.runner(n.module, n.name, shelf.view, shelf.engine, rank.device)
        for n in networks
        if mine and n.name in needed
    }
    digests = {n.name: (n.digest, n.source) for n in networks}
    started, seconds = time.perf_counter(), dict.fromkeys(missing, 0.0)
    with progress(f"features of {samples.task}", sum(len(rows) for _, rows in mine)) as bar:
        for number, rows in mine:
            lacking = [key for key, place in missing.items() if not _chunk_file(place, number).is_file()]
            parts: dict[tuple[str, str], list[NDArray]] = {key: [] for key in lacking}
            constant = 0
            for batch, flat in _decoded(samples, rows, methods, shelf, workers):
                constant += flat
                at = 0
                for method in methods:
                    count = preprocessing.views_of(method, len(samples.channels))
                    shown = batch[:, at : at + count]
                    at += count
                    for model in [model for model, m in lacking if m == method]:
                        begun = time.perf_counter()
                        parts[model, method].append(_run(runners[model], shown))
                        seconds[model, method] += time.perf_counter() - begun
                bar.advance(len(batch))
            for key in lacking:
                count = constant if key[1].endswith("norm") else 0
                _write_array(_chunk_file(missing[key], number), np.concatenate(parts[key]), np.array(count))
    rank.wait()
    about = {}
    for model, method in missing:
        weights, source = digests[model]
        about[model, method] = {
            "task": samples.task,
            "model": model,
            "source": source,
            "weights": weights,
            "preprocess": method,
            "channels": list(samples.channels),
            "images": shelf.images,
            "input_size": shelf.size or "native",
            "shown": list(shelf.view),
            "full_scale": shelf.scale if method.endswith("raw") else None,
            "engine": shelf.engine,
            "device": rank.device,
            "processes": rank.count,
            # of this process and this run: a resumed run did the rest before
            "computed": sum(len(rows) for _, rows in mine),
            "network_seconds": round(seconds[model, method], 2),
            "all_seconds": round(time.perf_counter() - started, 2),
        }
    return about


def _decoded(
    samples: Samples, rows: range, methods: Sequence[str], shelf: _Shelf, workers: int
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield batches (images, views, height, width) of a chunk, decoded ahead in threads."""

    def show(i: int) -> tuple[NDArray[np.float32], int]:
        try:
            shown, constant = preprocessing.views(samples.load(i), methods, shelf.scale or 1.0)
        except NotFiniteImageError as error:
            raise NotFiniteImageError(error.what, where=f"{samples.task}, sample {samples.ids[i]}") from error
        return _resized(shown, shelf.view), constant

    # a batch depends on the images alone, never on which methods are still missing: equal batches, equal bits
    step = max(1, BATCH_PIXELS // (len(samples.channels) * shelf.view[0] * shelf.view[1]))
    batches = [rows[start : start + step] for start in range(0, len(rows), step)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        waiting = [pool.submit(show, i) for i in batches[0]]
        for following in [*batches[1:], range(0)]:
            ahead = [pool.submit(show, i) for i in following]
            images = [future.result() for future in waiting]
            yield np.stack([shown for shown, _ in images]), sum(constant for _, constant in images)
            waiting = ahead


def _resized(shown: NDArray[np.float32], view: tuple[int, int]) -> NDArray[np.float32]:
    if shown.shape[1:] == view:
        return shown
    import torch
    from torch.nn.functional import interpolate

    # antialiased: a field of 1024 x 1280 shrunk by sampling alone would turn texture into noise
    small = interpolate(torch.from_numpy(shown)[None], size=view, mode="bilinear", antialias=True, align_corners=False)
    return small[0].clamp_(0, 1).numpy()


def _run(run: runtime.Runner, shown: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (images, views x features): each view on its own, then side by side."""
    images, count, height, width = shown.shape
    out = run(np.ascontiguousarray(shown.reshape(images * count, height, width)))
    return out.reshape(images, -1)


def _chunk_file(place: Path, number: int) -> Path:
    return place / f"chunk-{number:05d}.npy"


def _write_array(path: Path, *arrays: NDArray) -> None:
    with atomic_writer(path) as file:
        for array in arrays:
            np.save(file, array, allow_pickle=False)


def _assemble(place: Path, chunks: Sequence[range], about: dict[str, Any], ids: Sequence[str]) -> None:
    """Put the chunks into one file, then let go of them."""
    files = [_chunk_file(place, number) for number in range(len(chunks))]
    first = np.load(files[0], mmap_mode="r")
    header = {"descr": "<f4", "fortran_order": False, "shape": (chunks[-1].stop, first.shape[1])}
    constant = 0
    with atomic_writer(place / "features.npy") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for path in files:
            with open(path, "rb") as file:
                out.write(np.load(file, allow_pickle=False).tobytes())
                constant += int(np.load(file, allow_pickle=False))
        about["constant_channels"] = constant if about["preprocess"].endswith("norm") else None
        # before features.npy comes to stand there, which says that all is done
        write_atomic(place / "about.json", json.dumps(about, indent=2).encode())
        write_atomic(place / "ids.txt", "\n".join(ids).encode())
    for path in files:
        path.unlink(missing_ok=True)


def _open(place: Path, samples: Samples) -> Features:
    ids = (place / "ids.txt").read_text().split("\n")
    values = np.load(place / "features.npy", mmap_mode="r", allow_pickle=False)
    if ids != samples.ids or len(values) != len(ids):
        raise UsageError("The cached features are of other samples", where=place, next="Remove this folder")
    return Features(ids, values, json.loads((place / "about.json").read_bytes()))
