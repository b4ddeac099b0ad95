"""Where each image goes: its key, its split's shuffled order, its shard. The first of two passes over the rows.

Only five narrow columns are held, so the plan takes about 200 bytes an image whatever the rows carry.
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

MIN_SHARDS = 8  # every split of MANY images can be read by 8 workers, and counts divide by ranks x workers
MANY = 256
_KEY = re.compile(r"[0-9a-z_-]+")
MAX_KEY = 95  # with `.json` a name fits the 100 bytes of a plain tar header


@dataclass(frozen=True)
class Plan:
    """The place of every image, as parallel arrays sorted by row; a sample image has a second entry.

    `shard` counts through `names`; `position` is the place within the shard.
    """

    keys: list[str]
    classes: pd.DataFrame
    names: list[str]
    split_of: list[str]
    row: NDArray[np.int64]
    shard: NDArray[np.int64]
    position: NDArray[np.int64]


def make_plan(rows: pd.DataFrame, *, shard_size: int, seed: int, suffix: str) -> Plan:
    """Plan all shards.

    Parameters
    ----------
    rows : DataFrame
        Columns label, category, filename, split, store_size; one row an image.
    shard_size : int
        Wished bytes of images in a shard.
    seed : int
        Of the shuffle. The order depends on (seed, key) alone, not on the order of the rows.
    suffix : str
        `tar` or `parquet`.

    Raises
    ------
    SchemaError
        If a label has two categories, or a split is unknown.
    UsageError
        If there is no image.
    """
    if rows.empty:
        raise UsageError("There are no images to write", next="Look into rejected.parquet: it says why each was left")
    unknown = sorted(set(rows["split"]) - set(schema.SPLITS))
    if unknown:
        raise SchemaError(f"Unknown split {unknown[0]!r}; there are {', '.join(schema.SPLITS)}")
    classes = count_classes(rows)
    keys = safe_keys(rows["filename"])
    order = shuffled(keys, seed)
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
        place_in_class = pd.Series(rows["label"].to_numpy()[train]).groupby(pd.Series(rows["label"].to_numpy()[train]))
        place(SAMPLE, train[place_in_class.cumcount().to_numpy() < SAMPLE_PER_CLASS], 1)
    by_row = np.argsort(np.concatenate(row), kind="stable")
    arrays = (np.concatenate(part)[by_row] for part in (row, shard, position))
    return Plan(keys, classes, names, split_of, *arrays)


def shard_count(images: int, size: int, shard_size: int) -> int:
    """Return into how many shards a split is cut.

    Eight or more for a split of 256 images or more, then multiples of eight, which divide well among ranks and
    workers; never more than there are images.
    """
    count = max(1, -(-size // shard_size))
    if images >= MANY:
        count = max(MIN_SHARDS, -(-count // MIN_SHARDS) * MIN_SHARDS)
    return min(count, images)


def count_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return schema.CLASSES of the rows: the classes in index order (by label), with images per split."""
    categories = rows[["label", "category"]].drop_duplicates()
    twice = categories["label"][categories["label"].duplicated()]
    if len(twice):
        raise SchemaError(f"Class {twice.iloc[0]!r} has two categories; a label belongs to one")
    counts = pd.crosstab(rows["label"], rows["split"]).reindex(columns=list(schema.SPLITS), fill_value=0)
    table = categories.set_index("label").join(counts)
    table = table.loc[sorted(table.index)].reset_index()
    table.insert(0, "index", np.arange(len(table)))
    return table


def safe_keys(filenames: Iterable[str]) -> list[str]:
    """Make a key of each file name: unique, of `[0-9a-z_-]` alone, short enough for a plain tar header.

    A dot would split the key in every WebDataset reader. A name that already is a key without its `.png` stays.
    """
    keys: list[str] = []
    taken: dict[str, int] = {}  # key -> how many wanted it
    for filename in filenames:
        key = base = _plain(filename)
        while key in taken:
            taken[base] += 1
            key = f"{base[: MAX_KEY - 8]}-{taken[base]}"
        taken[key] = 1
        keys.append(key)
    return keys


def _plain(filename: str) -> str:
    """Return the key of a file name, before equal keys are numbered.

    Not `curate.naming.slug`: that one replaces a letter outside ASCII by `_`, this one leaves it out. Both are names
    in datasets that exist, and a file name that `curate` wrote is a key already.
    """
    stem = filename[:-4] if filename[-4:].lower() == ".png" else filename
    if len(stem) <= MAX_KEY and _KEY.fullmatch(stem):
        return stem
    letters = unicodedata.normalize("NFKD", stem.lower()).encode("ascii", "ignore").decode()
    base = re.sub(r"[^0-9a-z_-]+", "_", letters) or "image"
    if len(base) > MAX_KEY:
        base = f"{base[: MAX_KEY - 17]}-{hashlib.sha256(stem.encode()).hexdigest()[:16]}"
    return base
