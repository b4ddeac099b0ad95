"""Every image that was tried, as its chunk tells of it, brought together with the selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import storage
from ..images import channels as locator
from ..images.crops import Box
from . import chunk
from .chunk import Done

BATCH = 50_000  # lines turned into text at a time


class Lines(NamedTuple):
    """Every image tried: what its chunk says, its row of the selection, and the place of its chunk in the plan."""

    said: pa.Table
    rows: NDArray[np.int64]
    chunks: NDArray[np.int64]


class Classes(NamedTuple):
    """The classes of a selection, in the order of their labels; `of` is each row's."""

    names: list[str]
    of: NDArray[np.int64]


def gather(order: NDArray[np.int64], done: Sequence[Done], out: str) -> Lines:
    """Read what all chunks say."""
    tables, rows, chunks, start = [], [], [], 0
    for number, one in enumerate(done):
        table = chunk.read_table(storage.join(out, chunk.FOLDER, one.name))
        tables.append(table)
        rows.append(order[start + table["row"].to_numpy()])
        chunks.append(np.full(len(table), number))
        start += one.rows
    return Lines(pa.concat_tables(tables).combine_chunks(), np.concatenate(rows), np.concatenate(chunks))


def places(selection: pa.Table, lines: Lines, at: NDArray[np.int64]) -> list[str]:
    """Name images by their source file, or the file at fault, and their box if they are crops."""
    channels = selection["channels"].take(pa.array(lines.rows[at])).to_pylist()
    places = []
    for files, said in zip(channels, lines.said.take(pa.array(at)).to_pylist(), strict=True):
        first = files.split("|")[0]
        box = Box(said["x_min"], said["x_max"], said["y_min"], said["y_max"], said["scaling"])
        places.append(locator.with_box(first, box.xywh) if said["crop"] else said["file"] or first)
    return places


def as_table(columns: Mapping[str, Any], wanted: pa.Schema) -> pa.Table:
    """Make a table of `wanted` from columns, of which there may be more."""
    arrays = []
    for entry in wanted:
        column = columns[entry.name]
        column = column if isinstance(column, pa.ChunkedArray | pa.Array) else pa.array(column, entry.type)
        arrays.append(column.cast(entry.type))
    return pa.table(arrays, schema=wanted)
