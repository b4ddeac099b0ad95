"""Index of the images of a split: arrays read from `metadata.parquet`, shared by all loaders.

The index contains the offset of every image in its shard, so no loader parses a tar archive: shards are read as byte
ranges, a subset reads only its own bytes, and resuming within an epoch skips images without reading them.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..builder import schema
from ..builder.dataset import quality as audits
from ..builder.dataset.class_names import find_classes
from ..builder.dataset.manifest import Manifest
from ..builder.dataset.names import QUALITY
from ..builder.dataset.ranges import MAX_IMAGE_BYTES
from ..builder.errors import CheckFailedError, UsageError
from .alternatives import class_indices
from .subsets import LABEL_SUBSETS

WEBDATASET = "webdataset"
_COLUMNS = ["label", "category", "database", "split", "shard", "offset", "size"]
_ALTERNATIVES = "alternatives"


@dataclass(frozen=True, eq=False)
class Index:
    """The images of one split, or of a subset of it.

    Parameters
    ----------
    root : str
        The dataset folder or URL.
    digest : str
        Digest of the dataset's manifest.
    split : {"train", "validation"}
    class_names : tuple of str
        Names of the classes; `label` contains indices into it.
    categories : tuple of str
        The category of each class.
    shards : tuple of str
        Paths of the shards, relative to `root`.
    shard, offset, size, label, row : array, shape (images,), int64
        For each image: index into `shards`, first byte of its PNG in the shard, size of the PNG in bytes, index into
        `class_names`, row of `metadata.parquet`.
    total : int
        Number of rows of `metadata.parquet`.
    audit : str
        The sha256 of the `quality.parquet` that chose the images; empty where none did.
    alternatives : array, shape (images, most alternatives of an image), int32, optional
        Indices into `class_names` of the other right labels of each image, then -1. None if they were not read.
    """

    root: str
    digest: str
    split: str
    class_names: tuple[str, ...]
    categories: tuple[str, ...]
    shards: tuple[str, ...]
    shard: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    label: NDArray[np.int64]
    row: NDArray[np.int64]
    total: int
    audit: str = ""
    alternatives: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def describe(self) -> str:
        """Return split and numbers of images and classes in words."""
        images, classes = len(self), len(self.class_names)
        return f"{self.split}, {images:,} image{'s' * (images != 1)}, {classes:,} class{'es' * (classes != 1)}"

    def where(self, image: int) -> str:
        """Describe the place of an image, for an error message."""
        return f"{self.root}/{self.shards[self.shard[image]]}, {self.size[image]} bytes from {self.offset[image]}"


def read_index(
    data_dir: str | PathLike[str],
    split: str = "train",
    *,
    category: str | None = None,
    labels: str | Collection[str] | None = None,
    database: str | None = None,
    quality: str = audits.ALL,
    alternatives: bool = False,
) -> Index:
    """Read the index of a split, or of a subset of it.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with tar shards, local or a URL.
    split : {"train", "validation"}
    category : str, optional
        Keep only classes of this category, e.g. `compound`.
    labels : collection of str, or "toy20" or "toy50", optional
        Keep only these classes, or the classes of one of the authors' two small subsets.
    database : str, optional
        Keep only images of this database (publisher, the column `database`), e.g. `Recursion`.
    quality : {"all", "clean"}
        `clean` leaves out the images that the audit of the folder flagged; see docs/quality.md.
    alternatives : bool
        Also read the other right labels of each image. A folder of schema 1 has none.

    Returns
    -------
    Index
        Its classes are those of the kept images of *both* splits, so a class has the same index in both.

    Raises
    ------
    UsageError
        If the folder is not a dataset, has Parquet shards or was not audited, a name is unknown, or no image of the
        split is kept.
    CheckFailedError
        If the table and the manifest disagree, or the audit belongs to other images.
    """
    manifest = Manifest.load(data_dir)
    if manifest.shard_format != WEBDATASET:
        raise UsageError(
            "The loaders read tar shards, but this folder has Parquet shards",
            where=str(data_dir),
            next="Use load_dataset for it, or write tar shards with: cytoimagenet shard CURATED --out DIR",
        )
    if split not in schema.SPLITS:
        raise UsageError(f"No split {split!r}; there are {', '.join(schema.SPLITS)}", where=str(data_dir))
    table = manifest.metadata([*_COLUMNS, *[_ALTERNATIVES] * alternatives])
    in_split = (table["split"] == split).to_numpy()
    if int(in_split.sum()) != manifest.rows(split):
        raise CheckFailedError(
            f"metadata.parquet has {int(in_split.sum()):,} {split} images, the manifest {manifest.rows(split):,}",
            where=str(data_dir),
            next=f"Run: cytoimagenet verify {data_dir}",
        )
    kept = _subset(table, manifest, category, labels, database) & audits.part(manifest, quality)
    class_names = manifest.class_names
    if category is not None or labels is not None or database is not None or quality != audits.ALL:
        present = set(table.loc[kept, "label"].unique())
        class_names = tuple(name for name in class_names if name in present)
    chosen = kept & in_split
    if not chosen.any():
        raise UsageError(
            f"No {split} image is left",
            where=str(data_dir),
            next="Choose fewer restrictions: --category, --labels, --database, quality",
        )
    rows = np.flatnonzero(chosen)
    part = table.iloc[rows]
    entries = manifest.shards(split)
    shards = tuple(path for path, *_ in entries)
    shard = pd.Categorical(part["shard"], categories=list(shards)).codes.astype(np.int64)
    if (shard < 0).any():
        raise CheckFailedError("metadata.parquet names a shard that the manifest lacks", where=str(data_dir))
    offset, size = part["offset"].to_numpy(np.int64), part["size"].to_numpy(np.int64)
    _check_places(offset, size, np.array([entry[2] for entry in entries], np.int64)[shard], str(data_dir))
    category_of = {entry["label"]: entry["category"] for entry in manifest.classes}
    return Index(
        root=str(data_dir),
        digest=manifest.digest,
        split=split,
        class_names=class_names,
        categories=tuple(category_of[name] for name in class_names),
        shards=shards,
        shard=shard,
        offset=offset,
        size=size,
        label=pd.Categorical(part["label"], categories=list(class_names)).codes.astype(np.int64),
        row=rows.astype(np.int64),
        total=len(table),
        alternatives=class_indices(part[_ALTERNATIVES], class_names) if alternatives else None,
        audit="" if quality == audits.ALL else manifest.derived[QUALITY]["sha256"],
    )


def database_argument(database: str | None, source: str | None) -> str | None:
    """Return the database to keep, accepting the argument's former name `source` with a DeprecationWarning.

    Raises
    ------
    UsageError
        If both are given.
    """
    if source is None:
        return database
    if database is not None:
        raise UsageError("`source` is the former name of `database`: give one of them", next="Use database=")
    warnings.warn("`source` is now called `database`", DeprecationWarning, stacklevel=3)
    return source


def _check_places(
    offset: NDArray[np.int64], size: NDArray[np.int64], shard_bytes: NDArray[np.int64], where: str
) -> None:
    """Raise an error unless every image is within its shard, whose size the manifest records."""
    wrong = (offset < 0) | (size <= 0) | (size > MAX_IMAGE_BYTES) | (offset > shard_bytes - size)
    if wrong.any():
        row = int(wrong.argmax())
        raise CheckFailedError(
            f"metadata.parquet names {size[row]:,} bytes from {offset[row]:,} of a shard of {shard_bytes[row]:,} bytes",
            where=where,
            next=f"Run: cytoimagenet verify {where}",
        )


def _subset(
    table: pd.DataFrame,
    manifest: Manifest,
    category: str | None,
    labels: str | Collection[str] | None,
    database: str | None,
) -> NDArray[np.bool_]:
    """Return which rows of the table are kept."""
    kept = np.ones(len(table), bool)
    if category is not None:
        _check_known([category], sorted({entry["category"] for entry in manifest.classes}), "category")
        kept &= (table["category"] == category).to_numpy()
    if labels is not None:
        names = find_classes(_label_names(labels, manifest.class_names), manifest.class_names, manifest.root)
        kept &= table["label"].isin(names).to_numpy()
    if database is not None:
        _check_known([database], sorted(table["database"].unique()), "database")
        kept &= (table["database"] == database).to_numpy()
    return kept


def _label_names(labels: str | Collection[str], class_names: Sequence[str]) -> list[str]:
    """Return the labels to keep. Of a named subset, labels that this dataset lacks are left out."""
    if isinstance(labels, str):
        if labels not in LABEL_SUBSETS:
            return [labels]
        return [label for label in LABEL_SUBSETS[labels] if label in set(class_names)]
    return list(labels)


def _check_known(names: Collection[str], available: Collection[str], what: str) -> None:
    unknown = [name for name in names if name not in set(available)]
    if unknown:
        shown = ", ".join(list(available)[:12]) + (f", ... ({len(available)} in all)" if len(available) > 12 else "")
        raise UsageError(f"No {what} {', '.join(map(repr, unknown))} in this dataset", next=f"There are: {shown}")
