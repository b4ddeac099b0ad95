"""The second pass over the rows: from the order they come in to that of the shards, without holding them all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .. import schema
from ..storage import filesystem, is_local
from .plan import Plan

BATCH = 65_536  # rows held at once
MOST_FILES = 256  # open at once, within the bounds of every system


@contextmanager
def room_to_sort(beside: str) -> Iterator[Path]:
    """Give a folder for the sorted rows, gigabytes at full size, where a rerun finds what a killed run left of it.

    Parameters
    ----------
    beside : str
        Folder for work in progress. Unless it is local, the system's folder for temporary files is used instead.
    """
    if not is_local(beside):
        with tempfile.TemporaryDirectory(prefix="cytoimagenet-shard-") as folder:
            yield Path(folder)
        return
    sorting = Path(filesystem(beside)[1], "sorted")
    shutil.rmtree(sorting, ignore_errors=True)
    sorting.mkdir(parents=True)
    try:
        yield sorting
    finally:
        shutil.rmtree(sorting)


def sort_rows(rows_file: str, plan: Plan, folder: Path) -> list[Path]:
    """Sort the rows, batch by batch, into one file for each run of shards; return each shard's file.

    The second pass: rows are read once, in order, and no more than a batch of them is in memory.
    """
    sizes = np.bincount(plan.shard, minlength=len(plan.names))
    per_group = max(BATCH // 4, len(plan.row) // MOST_FILES)
    group = (np.cumsum(sizes) - sizes) // per_group
    files = [folder / f"{number}.arrow" for number in group]
    kind = pa.schema([*schema.CURATED, pa.field("key", pa.string()), pa.field("at", pa.int64()), ("shard", pa.int64())])
    writers = {number: pa.ipc.new_file(folder / f"{number}.arrow", kind) for number in sorted(set(group.tolist()))}
    fs, inner = filesystem(rows_file)
    start = 0
    with fs.open(inner, "rb") as file:
        for batch in _batches(pq.ParquetFile(file)):
            low, high = np.searchsorted(plan.row, [start, start + len(batch)])
            keys = pa.array(plan.keys[start : start + len(batch)], pa.string())
            within = plan.row[low:high] - start
            for number in np.unique(group[plan.shard[low:high]]):
                chosen = np.flatnonzero(group[plan.shard[low:high]] == number)
                taken = pa.array(within[chosen])
                columns = [batch.column(name).take(taken).cast(kind.field(name).type) for name in schema.CURATED.names]
                columns += [keys.take(taken), pa.array(plan.position[low:high][chosen])]
                columns += [pa.array(plan.shard[low:high][chosen])]
                writers[int(number)].write_batch(pa.record_batch(columns, schema=kind))
            start += len(batch)
    for writer in writers.values():
        writer.close()
    return files


def _batches(rows: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    for group in range(rows.num_row_groups):  # of all groups at once, the whole file would be held
        yield from rows.iter_batches(BATCH, row_groups=[group], columns=schema.CURATED.names)


def rows_of_shard(group: Path, number: int) -> pa.Table:
    """Return the rows of a shard in their order: schema.CURATED and `key`."""
    with pa.memory_map(str(group)) as source:
        table = pa.ipc.open_file(source).read_all()
        return table.filter(pc.equal(table["shard"], number)).sort_by("at").drop_columns(["shard", "at"])
