"""Quality control, seen by eye: the worst of what was kept, a sample of it, a sample of each reason to leave out."""

from __future__ import annotations

import heapq
import os
from os import PathLike

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
    """Draw kept images of the lowest entropy, kept images at random, and images left out, a row for each reason.

    Parameters
    ----------
    curated : str or path
        What `curate` wrote.
    raw : str or path
        The sources: what was left out is drawn from them, the first channel of each, as bright as it was judged.
    images : int
        In each row.
    seed : int
        Of the samples.

    Returns
    -------
    PIL.Image.Image
        RGB. A black tile with a cross is an image that can't be read.
    """
    curated = os.fspath(curated)
    if not exists(join(curated, "curated.json")):
        raise UsageError(
            "This is no finished curated folder", where=curated, next="Run `cytoimagenet curate` to its end."
        )
    rows = schema.read(
        join(curated, "rows.parquet"), schema.CURATED, ["filename", "store", "store_offset", "store_size"]
    )
    rejected = schema.read(join(curated, "rejected.parquet"), schema.REJECTED)
    lines = []
    if len(rows):
        worst, bits = _least_entropy(curated, rows, images)
        lines.append(("kept: the worst", f"entropy {min(bits):.2f} to {max(bits):.2f} bits", _kept(curated, worst)))
        some = rows.sample(min(images, len(rows)), random_state=seed)
        lines.append(("kept: a sample", f"of {len(rows):,}", _kept(curated, some)))
    reader = Reader(raw)
    for reason, own in rejected[rejected["stage"] == "curate"].groupby("reason", sort=True):
        order = sorted(own["file"].unique(), key=lambda file: sort_key(file, seed, "qc"))[:images]
        tiles = [_source(reader, file) for file in order]
        lines.append((str(reason), f"{len(own):,} left out", tiles))
    return sheet(lines, images)


def _least_entropy(curated: str, rows: pd.DataFrame, images: int) -> tuple[pd.DataFrame, list[float]]:
    """Find the kept images with the least to see; chunks are read one at a time."""
    worst: list[tuple[float, int]] = []
    for store, own in rows.groupby("store"):
        entropy = chunk.read_table(join(curated, str(store))).select(["offset", "size", "entropy"]).to_pandas()
        found = own.reset_index().merge(entropy[entropy["size"] > 0], left_on="store_offset", right_on="offset")
        worst = heapq.nsmallest(images, [*worst, *zip(found["entropy"], found["index"], strict=True)])
    return rows.loc[[row for _, row in worst]], [float(bits) for bits, _ in worst]


def _kept(curated: str, rows: pd.DataFrame) -> list[Image.Image]:
    places = zip(rows["store"], rows["store_offset"], rows["store_size"], strict=True)
    return [
        Image.fromarray(decode_png(read_bytes(join(curated, store), int(offset), int(size)), store))
        for store, offset, size in places
    ]


def _source(reader: Reader, file: str) -> Image.Image:
    """Draw what a line of the rejected table speaks of."""
    whole, _, box = file.rpartition("xywh=")
    try:
        plane = reader.channel(whole[:-1] if box and whole else file)
    except Refused:
        return Image.fromarray(np.maximum(np.eye(96, dtype=np.uint8), np.eye(96, dtype=np.uint8)[::-1]) * 90)
    grey = _grey(plane)
    if whole:
        x, y, width, height = map(int, box.split(","))
        grey = grey[y : y + height, x : x + width]
    return Image.fromarray(np.ascontiguousarray(grey))


def _grey(plane: NDArray) -> NDArray[np.uint8]:
    try:
        return to_grey8(normalise(plane))
    except (ConstantImageError, NotFiniteImageError):
        finite = np.nan_to_num(plane.astype(np.float64), posinf=0, neginf=0)
        return to_grey8((finite / max(float(np.abs(finite).max()), 1)).clip(0, 1).astype(np.float32))
