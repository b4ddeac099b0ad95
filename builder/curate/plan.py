"""Which rows go into which chunk, and in which order the chunks are made."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import schema, storage
from ..errors import UsageError
from ..images.crops import wanted_crops
from ..images.make import Wanted


class Job(NamedTuple):
    """A chunk to be made; `number` is its place in the plan."""

    number: int
    rows: list[Wanted]


class Plan(NamedTuple):
    """What is to be made of a selection.

    Parameters
    ----------
    selection : pyarrow.Table of schema.SELECTION
        Sorted by label, then idx.
    order : int array
        Rows of the selection in working order: files that lie together are read together.
    crops : int8 array
        Crops wanted of each row of the selection.
    """

    selection: pa.Table
    order: NDArray[np.int64]
    crops: NDArray[np.int8]

    def jobs(self, size: int) -> Iterator[Job]:
        """Yield chunks of `size` source images."""
        idx, channels = self.selection["idx"], self.selection["channels"]
        for number, start in enumerate(range(0, len(self.order), size)):
            rows = pa.array(self.order[start : start + size])
            wanted = zip(
                idx.take(rows).to_pylist(), channels.take(rows).to_pylist(), self.crops[rows].tolist(), strict=True
            )
            yield Job(number, [Wanted(*row) for row in wanted])


def make_plan(selection: str | PathLike[str] | pd.DataFrame) -> Plan:
    """Read a selection and say what is to be made of it."""
    table = _read(selection)
    if not len(table):
        raise UsageError(
            "No image was selected", next="Lower --min-images, or look at what `cytoimagenet label` reports."
        )
    sort = [("label", "ascending"), ("idx", "ascending")]
    sorted_rows = pc.sort_indices(table.select(["label", "idx"]), sort_keys=sort).to_numpy()
    if (sorted_rows != np.arange(len(table))).any():
        table = table.take(pa.array(sorted_rows))
    twice = pc.value_counts(table["idx"]).flatten()
    if pc.max(twice[1]).as_py() > 1:
        named = twice[0].filter(pc.greater(twice[1], 1))[0].as_py()
        raise UsageError("A row was selected twice", where=f"idx {named}")
    label = pc.rank(table["label"], sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64) - 1
    crops = np.array([wanted_crops(n) for n in np.bincount(label)], dtype=np.int8)[label]
    keys = pa.table([table["dir_name"], table["channels"], table["idx"]], names=["a", "b", "c"])
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in "abc"]).to_numpy().astype(np.int64)
    return Plan(table, order, crops)


def _read(selection: str | PathLike[str] | pd.DataFrame) -> pa.Table:
    """Return the selection as one table; of a file, words that come again and again are kept once."""
    if isinstance(selection, pd.DataFrame):
        return schema.check(selection, schema.SELECTION, "selection").combine_chunks()
    schema.read(selection, schema.SELECTION, ["label"])  # says what is wrong with the file
    fs, inner = storage.filesystem(selection)
    once = ("label", "idx", "dir_name", "path", "filename", "channels")
    again = [name for name in schema.SELECTION.names if name not in once]
    with fs.open(inner, "rb") as file:
        table = pq.ParquetFile(file, read_dictionary=again).read(schema.SELECTION.names)
    at = table.column_names.index("channels")  # the one column that passes 2 GB, at ten million rows
    table = table.set_column(at, "channels", table["channels"].cast(pa.large_string()))
    return table.unify_dictionaries().combine_chunks()
