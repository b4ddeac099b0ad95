"""Rows that an earlier stage left out: carried over, so that the curated folder accounts for the complete catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .. import schema, storage

ROWS_AT_ONCE = 50_000


def rejected_before(selection: str | PathLike[str] | pd.DataFrame) -> str | None:
    """Return the table of rows that `label` left out, if there is one in the folder of the selection."""
    if isinstance(selection, pd.DataFrame):
        return None
    path = storage.sibling(selection, "rejected.parquet")
    return path if storage.exists(path) else None


def read_rejected(path: str | None) -> Iterator[pa.Table]:
    """Yield such a table of schema.REJECTED in parts; nothing if there is none."""
    if path is None:
        return
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE, columns=schema.REJECTED.names):
            yield pa.table(batch).cast(schema.REJECTED)


def count_rejected(path: str | None) -> dict[str, dict[str, int]]:
    """Return the number of rows in such a table, per source and reason."""
    counts: dict[str, dict[str, int]] = {}
    for table in read_rejected(path):
        for line in table.group_by(["dir_name", "reason"]).aggregate([([], "count_all")]).to_pylist():
            reasons = counts.setdefault(line["dir_name"], {})
            reasons[line["reason"]] = reasons.get(line["reason"], 0) + line["count_all"]
    return counts
