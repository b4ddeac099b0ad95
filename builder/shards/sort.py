"""Sort the rows by shard without having all of them in memory. The second of two passes over the rows."""

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
from .plan import ShardPlan

ROWS_PER_BATCH = 65_536
MAX_OPEN_FILES = 256  # within the limits of every operating system


@contextmanager
def sorting_folder(unfinished: str) -> Iterator[Path]:
    """Create an empty scratch folder for the sorted rows (several GB for the full dataset) and remove it afterwards.

    What a killed run left there is removed by the next run.

    Parameters
    ----------
    unfinished : str
        Folder for work in progress. If it is not local, the system's folder for temporary files is used instead.
    """
    if not is_local(unfinished):
        with tempfile.TemporaryDirectory(prefix="cytoimagenet-shard-") as folder:
            yield Path(folder)
        return
    sorting = Path(filesystem(unfinished)[1], "sorted")
    shutil.rmtree(sorting, ignore_errors=True)
    sorting.mkdir(parents=True)
    try:
        yield sorting
    finally:
        shutil.rmtree(sorting)


def sort_rows(rows_file: str, plan: ShardPlan, folder: Path) -> list[Path]:
    """Distribute the rows, batch by batch, to files that each belong to some consecutive shards.

    Rows are read once, in order, and no more than one batch of them is in memory.

    Returns
    -------
    list of Path
        For each shard, the file that contains its rows; several shards share a file.
    """
    sizes = np.bincount(plan.shard, minlength=len(plan.names))
    per_group = max(ROWS_PER_BATCH // 4, len(plan.row) // MAX_OPEN_FILES)
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
    present = [name for name in schema.CURATED.names if name in rows.schema_arrow.names]  # fewer of an earlier version
    for group in range(rows.num_row_groups):  # over all groups at once, the complete file would stay in memory
        for batch in rows.iter_batches(ROWS_PER_BATCH, row_groups=[group], columns=present):
            yield from schema.with_added(pa.Table.from_batches([batch]), schema.CURATED.names).to_batches()


def rows_of_shard(group: Path, number: int) -> pa.Table:
    """Return the rows of a shard in their order, with the columns of schema.CURATED and `key`."""
    with pa.memory_map(str(group)) as source:
        table = pa.ipc.open_file(source).read_all()
        return table.filter(pc.equal(table["shard"], number)).sort_by("at").drop_columns(["shard", "at"])
