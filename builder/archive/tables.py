"""The tables of an imported archive: rows for the shards, and rejected rows with their reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import schema, storage
from ..curate import split
from ..curate.naming import slugs
from ..images.digest import first_equal
from ..seeded import sort_keys
from .files import Listing
from .metadata import Matched, as_text, categories_of
from .published import Imported

ROWS_PER_BATCH = 16_384


def write_tables(
    work: str, listing: Listing, table: pa.Table, matched: Matched, checks: pa.Table, seed: int, fingerprint: str
) -> Imported:
    """Write rows.parquet, rejected.parquet and curated.json, as in a curated folder.

    Parameters
    ----------
    work : str
        The folder to write to.
    listing : Listing
        The files of the archive.
    table : pyarrow.Table
        metadata.csv, as `read_metadata` returns it.
    matched : Matched
        The file of each row.
    checks : pyarrow.Table
        The check of each row, as `check_images` returns it.
    seed : int
        Random seed of the split.
    fingerprint : str
        Of the archive; recorded.
    """
    reason = checks["reason"].to_numpy().copy()
    detail = checks["detail"].to_numpy().copy()
    reason[matched.twice], detail[matched.twice] = "duplicate", "an earlier row names the same file"
    for copy, first in _copies(checks["sha256"], np.flatnonzero(reason == "")):
        reason[copy], detail[copy] = "duplicate", f"same pixels as {table['filename'][first].as_py()}"
    kept = np.flatnonzero(reason == "")
    categories = categories_of(table)
    validation = _validation(table, kept, seed)
    pa.default_memory_pool().release_unused()
    with storage.atomic_writer(storage.join(work, "rows.parquet")) as file:
        with schema.writer(file, schema.CURATED) as writer:
            for batch in _rows(listing, table, matched, checks, categories, kept, validation):
                writer.write_table(batch)
    moved = np.flatnonzero(matched.moved & (reason == ""))
    notes = [(int(i), "renamed", f"kept; found as {listing.names[int(matched.entry[i])].as_py()}") for i in moved]
    notes += [(int(i), str(reason[i]), str(detail[i])) for i in np.flatnonzero(reason != "")]
    _write_rejected(work, listing, table, matched, notes)
    counted = Counter(why for _, why, _ in notes) + Counter(extra=len(matched.extra) + len(listing.refused))
    classes = sorted(pc.unique(as_text(table["label"]).take(pa.array(kept))).to_pylist())
    imported = Imported(
        len(table), len(kept), len(classes), dict(counted), dict(Counter(categories[label] for label in classes))
    )
    left_out = sum(count for why, count in counted.items() if why not in ("renamed", "extra"))
    assert imported.rows == imported.kept + left_out, "rows were lost between metadata.csv and the dataset"
    note = {
        "settings": {"imported": "published archive", "split": "by-image", "archive": fingerprint},
        "seed": seed,
        "counts": {"rows": imported.rows, "reasons": imported.reasons, "categories": imported.categories},
    }
    storage.write_atomic(storage.join(work, "curated.json"), json.dumps(note, indent=1).encode())
    return imported


def _copies(digests: pa.ChunkedArray, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (row, earlier row) for each of some rows whose pixels equal those of an earlier one."""
    codes = np.asarray(digests.take(pa.array(rows)).combine_chunks().dictionary_encode().indices)
    first = first_equal(codes, np.arange(len(rows)))
    for place in np.flatnonzero(first != np.arange(len(rows))):
        yield int(rows[place]), int(rows[first[place]])


def _validation(table: pa.Table, kept: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Return which of the kept rows are for validation; all crops of a source image (one `idx`) are in one split."""
    names = as_text(table["idx"].take(pa.array(kept)))
    if pc.any(pc.equal(names, "")).as_py():
        names = pc.if_else(pc.equal(names, ""), as_text(table["filename"].take(pa.array(kept))), names)
    _, labels = _sorted_codes(as_text(table["label"].take(pa.array(kept))))
    sources, groups = _sorted_codes(names)
    del names
    ranks = sort_keys((name.as_py() for name in sources), seed, "validation")
    del sources
    pa.default_memory_pool().release_unused()
    return split.validation_by_group(labels, groups, ranks)


def _sorted_codes(values: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the distinct texts, sorted, and the index of each value among them.

    As `numpy.unique`, but without one Python object per text.
    """
    distinct = pc.unique(values)
    distinct = distinct.take(pc.array_sort_indices(distinct))
    return distinct, np.asarray(pc.index_in(values, value_set=distinct)).astype(np.int64)


def _rows(
    listing: Listing, table: pa.Table, matched: Matched, checks: pa.Table, categories: dict[str, str],
    kept: NDArray[np.int64], validation: NDArray[np.bool_],
) -> Iterator[pa.Table]:  # fmt: skip
    """Yield the kept rows in batches, with the columns of schema.CURATED."""
    from ..sources.registry import SOURCES
    from .provenance import empty_columns, provenance_of, sources_of

    folders = slugs((category, label) for label, category in categories.items())
    licences = {source.dir_name: source.licence_label for source in SOURCES.values()}
    for start in range(0, len(kept), ROWS_PER_BATCH):
        rows = pa.array(kept[start : start + ROWS_PER_BATCH])
        part, check = table.take(rows), checks.take(rows)
        entries = matched.entry[kept[start : start + ROWS_PER_BATCH]]
        text = {name: as_text(part[name]) for name in part.column_names}
        labels, sources = text["label"].to_pylist(), sources_of(text["dir_name"], text["idx"])
        width, height = check["width"].to_numpy(), check["height"].to_numpy()
        crop = np.array([value.strip().lower() in ("true", "1", "1.0") for value in text["crop"].to_pylist()])
        columns: dict[str, Any] = {**text, **empty_columns(len(rows)), **provenance_of(sources, text)}
        columns |= {
            "dir_name": sources,
            "category": [categories[label] for label in labels],
            "path": [f"/cytoimagenet/{folders[label]}" for label in labels],
            "crop": crop,
            "scaling": _numbers(text["scaling"], np.ones(len(rows))),
            "x_min": _numbers(text["x_min"], np.zeros(len(rows))).astype(np.int64),
            "y_min": _numbers(text["y_min"], np.zeros(len(rows))).astype(np.int64),
            "x_max": _numbers(text["x_max"], width).astype(np.int64),
            "y_max": _numbers(text["y_max"], height).astype(np.int64),
            "split": np.where(validation[start : start + ROWS_PER_BATCH], "validation", "train"),
            "width": width,
            "height": height,
            "channels": [""] * len(rows),  # the archive does not record which files were merged
            "stains": text["channels"],
            "sha256": [value.hex() for value in check["sha256"].to_pylist()],
            "licence": [licences.get(source, "unknown") for source in sources],
            "store": ["archive"] * len(rows),
            "store_offset": entries,  # the number of the file in the listing: bytes are fetched by it
            "store_size": listing.sizes[entries],
        }
        yield pa.table([pa.array(columns[f.name], f.type) for f in schema.CURATED], schema=schema.CURATED)


def _numbers(column: pa.Array, otherwise: NDArray[Any]) -> NDArray[np.float64]:
    """Read numbers from text; where the text is not a number, take the value of `otherwise`."""
    is_number = pc.match_substring_regex(column, r"^\s*-?\d+(\.\d*)?([eE][-+]?\d+)?\s*$")
    values = pc.cast(pc.utf8_trim_whitespace(pc.if_else(is_number, column, "0")), pa.float64()).to_numpy()
    return np.where(np.asarray(is_number), values, otherwise)


def _write_rejected(
    work: str, listing: Listing, table: pa.Table, matched: Matched, notes: list[tuple[int, str, str]]
) -> None:
    """Write rejected.parquet: the rows in `notes` (row, reason, detail), then the files that no row names."""
    rows = pa.array([row for row, _, _ in notes], pa.int64())
    cells = {name: as_text(table[name]).take(rows).to_pylist() for name in ("idx", "filename", "dir_name", "label")}
    others = [(listing.names[int(i)].as_py(), "no row of metadata.csv names it") for i in matched.extra]
    others += [(name, why) for name, why in sorted(listing.refused.items())]
    blank = [""] * len(others)
    columns = {
        "idx": cells["idx"] + blank,
        "file": cells["filename"] + [name for name, _ in others],
        "dir_name": cells["dir_name"] + blank,
        "label": cells["label"] + blank,
        "stage": ["import"] * (len(notes) + len(others)),
        "reason": [why for _, why, _ in notes] + ["extra"] * len(others),
        "detail": [more for _, _, more in notes] + [why for _, why in others],
    }
    written = pa.table([pa.array(columns[f.name], f.type) for f in schema.REJECTED], schema=schema.REJECTED)
    with storage.atomic_writer(storage.join(work, "rejected.parquet")) as file:
        with schema.writer(file, schema.REJECTED) as writer:
            writer.write_table(written)
