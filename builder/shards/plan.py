"""Assign every image its key, its shard and its position there. The first of two passes over the rows.

A shard is one file with many images. The images of a split are shuffled with a seed and cut into shards of equal
numbers of images, so that every shard is a random sample of all classes.

The order depends on the pixels, not on the names. Names are numbers within a class, which change when the class loses
an image; in a new version of a dataset, the images that are the same are still next to each other, and the chunk store
of the Hub, which has them, needs only the others.

Only six narrow columns are read, so the plan takes about 300 bytes of memory per image.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import schema
from ..errors import SchemaError, UsageError
from ..schema import SAMPLE, SAMPLE_PER_CLASS
from ..seeded import shuffled

MIN_SHARDS = 8  # of a split with MIN_IMAGES_TO_DIVIDE or more: 8 processes can read it, each its own shards
MIN_IMAGES_TO_DIVIDE = 256
MAX_KEY_LENGTH = 95  # characters; with `.json` a name fits into the 100 bytes of a plain tar header
_KEY = re.compile(r"[0-9a-z_-]+")


@dataclass(frozen=True)
class ShardPlan:
    """Shard and position of every image. An image of the split `sample` also has an entry for `train`.

    Attributes
    ----------
    keys : list of str
        Key of each row: the unique name of its image in the shards.
    classes : DataFrame
        Columns of schema.CLASSES.
    names : list of str
        Path of each shard below the dataset folder.
    split_of : list of str
        Split of each shard.
    row, shard, position : int array, shape (entries,)
        Parallel, sorted by row: row number, number of the shard in `names`, index within the shard (0, 1, ...).
    """

    keys: list[str]
    classes: pd.DataFrame
    names: list[str]
    split_of: list[str]
    row: NDArray[np.int64]
    shard: NDArray[np.int64]
    position: NDArray[np.int64]


def plan_shards(rows: pd.DataFrame, *, shard_size: int, seed: int, suffix: str) -> ShardPlan:
    """Plan all shards.

    Parameters
    ----------
    rows : DataFrame
        Columns label, category, filename, split, store_size, sha256 (of the pixels); one row per image.
    shard_size : int
        Target size of a shard, in bytes of its images.
    seed : int
        Random seed of the shuffle. The order depends on seed and pixels only, not on the order of the rows.
    suffix : str
        Ending of the shards' names, `tar` or `parquet`.

    Raises
    ------
    SchemaError
        If a label has two categories, or a split is unknown.
    UsageError
        If there is no image.
    """
    if rows.empty:
        raise UsageError("There are no images to write", next="rejected.parquet has the reason for each image")
    unknown = sorted(set(rows["split"]) - set(schema.SPLITS))
    if unknown:
        raise SchemaError(f"Unknown split {unknown[0]!r}; there are {', '.join(schema.SPLITS)}")
    classes = count_classes(rows)
    keys = safe_keys(rows["filename"])
    order = shuffled(_identities(rows["sha256"], keys), seed)
    names: list[str] = []
    split_of: list[str] = []
    row, shard, position = [], [], []

    def place(split: str, members: NDArray[np.int64], count: int) -> None:
        """Cut the shuffled members of a split into `count` shards of equal numbers of images."""
        edges = len(members) * np.arange(count + 1) // count
        which = np.repeat(np.arange(count), np.diff(edges))
        row.append(members)
        shard.append(which + len(names))
        position.append(np.arange(len(members)) - edges[which])
        names.extend(f"data/{split}-{i:05d}-of-{count:05d}.{suffix}" for i in range(count))
        split_of.extend([split] * count)

    split, size = rows["split"].to_numpy(), rows["store_size"].to_numpy()
    for name in schema.SPLITS:
        members = order[split[order] == name]
        if len(members):
            place(name, members, shard_count(len(members), int(size[members].sum()), shard_size))
    train = order[split[order] == "train"]
    if len(train):
        labels = pd.Series(rows["label"].to_numpy()[train])
        index_in_class = labels.groupby(labels).cumcount().to_numpy()
        place(SAMPLE, train[index_in_class < SAMPLE_PER_CLASS], 1)
    by_row = np.argsort(np.concatenate(row), kind="stable")
    arrays = (np.concatenate(part)[by_row] for part in (row, shard, position))
    return ShardPlan(keys, classes, names, split_of, *arrays)


def _identities(digests: pd.Series, keys: list[str]) -> list[str]:
    """Return a different text for each image: the digest of its pixels, and its key if others have the same pixels."""
    repeated = digests.duplicated(keep=False)
    return [f"{d}\0{key}" if twice else d for d, key, twice in zip(digests, keys, repeated, strict=True)]


def shard_count(images: int, size: int, shard_size: int) -> int:
    """Return the number of shards of a split.

    One per `shard_size` bytes. A split of 256 images or more has a multiple of eight shards, which divide evenly among
    the processes and workers that read them. There are never more shards than images.

    Parameters
    ----------
    images : int
        Number of images of the split.
    size : int
        Bytes of these images.
    shard_size : int
        Target size of a shard in bytes.

    Examples
    --------
    >>> shard_count(100, 5_000_000, 2_000_000), shard_count(300, 5_000_000, 2_000_000)
    (3, 8)
    """
    count = max(1, -(-size // shard_size))
    if images >= MIN_IMAGES_TO_DIVIDE:
        count = max(MIN_SHARDS, -(-count // MIN_SHARDS) * MIN_SHARDS)
    return min(count, images)


def count_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the classes of the rows as schema.CLASSES: sorted by label, with the number of images per split."""
    categories = rows[["label", "category"]].drop_duplicates()
    twice = categories["label"][categories["label"].duplicated()]
    if len(twice):
        raise SchemaError(f"Class {twice.iloc[0]!r} has two categories; each label must have one")
    counts = pd.crosstab(rows["label"], rows["split"]).reindex(columns=list(schema.SPLITS), fill_value=0)
    table = categories.set_index("label").join(counts)
    table = table.loc[sorted(table.index)].reset_index()
    table.insert(0, "index", np.arange(len(table)))
    return table


def safe_keys(filenames: Iterable[str]) -> list[str]:
    """Return a key for each file name: unique, only characters of `[0-9a-z_-]`, short enough for a tar header.

    A dot would split the key in every WebDataset reader. A name that is a valid key without its `.png` is not changed.

    Examples
    --------
    >>> safe_keys(["human-01.png", "Taxol (10 nM)-01.png", "human-01.png"])
    ['human-01', 'taxol_10_nm_-01', 'human-01-2']
    """
    keys: list[str] = []
    taken: dict[str, int] = {}  # key -> number of file names that gave it
    for filename in filenames:
        key = base = _key_of(filename)
        while key in taken:
            taken[base] += 1
            key = f"{base[: MAX_KEY_LENGTH - 8]}-{taken[base]}"
        taken[key] = 1
        keys.append(key)
    return keys


def _key_of(filename: str) -> str:
    """Return the key of a file name, before equal keys get numbers.

    Not `curate.naming.slug`: that one replaces a letter outside ASCII by `_`, this one leaves it out. Both are names
    in datasets that exist, and a file name that `curate` wrote is a key already.
    """
    stem = filename[:-4] if filename[-4:].lower() == ".png" else filename
    if len(stem) <= MAX_KEY_LENGTH and _KEY.fullmatch(stem):
        return stem
    letters = unicodedata.normalize("NFKD", stem.lower()).encode("ascii", "ignore").decode()
    base = re.sub(r"[^0-9a-z_-]+", "_", letters) or "image"
    if len(base) > MAX_KEY_LENGTH:
        base = f"{base[: MAX_KEY_LENGTH - 17]}-{hashlib.sha256(stem.encode()).hexdigest()[:16]}"
    return base
