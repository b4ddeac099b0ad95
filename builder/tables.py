"""The two tables of a curated folder: every image kept, every image left out, and the sums that tie them together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import bookkeeping, chunk, naming, schema, split, storage
from .chunk import Done
from .decide import KEPT, Decision, decide, sides
from .lines import BATCH, Classes, Lines, as_table, gather
from .rejected import left_out

if TYPE_CHECKING:
    from .curate import Settings

ROWS, REJECTED = "rows.parquet", "rejected.parquet"


def write_tables(
    selection: pa.Table,
    order: NDArray[np.int64],
    done: Sequence[Done],
    out: str,
    settings: Settings,
    evaluation: Mapping[str, str],
    earlier: str | None,
) -> dict[str, Any]:
    """Decide over all chunks and write both tables.

    Parameters
    ----------
    selection : pyarrow.Table of schema.SELECTION
        Sorted by label and idx.
    order : int array
        Rows of the selection in the order of the chunks.
    done : sequence of Done
        The chunks, in order.
    out : str
        The curated folder.
    settings : Settings
    evaluation : mapping
        Digests of evaluation images' channels to a file.
    earlier : str, optional
        Table of rows the labeller left out, to be carried over.

    Returns
    -------
    dict
        `counts`, in all, `by_source` and `by_class`; `classes`; `digests` of the two tables.
    """
    lines = gather(order, done, out)
    names, of = np.unique(selection["label"].to_numpy(zero_copy_only=False), return_inverse=True)
    classes = Classes(names.tolist(), of)
    keys = [split.rank(idx, settings.seed, "class_full") for idx in selection["idx"].to_pylist()]
    decision = decide(
        lines.said,
        lines.rows,
        classes.of,
        np.array(keys, dtype=np.uint64),
        evaluation,
        max_images=settings.max_images,
        min_class_size=settings.min_class_size,
    )
    number = lines.said["number"].to_numpy()
    kept = np.flatnonzero(decision.reason == KEPT)
    kept = kept[np.lexsort((number[kept], lines.rows[kept]))]
    validation = sides(
        lines.rows[kept], classes.of[lines.rows[kept]], selection, seed=settings.seed, rule=settings.split
    )
    listed = _class_list(selection, classes, lines.rows[kept], validation)
    left = np.flatnonzero(decision.reason != KEPT)
    left = left[np.lexsort((number[left], bookkeeping.PHASE[decision.reason[left]], lines.rows[left]))]

    rows_file, rejected_file = storage.join(out, ROWS), storage.join(out, REJECTED)
    _write(rows_file, schema.CURATED, _kept(selection, classes, lines, done, kept, validation, listed))
    rejected = left_out(selection, classes, lines, left, decision, evaluation, settings)
    _write(rejected_file, schema.REJECTED, rejected, earlier)
    counts = account(selection, classes, lines, decision, earlier)
    _check(counts, rows_file, rejected_file)
    return {
        **counts,
        "classes": [entry for entry in listed if entry["images"]],
        "digests": {ROWS: _digest(rows_file), REJECTED: _digest(rejected_file)},
    }


def account(
    selection: pa.Table, classes: Classes, lines: Lines, decision: Decision, earlier: str | None = None
) -> dict[str, Any]:
    """Count rows and images by source and by class; every source image has one outcome."""
    number = lines.said["number"].to_numpy()
    outcome = bookkeeping.row_reasons(lines.rows, number, decision.reason, len(selection))
    sources = selection["dir_name"].combine_chunks().dictionary_encode()
    source = _codes(sources)
    by_source = bookkeeping.tally(
        _words(sources), source, outcome, source[lines.rows], decision.reason, _earlier(earlier)
    )
    by_class = bookkeeping.tally(classes.names, classes.of, outcome, classes.of[lines.rows], decision.reason)
    return {"counts": bookkeeping.total(by_source), "by_source": by_source, "by_class": by_class}


def _check(counts: Mapping[str, Any], rows_file: str, rejected_file: str) -> None:
    """Hold the counts against the written files."""
    rows = _read(rows_file, ["idx", "dir_name", "label"])
    rejected = _read(rejected_file, ["stage", "dir_name", "label"])
    rejected = rejected.filter(pc.equal(rejected["stage"], "curate"))
    once = rows.group_by(["idx", "dir_name", "label"]).aggregate([])
    for groups, column in (("by_source", "dir_name"), ("by_class", "label")):
        bookkeeping.check(
            counts[groups],
            bookkeeping.counted(once[column]),
            bookkeeping.counted(rows[column]),
            bookkeeping.counted(rejected[column]),
        )


def _class_list(
    selection: pa.Table, classes: Classes, rows: NDArray[np.int64], validation: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Return what is known of every class, in the order of labels."""
    first = np.searchsorted(classes.of, np.arange(len(classes.names)))  # the selection is sorted by label
    category = selection["category"].take(pa.array(first)).to_pylist()
    images = np.bincount(classes.of[rows], minlength=len(first))
    held = np.bincount(classes.of[rows], weights=validation, minlength=len(first)).astype(int)
    slugs = naming.slugs((category[c], classes.names[c]) for c in np.flatnonzero(images))
    return [
        {"label": name, "category": kind, "slug": slugs.get(name, ""), "images": int(n), "train": int(n - v),
         "validation": int(v)}
        for name, kind, n, v in zip(classes.names, category, images, held, strict=True)
    ]  # fmt: skip


def _kept(
    selection: pa.Table,
    classes: Classes,
    lines: Lines,
    done: Sequence[Done],
    kept: NDArray[np.int64],
    validation: NDArray[np.bool_],
    listed: Sequence[Mapping[str, Any]],
) -> Iterator[pa.Table]:
    """Yield the rows of the dataset, by label, then idx, then crop."""
    label = classes.of[lines.rows[kept]]
    starts = np.searchsorted(label, np.arange(len(classes.names)))
    for start in range(0, len(kept), BATCH):
        part = slice(start, start + BATCH)
        at = pa.array(kept[part])
        source, said = selection.take(pa.array(lines.rows[kept[part]])), lines.said.take(at)
        kinds = [listed[c] for c in label[part]]
        places = (np.arange(start, start + len(at)) - starts[label[part]]).tolist()
        columns = {name: source[name] for name in schema.SELECTION.names}
        columns |= {name: said[name] for name in said.column_names}
        columns |= {
            "path": [f"/cytoimagenet/{kind['slug']}" for kind in kinds],
            "filename": [
                naming.file_name(kind["slug"], place, kind["images"]) for kind, place in zip(kinds, places, strict=True)
            ],
            "split": [schema.SPLITS[int(side)] for side in validation[part]],
            "sha256": [digest.hex() for digest in said["sha256"].to_pylist()],
            "store": [f"{chunk.FOLDER}/{done[c].name}" for c in lines.chunks[kept[part]]],
            "store_offset": said["offset"],
            "store_size": said["size"],
        }
        yield as_table(columns, schema.CURATED)


def _write(path: str, wanted: pa.Schema, tables: Iterator[pa.Table], earlier: str | None = None) -> None:
    """Write tables as they come, those of an earlier stage first."""
    with storage.atomic_writer(path) as file:
        with pq.ParquetWriter(file, wanted, compression="zstd", write_page_checksum=True) as writer:
            for table in _batches(earlier):
                writer.write_table(table)
            for table in tables:
                writer.write_table(table)


def _batches(path: str | None) -> Iterator[pa.Table]:
    """Yield the lines of what an earlier stage left out, without holding them all."""
    if path is None:
        return
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=schema.REJECTED.names):
            yield pa.table(batch).cast(schema.REJECTED)


def _earlier(path: str | None) -> dict[str, dict[str, int]]:
    """Count, per source, the rows an earlier stage left out."""
    counts: dict[str, dict[str, int]] = {}
    for table in _batches(path):
        grouped = table.group_by(["dir_name", "reason"]).aggregate([([], "count_all")])
        for line in grouped.to_pylist():
            reasons = counts.setdefault(line["dir_name"], {})
            reasons[line["reason"]] = reasons.get(line["reason"], 0) + line["count_all"]
    return counts


def _read(path: str, columns: list[str]) -> pa.Table:
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        return pq.read_table(file, columns=columns)


def _codes(column: pa.DictionaryArray | pa.ChunkedArray) -> NDArray[np.int64]:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.indices.to_numpy().astype(np.int64)


def _words(column: pa.DictionaryArray | pa.ChunkedArray) -> list[str]:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.dictionary.to_pylist()


def _digest(path: str) -> str:
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
