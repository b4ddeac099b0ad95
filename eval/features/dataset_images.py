"""Images of a dataset folder as samples, for the same extraction, cache and networks as the tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.dataset.choose import choose_images
from ...builder.dataset.manifest import Manifest
from ...builder.dataset.ranges import reader_of
from ...builder.dataset.read_images import decode
from ...builder.errors import UnreadableImageError, UsageError
from ...builder.images.channel_reader import Reader, Refused
from ...builder.images.normalise import merge_float, to_grey8
from ..sets.samples import Samples

METHOD = "merge-raw"  # an image of the dataset is one grey plane, already normalised when it was curated
SIZE = 224  # side in pixels to which images are resized for a network; a dataset has images of many sizes


@dataclass(frozen=True)
class Images(Samples):
    """Images of a dataset, read from its shards.

    Attributes
    ----------
    data : str
        SHA-256 of the dataset.
    """

    data: str = ""

    def planes(self, i: int) -> list[NDArray[np.generic]]:
        """Return image `i`: one array of shape (height, width), uint8."""
        row = self.table.iloc[i]
        (content,) = reader_of(str(self.root))([row["shard"]], [int(row["offset"])], [int(row["size"])])
        return [np.asarray(decode(content, f"{row['shard']}, {row['key']}"))]

    def digest(self, cache: Path | None = None) -> str:
        """Return a SHA-256 of the list of images and of the manifest, which contains the digests of the shards."""
        return hashlib.sha256("\n".join([self.task, self.data, *self.ids]).encode()).hexdigest()


@dataclass(frozen=True)
class Fields(Images):
    """The source images from which crops were cut, channels merged; `root` is the folder of the raw sources."""

    def planes(self, i: int) -> list[NDArray[np.generic]]:
        """Return field `i`: one array of shape (height, width), uint8."""
        reader = Reader(self.root)
        try:
            channels = [reader.channel(file) for file in self.table["channels"].iloc[i].split("|")]
        except Refused as refused:
            raise UnreadableImageError(refused.file, refused.verdict.detail) from refused
        return [to_grey8(merge_float(channels))]


def choose(
    data_dir: str | PathLike[str],
    *,
    classes: int | None = 20,
    images: int = 50,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Images:
    """Sample images of a dataset folder.

    Parameters
    ----------
    data_dir : str or path
        Local or a URL.
    classes : int, optional
        Number of classes, sampled at random; None for all.
    images : int
        Largest number of images of each class, sampled at random.
    labels : sequence of str, optional
        Take these classes instead.
    seed : int
        Random seed of the sampling.

    Raises
    ------
    UsageError
        If a label is not a class of the dataset.
    """
    manifest = Manifest.load(data_dir)
    rows = choose_images(manifest, manifest.metadata(), classes=classes, images=images, labels=labels, seed=seed)
    return _samples(Images, "dataset", manifest.root, rows.sort_values(["label", "key"]), manifest.digest)


def source_images(crops: Images, raw: str | PathLike[str]) -> Fields:
    """Return the source images of crops, each once, as they were before cropping."""
    rows = crops.table.drop_duplicates("idx").assign(key=lambda rows: rows["label"] + " " + rows["idx"])
    return _samples(Fields, "fields", raw, rows, crops.data)


def _samples(kind: type[Images], task: str, root: str | PathLike[str], rows: pd.DataFrame, data: str) -> Any:
    table = rows.reset_index(drop=True).assign(id=lambda rows: rows["key"])
    if not len(table):
        raise UsageError("There are no images", where=root)
    return kind(task, Path(root), table, ("grey",), (SIZE, SIZE), data=data)
