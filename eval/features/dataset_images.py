"""Images of a dataset folder as samples: the same extraction, cache and networks as for the tasks."""

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

from ...builder.dataset.manifest import Manifest
from ...builder.dataset.ranges import reader_of
from ...builder.dataset.read_images import decode
from ...builder.errors import UnreadableImageError, UsageError
from ...builder.images.channel_reader import Reader, Refused
from ...builder.images.normalise import merge_float, to_grey8
from ..tasks import Samples

METHOD = "merge-raw"  # images of the dataset are one grey plane, normalised when they were curated
SIZE = 224  # pixels a side that a network sees; images of a dataset have many sizes


@dataclass(frozen=True)
class Images(Samples):
    """Images as they lie in the shards.

    Attributes
    ----------
    data : str
        SHA-256 of what the images are drawn from.
    """

    data: str = ""

    def load(self, i: int) -> NDArray[np.generic]:
        """Return image `i`, shape (1, height, width), uint8."""
        row = self.table.iloc[i]
        (content,) = reader_of(str(self.root))([row["shard"]], [int(row["offset"])], [int(row["size"])])
        return np.asarray(decode(content, f"{row['shard']}, {row['key']}"))[None]

    def digest(self, kept: Path | None = None) -> str:
        """Return a SHA-256 of the image list and of the dataset's manifest, which vouches for the shards' bytes."""
        return hashlib.sha256("\n".join([self.task, self.data, *self.ids]).encode()).hexdigest()


@dataclass(frozen=True)
class Fields(Images):
    """The whole source images that crops were cut from, channels merged; `root` is RAW."""

    def load(self, i: int) -> NDArray[np.generic]:
        """Return field `i`, shape (1, height, width), uint8."""
        reader = Reader(self.root)
        try:
            channels = [reader.channel(file) for file in self.table["channels"].iloc[i].split("|")]
        except Refused as refused:
            raise UnreadableImageError(refused.file, refused.verdict.detail) from refused
        return to_grey8(merge_float(channels))[None]


def choose(
    data_dir: str | PathLike[str],
    *,
    classes: int | None = 20,
    images: int = 50,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> Images:
    """Draw images of a dataset folder.

    Parameters
    ----------
    data_dir : str or path
        Local or a URL.
    classes : int, optional
        How many classes, drawn at random; None is all.
    images : int
        How many of each at most, drawn at random.
    labels : sequence of str, optional
        These classes instead.
    seed : int
        Of the drawing.

    Raises
    ------
    UsageError
        If a label is none of the dataset's.
    """
    manifest = Manifest.load(data_dir)
    unknown = [label for label in labels or () if label not in manifest.class_names]
    if unknown:
        raise UsageError(f"No class {unknown[0]!r} in this dataset", next="`cytoimagenet info DIR` lists them")
    rows = manifest.metadata()
    names = pd.Series(labels if labels else rows["label"].unique()).sort_values()
    if not labels and classes is not None and len(names) > classes:
        names = names.sample(classes, random_state=seed)
    rows = rows[rows["label"].isin(names)].sort_values("key")
    rows = rows.sample(frac=1, random_state=seed).groupby("label").head(images).sort_values(["label", "key"])
    return _samples(Images, "dataset", manifest.root, rows, manifest.digest)


def whole(crops: Images, raw: str | PathLike[str]) -> Fields:
    """Return the source images of crops, each once, as they were before cropping."""
    rows = crops.table.drop_duplicates("idx").assign(key=lambda rows: rows["label"] + " " + rows["idx"])
    return _samples(Fields, "fields", raw, rows, crops.data)


def _samples(kind: type[Images], task: str, root: str | PathLike[str], rows: pd.DataFrame, data: str) -> Any:
    table = rows.reset_index(drop=True).assign(id=lambda rows: rows["key"])
    if not len(table):
        raise UsageError("No image is left to look at", where=root)
    return kind(task, Path(root), table, ("grey",), (SIZE, SIZE), data=data)
