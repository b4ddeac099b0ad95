"""Plan of a curation: how many crops each source image gets, and which source images form a chunk."""

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
from ..images.crops import crops_per_image
from ..images.make import SourceImage


class Job(NamedTuple):
    """The source images of one chunk; `number` is the index of the chunk in the plan."""

    number: int
    rows: list[SourceImage]


class Plan(NamedTuple):
    """What to do with a selection.

    Parameters
    ----------
    selection : pyarrow.Table of schema.SELECTION
        Sorted by label, then idx.
    order : int array, shape (rows,)
        Rows of the selection in the order in which they are processed: by file, so that the images of one file are
        read together.
    crops : int8 array, shape (rows,)
        Number of crops to cut from each row of the selection.
    """

    selection: pa.Table
    order: NDArray[np.int64]
    crops: NDArray[np.int8]

    def jobs(self, size: int) -> Iterator[Job]:
        """Yield the chunks, of `size` source images each."""
        idx, channels = self.selection["idx"], self.selection["channels"]
        for number, start in enumerate(range(0, len(self.order), size)):
            rows = pa.array(self.order[start : start + size])
            images = zip(
                idx.take(rows).to_pylist(), channels.take(rows).to_pylist(), self.crops[rows].tolist(), strict=True
            )
            yield Job(number, [SourceImage(*image) for image in images])


def make_plan(selection: str | PathLike[str] | pd.DataFrame) -> Plan:
    """Read a selection, sort it, and count the crops of each row.

    Parameters
    ----------
    selection : path or DataFrame of schema.SELECTION
        In any order.

    Raises
    ------
    UsageError
        If the selection is empty or contains a row twice.
    """
    table = _read(selection)
    if not len(table):
        raise UsageError("No image was selected", next="Lower --min-images, or see what `cytoimagenet label` reports.")
    sort = [("label", "ascending"), ("idx", "ascending")]
    sorted_rows = pc.sort_indices(table.select(["label", "idx"]), sort_keys=sort).to_numpy()
    if (sorted_rows != np.arange(len(table))).any():
        table = table.take(pa.array(sorted_rows))
    occurrences = pc.value_counts(table["idx"]).flatten()
    if pc.max(occurrences[1]).as_py() > 1:
        twice = occurrences[0].filter(pc.greater(occurrences[1], 1))[0].as_py()
        raise UsageError("A row was selected twice", where=f"idx {twice}")
    label = pc.rank(table["label"], sort_keys="ascending", tiebreaker="dense").to_numpy().astype(np.int64) - 1
    crops = np.array([crops_per_image(n) for n in np.bincount(label)], dtype=np.int8)[label]
    keys = pa.table([table["dir_name"], table["channels"], table["idx"]], names=["a", "b", "c"])
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in "abc"]).to_numpy().astype(np.int64)
    return Plan(table, order, crops)


def _read(selection: str | PathLike[str] | pd.DataFrame) -> pa.Table:
    """Return the selection as one table; texts that repeat in a file are in memory once."""
    if isinstance(selection, pd.DataFrame):
        earlier = {name: schema.empty(name) for name in schema.ADDED if name not in selection}
        return schema.check(selection.assign(**earlier), schema.SELECTION, "selection").combine_chunks()
    schema.read(selection, schema.SELECTION, ["label"])  # raises an error that names a wrong column
    fs, inner = storage.filesystem(selection)
    unique = ("label", "idx", "dir_name", "path", "filename", "channels")
    repeated = [field.name for field in schema.SELECTION if field.name not in unique and field.type == pa.string()]
    with fs.open(inner, "rb") as file:
        present = pq.read_schema(file).names  # a file of an earlier version lacks some
        dictionaries = [name for name in repeated if name in present]
        table = pq.ParquetFile(file, read_dictionary=dictionaries).read(schema.SELECTION.names)
    table = schema.with_added(table, schema.SELECTION.names)
    at = table.column_names.index("channels")  # the only column of more than 2 GB, at ten million rows
    table = table.set_column(at, "channels", table["channels"].cast(pa.large_string()))
    return table.unify_dictionaries().combine_chunks()
