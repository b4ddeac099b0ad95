"""A user's own images as samples, for the same extraction, cache and networks as the tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.image_table.check import refuse_not_finite
from ...builder.image_table.places import file_of
from ...builder.image_table.reader import PlaneReader
from ...builder.image_table.table import ImageTable
from ...builder.images.channel_reader import Refused
from ..sets.samples import Samples
from .decode import Refusal


@dataclass(frozen=True)
class ImageSamples(Samples):
    """The samples of an image table. Those that can't be read are found when they are decoded.

    Attributes
    ----------
    reader : PlaneReader
        Reads the places in `table`, whose columns are `channels`.
    """

    reader: PlaneReader | None = None

    def planes(self, i: int) -> list[NDArray[Any]]:
        """Decode sample `i`.

        Returns
        -------
        list of arrays, each of shape (height, width)
            One per channel, in the integer or float type of its file.

        Raises
        ------
        Refused
            If a channel can't be read or contains a value that is not a finite number, or the channels differ in size.
        """
        assert self.reader is not None
        places = [self.table[channel].iloc[i] for channel in self.channels]
        planes = self.reader.planes(places)
        for plane, place in zip(planes, places, strict=True):
            refuse_not_finite(plane, place)
        return planes

    def digest(self, cache: Path | None = None) -> str:
        """Return a SHA-256 of the ids, the places, and size and time of change (in a zip the checksum) of every file.

        The files are not read: there may be terabytes of them.
        """
        assert self.reader is not None
        places = self.table[list(self.channels)]
        states = self.reader.root.states({file_of(place) for column in places for place in places[column]})
        rows = self.table[["id", *self.channels]].copy()
        for channel in self.channels:
            rows[channel] += places[channel].map(lambda place: " " + states.get(file_of(place), ""))
        found = hashlib.sha256("\n".join(self.channels).encode())
        found.update(rows.to_csv(index=False).encode())
        return found.hexdigest()

    @cached_property
    def first_shape(self) -> tuple[int, int]:
        """Height and width in pixels of the first sample that can be read."""
        for i in range(len(self)):
            try:
                return self.planes(i)[0].shape
            except Refused:
                continue
        raise UsageError("No image can be read", where=self.root)

    def full_scale(self) -> float:
        """Return the value that becomes 1 in `raw` views; every image is read for it.

        If all images are integers of up to 16 bits, it is the largest value of the widest of their types, else the
        largest value in the images.
        """
        widest, largest, integers = 0.0, 0.0, True
        for i in range(len(self)):
            try:
                planes = self.planes(i)
            except Refused:
                continue
            for plane in planes:
                kind = plane.dtype
                if kind.kind in "ui" and kind.itemsize <= 2:
                    widest = max(widest, float(np.iinfo(kind).max))
                else:
                    integers = False
                largest = max(largest, float(plane.max()))
        return widest if integers else largest if largest > 0 else 1.0


def samples_of(table: ImageTable) -> ImageSamples:
    """Return the samples of an image table."""
    rows = table.rows[["id", *table.files, "label", "group", "split"]]
    return ImageSamples(table.name, Path(table.root.path), rows, tuple(table.files), (0, 0), reader=table.reader)


def rejections(samples: Samples, refused: Sequence[Refusal]) -> pd.DataFrame:
    """Return the samples that could not be decoded as `ImageTable.without` takes them."""
    bad = [(samples.ids[one.sample], one.file, one.reason, one.detail) for one in refused]
    return pd.DataFrame(bad, columns=["id", "file", "reason", "detail"], dtype="str")
