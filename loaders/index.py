"""Which images there are and where their bytes lie: arrays made from `metadata.parquet`, shared by all loaders.

With the offset of every image known, no loader parses a tar: shards are read as byte ranges, a subset reads only
its own bytes, and resuming in the middle of an epoch skips without reading.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..builder import schema
from ..builder.dataset.manifest import Manifest
from ..builder.errors import CheckFailedError, UsageError
from .subsets import LABEL_SUBSETS

WEBDATASET = "webdataset"
_COLUMNS = ["label", "category", "database", "split", "shard", "offset", "size"]


@dataclass(frozen=True, eq=False)
class Index:
    """The images of one split, or of a part of it.

    Parameters
    ----------
    root : str
        The dataset folder.
    digest : str
        Of its manifest.
    split : str
    class_names : tuple of str
        In the order of `label`.
    categories : tuple of str
        The category of each class.
    shards : tuple of str
        Paths below the folder.
    shard, offset, size, label, row : array, shape (images,), int64
        Shard number, first byte and number of bytes of the PNG, class number, row of `metadata.parquet`.
    total : int
        Rows of `metadata.parquet`.
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

    def __len__(self) -> int:
        return len(self.label)

    def where(self, image: int) -> str:
        """Name an image for an error message."""
        return f"{self.root}/{self.shards[self.shard[image]]}, {self.size[image]} bytes from {self.offset[image]}"


def read_index(
    data_dir: str | PathLike[str],
    split: str = "train",
    *,
    category: str | None = None,
    labels: str | Collection[str] | None = None,
    source: str | None = None,
) -> Index:
    """Find the images of a split.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with tar shards, local or a URL.
    split : {"train", "validation"}
    category : str, optional
        Keep only classes of this category.
    labels : collection of str, or "toy20" or "toy50", optional
        Keep only these classes; the names stand for the authors' subsets.
    source : str, optional
        Keep only images of this database (the column `database`).

    Returns
    -------
    Index
        Its classes are those of the kept images of *both* splits, so that both splits number them alike.

    Raises
    ------
    UsageError
        If the folder is no dataset, is the Parquet twin, or nothing is left of the split.
    CheckFailedError
        If the table and the manifest disagree.
    """
    manifest = Manifest.load(data_dir)
    if manifest.shard_format != WEBDATASET:
        raise UsageError(
            "The loaders read tar shards; this folder has Parquet shards",
            where=str(data_dir),
            next="Use load_dataset for it, or write tar shards with: cytoimagenet shard CURATED --out DIR",
        )
    if split not in schema.SPLITS:
        raise UsageError(f"No split {split!r}; there are {', '.join(schema.SPLITS)}", where=str(data_dir))
    table = manifest.metadata(_COLUMNS)
    found = (table["split"] == split).to_numpy()
    if int(found.sum()) != manifest.rows(split):
        raise CheckFailedError(
            f"metadata.parquet has {int(found.sum()):,} {split} images, the manifest {manifest.rows(split):,}",
            where=str(data_dir),
            next=f"Run: cytoimagenet verify {data_dir}",
        )
    kept = _subset(table, manifest, category, labels, source)
    class_names = manifest.class_names
    if category is not None or labels is not None or source is not None:
        present = set(table.loc[kept, "label"].unique())
        class_names = tuple(name for name in class_names if name in present)
    chosen = kept & found
    if not chosen.any():
        raise UsageError(
            f"No {split} image is left", where=str(data_dir), next="Loosen --category, --labels or --source"
        )
    rows = np.flatnonzero(chosen)
    part = table.iloc[rows]
    shards = tuple(path for path, *_ in manifest.shards(split))
    shard = pd.Categorical(part["shard"], categories=list(shards)).codes.astype(np.int64)
    if (shard < 0).any():
        raise CheckFailedError("metadata.parquet names a shard that the manifest lacks", where=str(data_dir))
    kinds = {entry["label"]: entry["category"] for entry in manifest.classes}
    return Index(
        root=str(data_dir),
        digest=manifest.digest,
        split=split,
        class_names=class_names,
        categories=tuple(kinds[name] for name in class_names),
        shards=shards,
        shard=shard,
        offset=part["offset"].to_numpy(np.int64),
        size=part["size"].to_numpy(np.int64),
        label=pd.Categorical(part["label"], categories=list(class_names)).codes.astype(np.int64),
        row=rows.astype(np.int64),
        total=len(table),
    )


def _subset(
    table: pd.DataFrame,
    manifest: Manifest,
    category: str | None,
    labels: str | Collection[str] | None,
    source: str | None,
) -> NDArray[np.bool_]:
    kept = np.ones(len(table), bool)
    if category is not None:
        there = sorted({entry["category"] for entry in manifest.classes})
        _must_know([category], there, "category")
        kept &= (table["category"] == category).to_numpy()
    if labels is not None:
        named = isinstance(labels, str) and labels in LABEL_SUBSETS
        wanted = list(LABEL_SUBSETS[labels]) if named else [labels] if isinstance(labels, str) else list(labels)  # type: ignore[index]
        if named:  # a part of the dataset may lack some of the authors' labels
            wanted = [label for label in wanted if label in set(manifest.class_names)]
        _must_know(wanted, manifest.class_names, "label")
        kept &= table["label"].isin(wanted).to_numpy()
    if source is not None:
        _must_know([source], sorted(table["database"].unique()), "source")
        kept &= (table["database"] == source).to_numpy()
    return kept


def _must_know(wanted: Collection[str], there: Collection[str], what: str) -> None:
    unknown = [name for name in wanted if name not in set(there)]
    if unknown:
        shown = ", ".join(list(there)[:12]) + (f", ... ({len(there)} in all)" if len(there) > 12 else "")
        raise UsageError(f"No {what} {', '.join(map(repr, unknown))} in this dataset", next=f"There are: {shown}")
