"""A table of features as the field exchanges it: `Metadata_` columns, then one column per feature.

The names follow pycytominer: whatever starts with `Metadata_` describes the row, everything else is a number. A feature
is called `<network>_<channel>_<number>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.errors import UsageError
from ...builder.image_table.table import ImageTable
from .table import Features

PREFIX = "Metadata_"
CAPITALISED = ("plate", "well", "site")
"""Columns that pycytominer's examples write with a capital: `Metadata_Plate`."""
IMAGE_COUNT = f"{PREFIX}Image_Count"
BYTES_AT_ONCE = 2**25  # of features, when they are written or averaged


@dataclass(frozen=True)
class Profiles:
    """Features with what is known about each row.

    Attributes
    ----------
    metadata : DataFrame
        One row per row of features; every column starts with `Metadata_`.
    names : list of str
        Names of the features.
    blocks : list of arrays, each of shape (rows, features), float32
        The features, side by side; often memory-mapped.
    settings : mapping
        How they were computed.
    """

    metadata: pd.DataFrame
    names: list[str]
    blocks: list[NDArray[np.float32]]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.metadata)

    def values(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """Return the features of some rows, shape (rows, features)."""
        return np.concatenate([np.asarray(block[start:stop]) for block in self.blocks], axis=1)

    def parts(self) -> Iterator[tuple[int, pd.DataFrame, NDArray[np.float32]]]:
        """Yield first row, metadata and features of some rows at a time: memory does not grow with the table."""
        rows = max(1, BYTES_AT_ONCE // (4 * len(self.names)))
        for start in range(0, len(self), rows):
            yield start, self.metadata.iloc[start : start + rows], self.values(start, start + rows)

    def to_frame(self) -> pd.DataFrame:
        """Return one table, in memory."""
        features = pd.DataFrame(self.values(), columns=self.names, index=self.metadata.index, copy=False)
        return pd.concat([self.metadata, features], axis=1)

    def aggregate(self, by: Sequence[str]) -> Profiles:
        """Average the features of rows that agree in some columns.

        Parameters
        ----------
        by : sequence of str
            Columns of `metadata`, such as `Metadata_Plate` and `Metadata_Well`.

        Returns
        -------
        Profiles
            One row per combination of values, in the order of its first row. Its metadata are `by`, the number of rows
            it is the mean of (`Metadata_Image_Count`), and every other column that has one value in each of them.

        Raises
        ------
        UsageError
            If there is no such column.
        """
        unknown = [name for name in by if name not in self.metadata]
        if unknown or not by:
            raise UsageError(
                f"There is no column {', '.join(unknown)}" if unknown else "No column to aggregate by",
                where="--aggregate",
                next=f"Use some of {', '.join(self.metadata.columns)}",
            )
        grouped = self.metadata.groupby(list(by), sort=False, dropna=False)
        group = grouped.ngroup().to_numpy()
        count = np.bincount(group)
        total = np.zeros((len(count), len(self.names)))
        for start, _, values in self.parts():
            np.add.at(total, group[start : start + len(values)], values)
        total /= count[:, None]
        constant = [
            name for name in self.metadata if name not in by and grouped[str(name)].nunique(dropna=False).max() == 1
        ]
        first = np.unique(group, return_index=True)[1]
        rows = self.metadata[[*by, *constant]].iloc[first].reset_index(drop=True)
        rows.insert(len(by), IMAGE_COUNT, count)
        settings = {**self.settings, "aggregate": list(by)}
        return Profiles(rows, self.names, [total.astype(np.float32)], settings)


def profiles_of(table: ImageTable, features: Mapping[tuple[str, str], Features]) -> Profiles:
    """Join the features of networks and preprocessing methods to the metadata of an image table.

    Parameters
    ----------
    table : ImageTable
    features : mapping of (network, method) to Features
        Of the samples of the table, all with the same rows.

    Returns
    -------
    Profiles
        `Metadata_id`, `Metadata_label`, `Metadata_group`, `Metadata_split` where the table has them, all other columns
        of the table, and of tiles their place; then the features.
    """
    first = next(iter(features.values()))
    methods = {method for _, method in features}
    names: list[str] = []
    for (model, method), found in features.items():
        names += feature_names(model, table.channels, found.values.shape[1], method, several=len(methods) > 1)
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise UsageError(f"Two features would be called {twice!r}", next="Rename a channel or a network")
    parts = pd.Series(first.ids, dtype="str").str.extract(r"(?s)^(.*?)(?:#tile=(\d+),(\d+))?$")
    rows = table.rows.set_index("id", drop=False).loc[parts[0]].reset_index(drop=True)
    columns = ["id", *(key for key in ("label", "group", "split") if table.has(key)), *table.metadata]
    metadata = pd.DataFrame({metadata_name(name): rows[name] for name in columns})
    if parts[1].notna().any():
        metadata[f"{PREFIX}Tile_X"] = parts[1].astype(np.int64)
        metadata[f"{PREFIX}Tile_Y"] = parts[2].astype(np.int64)
    settings = {"networks": [dict(found.settings) for found in features.values()]}
    return Profiles(metadata, names, [found.values for found in features.values()], settings)


def metadata_name(column: str) -> str:
    """Return the name of a column of an image table among features.

    Examples
    --------
    >>> [metadata_name(name) for name in ("plate", "Metadata_Plate", "dose", "label")]
    ['Metadata_Plate', 'Metadata_Plate', 'Metadata_dose', 'Metadata_label']
    """
    if column.startswith(PREFIX):
        return column
    return PREFIX + (column.capitalize() if column.casefold() in CAPITALISED else column)


def feature_names(
    model: str, channels: Sequence[str], count: int, method: str = "concat-norm", *, several: bool = False
) -> list[str]:
    """Return the names of the features of one network.

    Parameters
    ----------
    model : str
    channels : sequence of str
        Of the image table; `("",)` for one without a name.
    count : int
        Number of features, of all channels together.
    method : str
        Preprocessing.
    several : bool
        Name the preprocessing too, because there are others.

    Examples
    --------
    >>> feature_names("imagenet", ["DAPI", "390 - Blue"], 4)
    ['imagenet_DAPI_0000', 'imagenet_DAPI_0001', 'imagenet_390-Blue_0000', 'imagenet_390-Blue_0001']
    >>> feature_names("runs/first", [""], 2, "merge-raw", several=True)
    ['runs-first_merge-raw_0000', 'runs-first_merge-raw_0001']
    """
    shown = list(channels) if method.startswith("concat") else [""]
    start = [_plain(model), *([method] if several else [])]
    return [
        "_".join([*start, *([_plain(channel)] if channel else []), f"{number:04d}"])
        for channel in shown
        for number in range(count // len(shown))
    ]


def _plain(text: str) -> str:
    return re.sub(r"[^\w.+]+", "-", text).strip("-") or "x"
