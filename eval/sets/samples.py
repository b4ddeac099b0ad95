"""The samples of an evaluation set: one row per image or cell, and their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .fingerprint import fingerprints

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """The samples of one task, checked and ready to be decoded.

    Subclasses define `planes`; the published sets use `stored.StoredSamples`. This class itself is for tables of
    features, whose samples have no pixels. Samples open files by path, so they can be sent to another process.

    Attributes
    ----------
    task : str
        Name of the task.
    root : Path
        The folder they were read from.
    table : DataFrame
        One row per sample. These columns are always there: `id` (text, unique, the same for every layout on disk and
        order of the files), `label` (the class; "" if the sample has none) and `split` ("", or for COOS-7 "train",
        "test1" ... "test4"). BBBC021 adds compound, concentration (µM), plate, well, site and week; COOS-7 adds date,
        microscope, plate and well. The other columns locate the pixels.
    channels : tuple of str
        Names of the channels, in the order in which `load` returns them.
    shape : tuple of int
        Height and width of every sample, in pixels.
    left_out : mapping of str to int
        What was left out, and how many.
    """

    task: str
    root: Path
    table: pd.DataFrame
    channels: tuple[str, ...]
    shape: tuple[int, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """The ids, in the order of the table."""
        return self.table["id"].tolist()

    def load(self, i: int) -> NDArray[np.generic]:
        """Decode sample `i`.

        Returns
        -------
        array, shape (channels, height, width)
            Raw pixels in a type that can represent the values of all channels.
        """
        return np.stack(self.planes(i))

    def planes(self, i: int) -> Sequence[NDArray[np.generic]]:
        """Decode sample `i`: one array of shape (height, width) per channel, in the data type of its file."""
        raise NotImplementedError

    @property
    def at_once(self) -> int:
        """Number of samples that `several` reads best at once."""
        return 1

    def several(self, some: Sequence[int]) -> list[Sequence[NDArray[np.generic]]]:
        """Decode some samples, each as `planes`."""
        return [self.planes(i) for i in some]

    @property
    def first_shape(self) -> tuple[int, int]:
        """Height and width in pixels of the first sample."""
        return self.shape

    def full_scale(self) -> float:
        """Return the value that becomes 1 in `raw` views, by which the pixels are divided.

        For integers of up to 16 bits it is the largest value of their type. For floats and wider integers, whose range
        no camera uses, it is the largest value of the split `train` if there is one (COOS-7), else of all samples,
        which are read for this.
        """
        kind = self.load(0).dtype
        if kind.kind in "ui" and kind.itemsize <= 2:
            return float(2 ** (8 * kind.itemsize - (kind.kind == "i")) - 1)
        train = np.flatnonzero(self.table["split"] == "train").tolist() if "split" in self.table else []
        read = train or range(len(self))
        groups = (read[start : start + self.at_once] for start in range(0, len(read), self.at_once))
        largest = max(float(np.max(plane)) for some in groups for planes in self.several(some) for plane in planes)
        return largest if largest > 0 else 1.0

    def digest(self, cache: Path | None = None) -> str:
        """Return a SHA-256 of the list of samples and of the bytes of all their files.

        Parameters
        ----------
        cache : path, optional
            File that stores the digests of the image files, so that the next call reads only files that have changed.
        """
        locators = self.table[["file"] if "file" in self.table else list(self.channels)]
        digests = fingerprints((locator for column in locators for locator in locators[column]), cache)
        rows = self.table[[name for name in ("id", "key", "row") if name in self.table]].astype(str)
        rows = rows.assign(**{str(column): locators[column].map(digests) for column in locators})
        result = hashlib.sha256("\n".join([self.task, *self.channels, str(self.shape)]).encode())
        result.update(rows.to_csv(index=False).encode())
        return result.hexdigest()
