"""Catalogue file in, selection file out: weak labels for a catalogue of any size, in bounded memory.

The first pass reads the label columns, as integer codes. The second streams all columns, collects the rows with a
class, and writes the other rows with the reason to the table of rejected rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import schema, storage
from ..defaults import MAX_IMAGES, MIN_IMAGES
from ..storage import sibling
from .assign import REQUIRED_COLUMNS, Assignment, LabelRule, assign, check_settings
from .encode import encode, row_order, to_arrow
from .report import summarise
from .stratified import Allocation

NO_LABEL = "has no label of at least {min_images} rows"
ALL_FULL = "none of its labels became a class, or the sample of its class left it out"
_ROWS_AT_ONCE = 2**17
_REPEATED_TEXTS = [
    field.name
    for field in schema.CATALOG
    if field.type == pa.string() and field.name not in ("idx", "filename", "channels", "well", "site")
]
_REPORTED = pa.schema([schema.CATALOG.field(name) for name in ("idx", "channels", "dir_name")])


def select(
    catalog: str | PathLike[str],
    out: str | PathLike[str],
    *,
    min_images: int = MIN_IMAGES,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    allocation: Allocation = "proportional",
    labels: LabelRule = "unambiguous",
) -> dict[str, Any]:
    """Assign classes to the rows of a catalogue file; write the selection, the rejected rows, and a report.

    Parameters
    ----------
    catalog : str or path
        Parquet of `schema.CATALOG`.
    out : str or path
        Parquet of `schema.SELECTION` to write, sorted by label and idx: the rows of `assign_labels`. In the same
        folder, `<stem>.rejected.parquet` (`schema.REJECTED`) and `<stem>.report.json` are written.
    min_images, max_images, seed, allocation, labels
        As `assign_labels`, with another default of `labels`.

    Returns
    -------
    dict
        The report, as `report.summarise` describes.

    Raises
    ------
    SchemaError, MetadataError, UsageError
        As `assign_labels`.
    """
    check_settings(min_images, max_images, allocation, labels)
    order = row_order([to_arrow(schema.read(catalog, schema.CATALOG, ["idx"])["idx"])], seed)
    fs, inner = storage.filesystem(catalog)
    with fs.open(inner, "rb") as file:
        parquet = pq.ParquetFile(file, read_dictionary=list(REQUIRED_COLUMNS[1:]), page_checksum_verification=True)
        columns = {name: encode(parquet.read([name]).column(0)) for name in REQUIRED_COLUMNS[1:]}
        repeated = [name for name in _REPEATED_TEXTS if name in parquet.schema_arrow.names]
        result = assign(
            columns, order, min_images=min_images, max_images=max_images, allocation=allocation, rule=labels
        )
        del columns, order
        kept: list[list[pa.Array]] = [[] for _ in schema.SELECTION]
        with storage.atomic_writer(sibling(out, "rejected.parquet")) as file_of_rejected:
            with schema.writer(file_of_rejected, schema.REJECTED) as writer:
                for selected, rejected in _split(pq.ParquetFile(file, read_dictionary=repeated), result, min_images):
                    for parts, column in zip(kept, selected.columns, strict=True):
                        parts.extend(column.chunks)
                    writer.write_table(rejected)
    selection = _joined(kept)
    settings = {
        **{"min_images": min_images, "max_images": max_images, "seed": seed},
        **{"allocation": allocation, "labels": labels},
    }
    report = summarise(result, selection, settings)
    storage.write_atomic(sibling(out, "report.json"), json.dumps(report, ensure_ascii=False).encode())
    _write_sorted(selection, out, schema.own_sources(catalog))
    return report


def _split(parquet: pq.ParquetFile, result: Assignment, min_images: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Stream the catalogue as (rows with a class, rejected rows)."""
    names = pa.array([label.name for label in result.labels], pa.string())
    categories = pa.array([label.column for label in result.labels], pa.string())
    at = selected = 0
    for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=schema.CATALOG.names):
        table = schema.with_added(pa.Table.from_batches([batch]), schema.CATALOG.names)
        chosen = result.chosen[at : at + len(table)]
        has_label = result.has_label[at : at + len(table)]
        at += len(table)
        rows = np.flatnonzero(chosen >= 0)
        labels = pa.array(chosen[rows])
        own = table.take(pa.array(rows)).cast(schema.CATALOG)
        alternatives = result.alternatives.slice(selected, len(rows)).cast(pa.string())
        selected += len(rows)
        yield (
            pa.table(
                [names.take(labels), categories.take(labels), *own.columns, alternatives], schema=schema.SELECTION
            ),
            _rejected(table, has_label, np.flatnonzero(chosen < 0), min_images),
        )


def _joined(kept: list[list[pa.Array]]) -> pa.Table:
    """Join the parts of each column, one column after the other, so that only one is in memory twice."""
    columns = []
    for parts, field in zip(kept, schema.SELECTION, strict=True):
        kind = pa.large_string() if field.type == pa.string() else field.type  # for more than 2 GB of text
        joined = pa.chunked_array(parts, field.type).cast(kind)
        parts.clear()
        columns.append(pa.concat_arrays(joined.chunks) if joined.num_chunks else pa.array([], kind))
        del joined
    return pa.table(columns, names=schema.SELECTION.names)


def _write_sorted(selection: pa.Table, out: str | PathLike[str], own_sources: Mapping[str, Mapping[str, str]]) -> None:
    """Write the selection by label and idx, a slice at a time."""
    order = pc.sort_indices(selection, [("label", "ascending"), ("idx", "ascending")])
    with storage.atomic_writer(out) as file:
        with schema.writer(file, schema.SELECTION) as writer:
            for start in range(0, len(order), _ROWS_AT_ONCE):
                rows = selection.take(order.slice(start, _ROWS_AT_ONCE)).to_pandas()
                writer.write_table(schema.check(rows, schema.SELECTION, str(out)))
            schema.note_own_sources(writer, own_sources)


def _rejected(table: pa.Table, has_label: NDArray[np.bool_], rows: NDArray[np.intp], min_images: int) -> pa.Table:
    """Return lines of schema.REJECTED about the rows without a class."""
    own = table.select(["idx", "channels", "dir_name"]).take(pa.array(rows)).cast(_REPORTED)
    details = pa.array([NO_LABEL.format(min_images=min_images), ALL_FULL])

    def constant(text: str) -> pa.Array:
        return pa.repeat(pa.scalar(text), len(rows))

    return pa.table(
        [
            own["idx"],
            pc.list_element(pc.split_pattern(own["channels"], "|", max_splits=1), 0),
            own["dir_name"],
            constant(""),
            constant("label"),
            constant("not_selected"),
            details.take(pa.array(has_label[rows].astype(np.int8))),
        ],
        schema=schema.REJECTED,
    )
