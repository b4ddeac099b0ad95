"""A picture of some samples of a table, so that a user sees what was understood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ConstantImageError
from ..images.contact_sheet import sheet
from ..images.normalise import normalise, to_grey8
from .table import ImageTable

TILES = 8  # images in a row
ROWS = 12


def montage(table: ImageTable, *, rows: int = ROWS, tiles: int = TILES) -> Image.Image:
    """Return a picture of samples: one row per label, the most frequent first; without labels, evenly spaced samples.

    Parameters
    ----------
    table : ImageTable
        Its images can be read (`check.check_pixels`).
    rows : int
        Rows at most.
    tiles : int
        Images in a row. The channels of a sample are next to each other, in the order of the table.

    Returns
    -------
    PIL.Image.Image
        RGB. Each channel is stretched between its 0.1 and 99.9 percentile; a constant one is black.
    """
    per_row = max(1, tiles // len(table.channels))
    names = [channel for channel in table.channels if channel]
    shown: list[tuple[str, str, list[Image.Image]]] = []
    if table.has("label"):
        counts = table.rows["label"].value_counts()
        for label in sorted(counts.index[counts.index != ""], key=lambda name: (-counts[name], name))[:rows]:
            here = np.flatnonzero(table.rows["label"] == label)
            note = f"{len(here):,} samples" + (f"; {', '.join(names)}" if names else "")
            shown.append((label, note, _tiles(table, here[_evenly(len(here), per_row)])))
    else:
        chosen = _evenly(len(table), rows * per_row)
        for start in range(0, len(chosen), per_row):
            part = chosen[start : start + per_row]
            shown.append((table.rows["id"].iloc[part[0]], ", ".join(names), _tiles(table, part)))
    return sheet(shown, per_row * len(table.channels))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` positions of `count`, evenly spaced."""
    return np.arange(min(count, most)) * count // min(count, most)


def _tiles(table: ImageTable, samples: NDArray[np.int64]) -> list[Image.Image]:
    return [Image.fromarray(_grey(plane)) for row in samples for plane in table.read(int(row))]


def _grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    try:
        return to_grey8(normalise(plane))
    except ConstantImageError:
        return np.zeros(plane.shape, np.uint8)
