"""Read every image of a table once: what can't be read is rejected, sizes and types are counted."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..images.channel_reader import Refused
from ..progress import progress
from .table import ImageTable

BATCH = 256  # samples handed to the threads at once: the queue stays short for any number of samples
MOST_THREADS = 4  # more are not faster: they wait for Python's lock


def check_pixels(
    table: ImageTable, *, strict: bool = False, workers: int | None = None
) -> tuple[ImageTable, pd.DataFrame]:
    """Read all images of a table.

    Parameters
    ----------
    table : ImageTable
    strict : bool
        Raise an error if a sample can't be used.
    workers : int, optional
        Number of threads; the result does not depend on it.

    Returns
    -------
    ImageTable
        Without the samples that can't be read, whose channels differ in size, or that contain a value that is not a
        finite number; these are in `rejected`.
    DataFrame
        One row per remaining sample: `id`; `size` as `WIDTHxHEIGHT` in pixels; `type` of the pixels, such as `uint16`,
        several joined by `, ` where the channels differ.

    Raises
    ------
    MetadataError
        If no sample is left, or with `strict` one was rejected.
    """
    reader, files = table.reader, table.files
    places = table.rows[files].to_numpy().tolist()
    ids = table.rows["id"].tolist()
    measured: list[tuple[str, str, str]] = []
    refused: list[tuple[str, str, str, str]] = []

    def look(row: int) -> tuple[str, str] | Refused:
        try:
            planes = reader.planes(places[row])
            for plane, place in zip(planes, places[row], strict=True):
                refuse_not_finite(plane, place)
        except Refused as reason:
            return reason
        height, width = planes[0].shape
        return f"{width}x{height}", ", ".join(dict.fromkeys(str(plane.dtype) for plane in planes))

    count = max(1, workers or min(os.cpu_count() or 1, MOST_THREADS))
    with progress(f"reading {table.name}", len(ids)) as bar, ThreadPoolExecutor(count) as pool:
        for start in range(0, len(ids), BATCH):
            batch = range(start, min(start + BATCH, len(ids)))
            for row, found in zip(batch, pool.map(look, batch), strict=True):
                if isinstance(found, Refused):
                    refused.append((ids[row], found.file, found.verdict.reason, found.verdict.detail))
                else:
                    measured.append((ids[row], *found))
                bar.advance(failed=int(isinstance(found, Refused)))
    bad = pd.DataFrame(refused, columns=["id", "file", "reason", "detail"], dtype="str")
    sizes = pd.DataFrame(measured, columns=["id", "size", "type"], dtype="str")
    return table.without(bad, strict=strict), sizes


def refuse_not_finite(plane: NDArray[Any], place: str) -> None:
    """Raise `Refused` if a pixel is infinite or not a number."""
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        raise Refused("not_finite", "a pixel is infinite or not a number", place)
