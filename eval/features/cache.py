"""The cache of computed features: one folder per table, written in chunks so that a killed run can be resumed.

A folder contains `features.npy`, `ids.json` and `about.json` (the settings); while it is computed, one file per chunk.
`features.npy` is written last, so it exists only if the table is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.storage import atomic_writer, write_atomic
from .decode import Refusal
from .table import Features

if TYPE_CHECKING:
    from ..sets.samples import Samples
    from .backbones import Backbone

CACHE_VERSION = 3  # part of the key; raise it when the same settings give other features
CHUNK_PIXELS = 2**26  # pixels of a chunk, which is what a kill loses and what several processes share
MAX_CHUNK = 512  # samples


@dataclass(frozen=True)
class Inputs:
    """What the tables of one run have in common.

    Attributes
    ----------
    images : str
        SHA-256 of the samples.
    size : int or None
        Side in pixels to which views are resized; None for the size of the images.
    view : tuple of int
        Height and width of the views shown to the network.
    engine : str
        "torch" or "openvino".
    tile : str
        How images are cut into tiles of the size of a view: "" (not at all), "mean" (features of an image are the mean
        over its tiles) or "every" (one row per tile).
    """

    images: str
    size: int | None
    view: tuple[int, int]
    engine: str
    tile: str = ""

    @property
    def input_size(self) -> int | str:
        """The size as it is written to settings: pixels, or "native"; of tiles, `tiles of 224, mean`."""
        return f"tiles of {self.view[0]}, {self.tile}" if self.tile else self.size or "native"


def folder_of(folder: Path, network: Backbone, method: str, inputs: Inputs, computed: str = "") -> Path:
    """Return the folder of a table; its name contains a hash of everything that determines the features.

    Parameters
    ----------
    folder : Path
        The cache of a task.
    network : Backbone
    method : str
        Preprocessing, from `views.METHODS`.
    inputs : Inputs
    computed : str
        Kind of device and precision, such as `cuda float16`; empty for float32 on a CPU.
    """
    determines = {
        "version": CACHE_VERSION,
        "weights": network.digest,
        "preprocess": method,
        "images": inputs.images,
        "input_size": inputs.input_size,
        "engine": inputs.engine,
    }
    if computed:
        determines["computed"] = computed
    key = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in network.name)[:60]
    return folder / f"{name}-{method}-{key[:16]}"


def chunks_of(samples: int, view: tuple[int, int]) -> list[range]:
    """Cut samples into chunks.

    Examples
    --------
    >>> chunks_of(1000, (64, 64))
    [range(0, 512), range(512, 1000)]
    """
    chunk = int(np.clip(CHUNK_PIXELS // (view[0] * view[1]), 16, MAX_CHUNK))
    return [range(start, min(start + chunk, samples)) for start in range(0, samples, chunk)]


def is_complete(folder: Path) -> bool:
    """Return whether the table in a folder is complete."""
    return (folder / "features.npy").is_file()


def has_chunk(folder: Path, number: int) -> bool:
    """Return whether a chunk of an incomplete table has been computed."""
    return _chunk_file(folder, number).is_file()


def write_chunk(
    folder: Path,
    number: int,
    values: NDArray[np.float32],
    constant: int,
    rows: NDArray[np.int64] | None = None,
    refused: Sequence[Refusal] = (),
) -> None:
    """Write a chunk.

    Parameters
    ----------
    folder : Path
        Of the table.
    number : int
        Of the chunk.
    values : array, shape (rows, features), float32
    constant : int
        Number of constant channels.
    rows : array, shape (rows, 3), optional
        For each row of `values` the position of its sample and the left and upper edge of its tile. Without it, every
        sample has one row.
    refused : sequence of Refusal
        Samples that can't be used.
    """
    with atomic_writer(_chunk_file(folder, number)) as file:
        np.save(file, values, allow_pickle=False)
        np.save(file, np.array(constant), allow_pickle=False)
        if rows is not None:
            np.save(file, rows, allow_pickle=False)
            text = json.dumps([list(refusal) for refusal in refused]).encode()
            np.save(file, np.frombuffer(text, np.uint8), allow_pickle=False)


def _chunk_file(folder: Path, number: int) -> Path:
    return folder / f"chunk-{number:05d}.npy"


def assemble(folder: Path, chunks: Sequence[range], settings: Mapping[str, Any], ids: Sequence[str]) -> None:
    """Join the chunks to one table and remove them.

    Parameters
    ----------
    folder : Path
        Of the table.
    chunks : sequence of range
        Positions of the samples in each.
    settings : mapping
        Written to `about.json`.
    ids : sequence of str
        Of all samples, those that can't be used included.
    """
    files = [_chunk_file(folder, number) for number in range(len(chunks))]
    shapes = [np.load(path, mmap_mode="r").shape for path in files]
    header = {"descr": "<f4", "fortran_order": False, "shape": (sum(n for n, _ in shapes), shapes[0][1])}
    constant = 0
    names: list[str] = []
    refused: list[list[Any]] = []
    every_tile = str(settings["input_size"]).endswith("every")
    with atomic_writer(folder / "features.npy") as out:
        np.lib.format.write_array_header_1_0(out, header)
        for path, samples in zip(files, chunks, strict=True):
            with open(path, "rb") as file:
                out.write(np.load(file, allow_pickle=False).tobytes())
                constant += int(np.load(file, allow_pickle=False))
                if file.read(1):
                    file.seek(-1, 1)
                    rows = np.load(file, allow_pickle=False)
                    names += [f"{ids[i]}#tile={x},{y}" if every_tile else ids[i] for i, x, y in rows.tolist()]
                    refused += json.loads(np.load(file, allow_pickle=False).tobytes())
                else:
                    names += [ids[i] for i in samples]
        about = {**settings, "constant_channels": constant if settings["preprocess"].endswith("norm") else None}
        # before features.npy gets its name, which marks the table as complete
        write_atomic(folder / "about.json", json.dumps(about, indent=2).encode())
        write_atomic(folder / "ids.json", json.dumps({"ids": names, "refused": refused}).encode())
    for path in files:
        path.unlink(missing_ok=True)


def open_features(folder: Path, samples: Samples) -> Features:
    """Open a complete table.

    Raises
    ------
    UsageError
        If it does not belong to the samples.
    """
    stored = json.loads((folder / "ids.json").read_bytes())
    ids, refused = stored["ids"], [Refusal(*found) for found in stored["refused"]]
    values = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
    without = {refusal.sample for refusal in refused}
    expected = [name for i, name in enumerate(samples.ids) if i not in without]
    if len(values) != len(ids) or list(dict.fromkeys(name.rsplit("#tile=", 1)[0] for name in ids)) != expected:
        raise UsageError("The cached features belong to other samples", where=folder, next="Remove this folder")
    return Features(ids, values, json.loads((folder / "about.json").read_bytes()), refused)


def full_scale_file(folder: Path, inputs: Inputs) -> Path:
    """Return the file that stores the full scale of the samples, which may have been measured."""
    return folder / f"full-scale-{inputs.images[:16]}.json"


def write_full_scale(path: Path, samples: Samples) -> None:
    """Measure the full scale of the samples and store it."""
    write_atomic(path, json.dumps({"full_scale": samples.full_scale()}).encode())


def read_full_scale(path: Path) -> float:
    """Read the full scale of the samples."""
    return float(json.loads(path.read_bytes())["full_scale"])
