"""Find the row of each sample in a table of features."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...builder.errors import UsageError
from .feature_table import FeatureTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..sets.samples import Samples

MAX_NAMES_IN_ERROR = 5
ROWS_BYTES = 32 << 20  # of features that are checked at a time


def align_cells(
    features: FeatureTable, samples: Samples | None, *, task: str, columns: Sequence[str] = ("label",)
) -> FeatureTable:
    """Give each row the label and groups of the cell with the same id.

    Parameters
    ----------
    features : FeatureTable
        Its key is `id`.
    samples : Samples or None
        None: the table contains the columns itself.
    task : str
        Named in errors.
    columns : sequence of str
        The columns that a table needs without samples.

    Returns
    -------
    FeatureTable
        One row per sample, in their order, with all their columns as keys. Rows of the table that are not samples are
        left out.

    Raises
    ------
    UsageError
        If a column is missing, an id is repeated, or a sample has no row.
    """
    if samples is None:
        return with_own_columns(features, columns, task)
    if not has_ids_of(features, samples):
        raise UsageError(
            f"The table needs a column `id` that names the samples of {task}, such as {samples.ids[0]!r}",
            where=features.source,
        )
    rows = rows_of(features, samples)
    refuse_missing([name for name, row in zip(samples.ids, rows, strict=True) if row < 0], "samples", features.source)
    return take(features, rows, samples.table)


def with_own_columns(features: FeatureTable, columns: Collection[str], task: str) -> FeatureTable:
    """Return the table with an `id`, after checking that it contains `columns`.

    Raises
    ------
    UsageError
        If a column is missing or an id is repeated.
    """
    missing = sorted(set(columns) - set(features.keys))
    if missing:
        raise UsageError(
            f"The table has no {', '.join(missing)}, and no metadata was given",
            where=features.source,
            next=f"Add the columns, or name the folder of {task} with --metadata",
        )
    keys = features.keys.copy()
    if "id" not in keys:
        keys["id"] = [f"row {i}" for i in range(len(keys))]
    refuse_repeats(keys["id"], "id", features.source)
    return FeatureTable(keys, features.values, features.names, features.source)


def has_ids_of(features: FeatureTable, samples: Samples) -> bool:
    """Return whether any id of the table is that of a sample."""
    return "id" in features.keys and not set(features.keys["id"]).isdisjoint(samples.table["id"])


def rows_of(features: FeatureTable, samples: Samples) -> NDArray[np.intp]:
    """Return the row of each sample by its id, -1 for a sample without a row.

    Raises
    ------
    UsageError
        If an id is repeated.
    """
    refuse_repeats(features.keys["id"], "id", features.source)
    rows: NDArray[np.intp] = pd.Index(features.keys["id"]).get_indexer(pd.Index(samples.table["id"]))
    return rows


def take(features: FeatureTable, rows: NDArray[np.intp], keys: pd.DataFrame) -> FeatureTable:
    """Return the rows of the table under other keys; `keys` has one row per entry of `rows`."""
    keys = keys.reset_index(drop=True)
    in_order = len(rows) == len(features.values) and (rows == np.arange(len(rows))).all()
    # a table that is already in this order is not copied: it may take half of the memory
    return FeatureTable(keys, features.values if in_order else features.values[rows], features.names, features.source)


def refuse_repeats(keys: pd.Series, what: str, source: str) -> None:
    """Raise a `UsageError` if a key is repeated; `what` names the kind of key."""
    repeated = keys[keys.duplicated()]
    if len(repeated):
        raise UsageError(
            f"{len(repeated):,} rows repeat the {what} of another row, the first is {repeated.iloc[0]!r}",
            where=source,
            next="Add a column that distinguishes them (`site` for images of a well), or average them first",
        )


def refuse_rows_without_numbers(features: FeatureTable) -> None:
    """Raise a `UsageError` that names the rows in which no feature is a finite number: a failed well or cell."""
    step = max(1, ROWS_BYTES // (8 * max(1, features.values.shape[1])))
    empty = [
        start + int(row)
        for start in range(0, len(features.values), step)
        for row in np.flatnonzero(~np.isfinite(features.values[start : start + step]).any(axis=1))
    ]
    if empty:
        name = features.keys["id"].iloc[empty[0]] if "id" in features.keys else f"row {empty[0] + 1}"
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        raise UsageError(
            f"No feature of {name}{more} is a finite number",
            where=features.source,
            next="Compute the features of these samples again, or leave the rows out",
        )


def refuse_missing(missing: Collection[str], what: str, source: str) -> None:
    """Raise a `UsageError` if samples have no row; `what` names what they are."""
    if missing:
        shown = ", ".join(sorted(missing)[:MAX_NAMES_IN_ERROR])
        more = f" and {len(missing) - MAX_NAMES_IN_ERROR:,} more" if len(missing) > MAX_NAMES_IN_ERROR else ""
        raise UsageError(
            f"{len(missing):,} {what} of the metadata have no row in the table: {shown}{more}",
            where=source,
            next="Compute their features too: a score without them can't be compared with others",
        )
