"""The two tables of a curated folder: every image kept and every image rejected; and a check of what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .. import schema, storage
from . import accounting, chunk, naming
from .chunk import ChunkResult
from .decide import CODE, KEPT, STAGE, Decided
from .earlier import read_rejected

ROWS, REJECTED = "rows.parquet", "rejected.parquet"
IMAGES_AT_ONCE = 50_000


def write_rows(decided: Decided, chunks: Sequence[ChunkResult], out: str) -> None:
    """Write `rows.parquet`: one row per image of the dataset, by label, idx and crop, and where its PNG bytes are."""
    _write(storage.join(out, ROWS), schema.CURATED, _kept(decided, chunks))


def write_rejected(decided: Decided, out: str, earlier: str | None) -> None:
    """Write `rejected.parquet`: first the rows that an earlier stage left out, then one line per rejected image."""

    def tables() -> Iterator[pa.Table]:
        yield from read_rejected(earlier)
        yield from _rejected(decided)

    _write(storage.join(out, REJECTED), schema.REJECTED, tables())


def check_written(report: Mapping[str, Any], out: str) -> None:
    """Compare the counts of `accounting.account` with both tables, read back from the folder.

    Raises
    ------
    CheckFailedError
        If a row or an image is not accounted for.
    """
    rows = _read(storage.join(out, ROWS), ["idx", "dir_name", "label"])
    rejected = _read(storage.join(out, REJECTED), ["stage", "dir_name", "label"])
    rejected = rejected.filter(pc.equal(rejected["stage"], "curate"))
    source_images = rows.group_by(["idx", "dir_name", "label"]).aggregate([])
    for groups, column in (("by_source", "dir_name"), ("by_class", "label")):
        accounting.check(
            report[groups],
            accounting.counted(source_images[column]),
            accounting.counted(rows[column]),
            accounting.counted(rejected[column]),
        )


def digests(out: str) -> dict[str, str]:
    """Return the SHA-256 of both tables."""
    return {name: storage.sha256_of(storage.join(out, name)) for name in (ROWS, REJECTED)}


def _kept(decided: Decided, chunks: Sequence[ChunkResult]) -> Iterator[pa.Table]:
    """Yield the images of the dataset in parts, in the columns of schema.CURATED."""
    tried, kept = decided.tried, decided.kept
    classes = accounting.count_classes(decided)
    names = frozenset(entry["label"] for entry in classes if entry["images"])
    label = tried.class_of_image[kept]
    starts = np.searchsorted(label, np.arange(len(classes)))
    for start in range(0, len(kept), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        images = pa.array(kept[part])
        source, image = tried.selection.take(pa.array(tried.row[kept[part]])), tried.table.take(images)
        own = [classes[c] for c in label[part]]
        number_in_class = (np.arange(start, start + len(images)) - starts[label[part]]).tolist()
        columns = {name: source[name] for name in schema.SELECTION.names}
        columns |= {name: image[name] for name in image.column_names}
        # what the publisher states decides; the file's own header fills what is not stated
        columns |= {name: pc.coalesce(source[name], image[name]) for name in ("pixel_size", "magnification")}
        columns |= {
            "path": [f"/cytoimagenet/{entry['slug']}" for entry in own],
            "filename": [
                naming.file_name(entry["slug"], number, entry["images"])
                for entry, number in zip(own, number_in_class, strict=True)
            ],
            "split": [schema.SPLITS[int(validation)] for validation in decided.validation[part]],
            "sha256": [digest.hex() for digest in image["sha256"].to_pylist()],
            "alternatives": _of_classes(source["alternatives"], names),
            "store": [f"{chunk.FOLDER}/{chunks[c].name}" for c in tried.chunk[kept[part]]],
            "store_offset": image["offset"],
            "store_size": image["size"],
        }
        yield _as_table(columns, schema.CURATED)


def _of_classes(alternatives: pa.ChunkedArray | pa.Array, names: frozenset[str]) -> pa.Array:
    """Return alternatives without the classes that were left out, which `names` lacks."""
    texts = alternatives.cast(pa.string()).combine_chunks().dictionary_encode()  # a few distinct texts
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    kept = ["|".join(filter(names.__contains__, text.split("|"))) for text in texts.dictionary.to_pylist()]
    return pa.array(kept, pa.string()).take(texts.indices)


def _rejected(decided: Decided) -> Iterator[pa.Table]:
    """Yield the rejected images in parts: those of one source image together, the latest reason last."""
    tried = decided.tried
    images = np.flatnonzero(decided.reason != KEPT)
    images = images[np.lexsort((tried.number[images], STAGE[decided.reason[images]], tried.row[images]))]
    for start in range(0, len(images), IMAGES_AT_ONCE):
        part = images[start : start + IMAGES_AT_ONCE]
        source = tried.selection.take(pa.array(tried.row[part]))
        columns = {
            "idx": source["idx"],
            "file": tried.files(part),
            "dir_name": source["dir_name"],
            "label": source["label"],
            "stage": ["curate"] * len(part),
            "reason": [schema.REASONS[code] for code in decided.reason[part]],
            "detail": _details(decided, part),
        }
        yield _as_table(columns, schema.REJECTED)


def _details(decided: Decided, images: np.ndarray) -> list[str]:
    """Return what each rejected image's reason is based on."""
    tried, settings = decided.tried, decided.settings
    details = tried.table["detail"].take(pa.array(images)).to_pylist()
    copies = np.flatnonzero(decided.copy_of[images] >= 0)
    originals = decided.copy_of[images[copies]]
    for at, label, file in zip(copies, tried.class_of_image[originals], tried.files(originals), strict=True):
        details[at] = f"same pixels as {file} of {tried.classes[label]!r}"
    code = decided.reason[images]
    for at in np.flatnonzero(np.isin(code, [CODE["class_full"], CODE["class_too_small"], CODE["in_evaluation_set"]])):
        row = int(tried.row[images[at]])
        size = decided.class_size[tried.class_of_row[row]]
        details[at] = {
            "class_full": f"{size} images, at most {settings.max_images}",
            "class_too_small": f"{size} images, at least {settings.min_class_size}",
            "in_evaluation_set": f"same pixels as {decided.evaluation_file.get(row)}",
        }[schema.REASONS[code[at]]]
    return details


def _as_table(columns: Mapping[str, Any], wanted: pa.Schema) -> pa.Table:
    """Return a table of exactly this schema; there may be further columns."""
    arrays = []
    for entry in wanted:
        column = columns[entry.name]
        column = column if isinstance(column, pa.ChunkedArray | pa.Array) else pa.array(column, entry.type)
        arrays.append(column.cast(entry.type))
    return pa.table(arrays, schema=wanted)


def _write(path: str, columns: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with storage.atomic_writer(path) as file, schema.writer(file, columns) as writer:
        for table in tables:
            writer.write_table(table)


def _read(path: str, columns: list[str]) -> pa.Table:
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        return pq.read_table(file, columns=columns)
