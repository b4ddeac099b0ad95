"""A contact sheet for quality control: the worst kept images, a sample of all, and a sample of each reason."""

from __future__ import annotations

import heapq
import os
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from .. import schema
from ..errors import ConstantImageError, NotFiniteImageError, UsageError
from ..formats.grey_png import decode_png
from ..images.channel_reader import Reader, Refused
from ..images.contact_sheet import sheet
from ..images.normalise import normalise, to_grey8
from ..seeded import sort_key
from ..storage import exists, join, read_bytes
from . import chunk


def qc_montage(
    curated: str | PathLike[str], raw: str | PathLike[str], *, images: int = 10, seed: int = 0
) -> Image.Image:
    """Show kept images of the lowest entropy, a sample of kept images, and samples of rejected images by reason.

    Parameters
    ----------
    curated : str or path
        A finished curated folder.
    raw : str or path
        The sources. Rejected images are read from them: the first channel of each, normalised.
    images : int
        Number of images per row.
    seed : int
        Random seed of the samples.

    Returns
    -------
    PIL.Image.Image
        RGB. A black tile with a cross is an image that can't be read.

    Raises
    ------
    UsageError
        If `curated` is not a finished curated folder.
    """
    curated = os.fspath(curated)
    if not exists(join(curated, "curated.json")):
        raise UsageError(
            "This is not a finished curated folder", where=curated, next="Run `cytoimagenet curate` to its end."
        )
    rows = schema.read(
        join(curated, "rows.parquet"), schema.CURATED, ["filename", "store", "store_offset", "store_size"]
    )
    rejected = schema.read(join(curated, "rejected.parquet"), schema.REJECTED)
    strips = []
    if len(rows):
        worst, bits = _least_entropy(curated, rows, images)
        strips.append(("kept: the worst", f"entropy {min(bits):.2f} to {max(bits):.2f} bits", _kept(curated, worst)))
        some = rows.sample(min(images, len(rows)), random_state=seed)
        strips.append(("kept: a sample", f"of {len(rows):,}", _kept(curated, some)))
    reader = Reader(raw)
    for reason, own in rejected[rejected["stage"] == "curate"].groupby("reason", sort=True):
        order = sorted(own["file"].unique(), key=lambda file: sort_key(file, seed, "qc"))[:images]
        tiles = [_rejected(reader, file) for file in order]
        strips.append((str(reason), f"{len(own):,} left out", tiles))
    return sheet(strips, images)


def _least_entropy(curated: str, rows: pd.DataFrame, images: int) -> tuple[pd.DataFrame, list[float]]:
    """Return the kept images of the lowest entropy, and their entropies in bits; chunks are read one at a time."""
    worst: list[tuple[float, int]] = []
    for store, own in rows.groupby("store"):
        entropy = chunk.read_table(join(curated, str(store))).select(["offset", "size", "entropy"]).to_pandas()
        found = own.reset_index().merge(entropy[entropy["size"] > 0], left_on="store_offset", right_on="offset")
        worst = heapq.nsmallest(images, [*worst, *zip(found["entropy"], found["index"], strict=True)])
    return rows.loc[[row for _, row in worst]], [float(bits) for bits, _ in worst]


def _kept(curated: str, rows: pd.DataFrame) -> list[Image.Image]:
    png_bytes = zip(rows["store"], rows["store_offset"], rows["store_size"], strict=True)
    return [
        Image.fromarray(decode_png(read_bytes(join(curated, store), int(offset), int(size)), store))
        for store, offset, size in png_bytes
    ]


def _rejected(reader: Reader, file: str) -> Image.Image:
    """Return the image of a line of the rejected table, given its `file`; a cross if it can't be read."""
    uncropped, _, box = file.rpartition("xywh=")
    try:
        plane = reader.channel(uncropped[:-1] if box and uncropped else file)
    except Refused:
        return Image.fromarray(np.maximum(np.eye(96, dtype=np.uint8), np.eye(96, dtype=np.uint8)[::-1]) * 90)
    grey = _grey(plane)
    if uncropped:
        x, y, width, height = map(int, box.split(","))
        grey = grey[y : y + height, x : x + width]
    return Image.fromarray(np.ascontiguousarray(grey))


def _grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a channel as 8-bit grey, normalised as for the dataset if that is possible."""
    try:
        return to_grey8(normalise(plane))
    except (ConstantImageError, NotFiniteImageError):
        finite = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
        return to_grey8((finite / max(float(np.abs(finite).max()), 1)).clip(0, 1).astype(np.float32))
