"""The two tables of a curated folder: every image kept, every image left out, and the sums that tie them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import schema, storage
from ..seeded import sort_keys
from . import accounting as bookkeeping
from . import chunk, naming
from .accounting import _batches, account
from .chunk import Done
from .decide import CODE, KEPT, Decision, decide, sides
from .tried import BATCH, Classes, Lines, as_table, gather, places

if TYPE_CHECKING:
    from .settings import Settings

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
    keys = sort_keys(selection["idx"].to_pylist(), settings.seed, "class_full")
    decision = decide(
        lines.said,
        lines.rows,
        classes.of,
        keys,
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
        "digests": {ROWS: storage.sha256_of(rows_file), REJECTED: storage.sha256_of(rejected_file)},
    }


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
        with schema.writer(file, wanted) as writer:
            for table in _batches(earlier):
                writer.write_table(table)
            for table in tables:
                writer.write_table(table)


def _read(path: str, columns: list[str]) -> pa.Table:
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        return pq.read_table(file, columns=columns)


def left_out(
    selection: pa.Table,
    classes: Classes,
    lines: Lines,
    left: NDArray[np.int64],
    decision: Decision,
    evaluation: Mapping[str, str],
    settings: Settings,
) -> Iterator[pa.Table]:
    """Yield a line for every image that is not kept, those of one source image together, the last reason last."""
    for start in range(0, len(left), BATCH):
        part = left[start : start + BATCH]
        rows, code, twin = lines.rows[part], decision.reason[part], decision.twin[part]
        source = selection.take(pa.array(rows))
        detail = lines.said["detail"].take(pa.array(part)).to_pylist()
        copies = np.flatnonzero(twin >= 0)
        for at, of, file in zip(
            copies, classes.of[lines.rows[twin[copies]]], places(selection, lines, twin[copies]), strict=True
        ):
            detail[at] = f"same pixels as {file} of {classes.names[of]!r}"
        for at in np.flatnonzero(
            np.isin(code, [CODE["class_full"], CODE["class_too_small"], CODE["in_evaluation_set"]])
        ):
            row, images = int(rows[at]), decision.left[classes.of[rows[at]]]
            detail[at] = {
                "class_full": f"{images} images, at most {settings.max_images}",
                "class_too_small": f"{images} images, at least {settings.min_class_size}",
                "in_evaluation_set": f"same pixels as {decision.known.get(row)}",
            }[schema.REASONS[code[at]]]
        columns = {
            "idx": source["idx"],
            "file": places(selection, lines, part),
            "dir_name": source["dir_name"],
            "label": source["label"],
            "stage": ["curate"] * len(part),
            "reason": [schema.REASONS[c] for c in code],
            "detail": detail,
        }
        yield as_table(columns, schema.REJECTED)
