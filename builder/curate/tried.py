"""All images that were tried: the tables of all chunks, joined with the selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import storage
from ..images import channels
from ..images.crops import Box
from . import chunk
from .chunk import ChunkResult
from .plan import Plan


@dataclass(frozen=True)
class TriedImages:
    """All images that were tried, kept or not.

    Parameters
    ----------
    selection : pyarrow.Table of schema.SELECTION, (rows,)
        The source images, sorted by label, then idx.
    classes : list of str
        Labels, sorted.
    class_of_row : int array, shape (rows,)
        Index of the class of each source image.
    table : pyarrow.Table of chunk.TRIED, (images,)
        About 100 bytes of facts per image, no pixels.
    row : int array, shape (images,)
        The source image, as a row of the selection, of each image.
    chunk : int array, shape (images,)
        Index of the chunk that each image is in.
    """

    selection: pa.Table
    classes: list[str]
    class_of_row: NDArray[np.int64]
    table: pa.Table
    row: NDArray[np.int64]
    chunk: NDArray[np.int64]

    @property
    def number(self) -> NDArray[np.int8]:
        """Index of each image within its row (0, 1, ...)."""
        return self.table["number"].to_numpy()

    @property
    def class_of_image(self) -> NDArray[np.int64]:
        """Index of the class of each image."""
        return self.class_of_row[self.row]

    def files(self, images: NDArray[np.int64]) -> list[str]:
        """Return, of some images, the source file (or the file at fault), with the box of a crop."""
        all_channels = self.selection["channels"].take(pa.array(self.row[images])).to_pylist()
        files = []
        for row_channels, image in zip(all_channels, self.table.take(pa.array(images)).to_pylist(), strict=True):
            first = row_channels.split("|")[0]
            box = Box(image["x_min"], image["x_max"], image["y_min"], image["y_max"], image["scaling"])
            files.append(channels.with_box(first, box.xywh) if image["crop"] else image["file"] or first)
        return files


def gather(plan: Plan, chunks: Sequence[ChunkResult], out: str) -> TriedImages:
    """Read the tables of all chunks.

    Parameters
    ----------
    plan : Plan
    chunks : sequence of ChunkResult
        In the order of the plan.
    out : str
        The curated folder.
    """
    tables, rows, numbers, start = [], [], [], 0
    for number, result in enumerate(chunks):
        table = chunk.read_table(storage.join(out, chunk.FOLDER, result.name))
        tables.append(table)
        rows.append(plan.order[start + table["row"].to_numpy()])
        numbers.append(np.full(len(table), number))
        start += result.rows
    classes, class_of_row = np.unique(plan.selection["label"].to_numpy(zero_copy_only=False), return_inverse=True)
    return TriedImages(
        plan.selection,
        classes.tolist(),
        class_of_row,
        pa.concat_tables(tables).combine_chunks(),
        np.concatenate(rows),
        np.concatenate(numbers),
    )
