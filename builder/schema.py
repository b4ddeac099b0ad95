"""The columns of every table between two stages, checked on write and on read. One row is one image.

Unknown text is the empty string, never null. An unknown number is null, which only `magnification` and `pixel_size` can
be: the dataset card states their type, since a reader that guesses it from the first rows may find nulls only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .bounded_parquet import BoundedParquet
from .errors import SchemaError
from .storage import atomic_writer, filesystem

VERSION = "2.0.0"  # of the columns below; part of every digest
READABLE = ("1", "2")
"""First numbers of the versions that are read; what a table of an earlier version lacks is empty (`ADDED`)."""
SAMPLE = "sample"  # the split, and the configuration of `load_dataset`, of a few images per class
SAMPLE_PER_CLASS = 10  # images; enough to see what a class looks like

LABEL_COLUMNS = ("organism", "cell_type", "cell_visible", "phenotype", "compound", "gene", "sirna")
"""The columns that weak labels come from, in this order (preprint, 2.1)."""

SPLITS = ("train", "validation")
CATEGORIES = LABEL_COLUMNS

REASONS = (
    "unreadable",
    "missing_channel",
    "too_large",
    "too_slow",
    "too_much_memory",
    "empty",
    "constant",
    "binary_mask",
    "dim",
    "saturated",
    "not_finite",
    "not_selected",
    "class_full",
    "class_too_small",
    "duplicate",
    "in_evaluation_set",
    # counted by the import of the published archive only
    "absent",
    "extra",
    "renamed",
)
"""Why an image or a row is rejected."""

_text, _int, _real = pa.string(), pa.int64(), pa.float64()


def _fields(names: str, kind: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names.split()]


_PROVENANCE = [
    *_fields("plate well site control", _text),
    *(pa.field(name, _real, nullable=True) for name in ("magnification", "pixel_size")),
    *_fields("channel_type", _text),
]
CONTROLS = ("negative", "positive")
"""Values of `control`, which is empty for a sample and where nobody states it."""

CATALOG = pa.schema(
    [
        *_fields("idx database name dir_name path filename", _text),
        *_fields("organism cell_type cell_visible phenotype compound sirna gene", _text),
        *_fields("microscopy channels stains licence group", _text),
        *_PROVENANCE,
    ]
)
"""A source image. `path` is its folder below RAW, `filename` the file of its first channel. `channels` are all its
files, relative to RAW and joined by `|` in the order of merging (`images.channels` has the notation); `stains` lists
their stains in the same order. `group` names what the train/validation split must not divide (a plate, movie or donor
of this source); empty where the source does not name it.

Where a source, its tables or its files state them: `plate`, `well` (`C05`) and `site` (field of view within the well);
`control`, one of `CONTROLS`; `magnification` of the objective; `pixel_size`, the side of a pixel of the source image in
micrometres. `channel_type` has a standard type for each of the `stains`, in the same order and joined in the same
manner; the type of a stain that the table of types lacks is empty (`sources/channel_types.py`)."""

_OWN_SOURCES = "cytoimagenet.own_sources"  # key of the metadata of a Parquet file

SELECTION = pa.schema([*_fields("label category", _text), *CATALOG, *_fields("alternatives", _text)])
"""A source image with a class. `alternatives` are the names of the other classes whose label it has, sorted and
joined by `|`."""

ROW = pa.schema(
    [
        *_fields("label category database name dir_name path filename idx", _text),
        *_fields("organism cell_type cell_visible phenotype compound sirna gene microscopy", _text),
        *_fields("crop", pa.bool_()),
        *_fields("scaling", _real),
        *_fields("x_min x_max y_min y_max", _int),
        *_fields("split", _text),
        *_fields("width height", _int),
        *_fields("channels stains sha256 licence", _text),
        *_fields("group", _text),
        *_PROVENANCE,
        *_fields("alternatives", _text),
    ]
)
"""An image of the dataset: a crop, or an uncropped source image. The box is in pixels of the source image, half-open.
`width` and `height` are those of the PNG; `sha256` is the digest of its shape and pixels. All other columns are those
of the source image: `pixel_size` is not changed by a scaling of the PNG."""

ADDED = ("group", *(field.name for field in _PROVENANCE), "alternatives")
"""Columns that tables of earlier versions lack; they are read as empty text, or null for numbers."""

_TYPES = {field.name: field.type for field in (*CATALOG, *ROW)}

CURATED = pa.schema([*ROW, *_fields("store", _text), *_fields("store_offset store_size", _int)])
"""A row and where its PNG bytes are in the curated folder: file, first byte, number of bytes."""

METADATA = pa.schema([*_fields("key", _text), *ROW, *_fields("shard", _text), *_fields("offset size", _int)])
"""A row and where its PNG bytes are in the dataset folder. `shard` is relative to it (`data/train-...tar`)."""

REJECTED = pa.schema(_fields("idx file dir_name label stage reason detail", _text))
"""A row or an image that was rejected, and why. `label` is empty before classes are assigned."""

CLASSES = pa.schema(
    [
        *_fields("index", _int),
        *_fields("label category", _text),
        *_fields("train validation", _int),
    ]
)
"""The classes in the order of their index (by label)."""


def check(frame: pd.DataFrame, schema: pa.Schema, where: str = "table") -> pa.Table:
    """Return `frame` as an Arrow table of exactly `schema`.

    Parameters
    ----------
    frame : DataFrame
        With every column of the schema, in any order, and no other.
    schema : pyarrow.Schema
        One of this module.
    where : str
        The table, for the error.

    Raises
    ------
    SchemaError
        If a column is absent, unknown, of another type, or contains a null that it may not contain.
    """
    absent = [name for name in schema.names if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in schema.names]
    if absent or unknown:
        wrong = [f"absent: {', '.join(absent)}"] * bool(absent)
        wrong += [f"unknown: {', '.join(map(str, unknown))}"] * bool(unknown)
        raise SchemaError(f"Wrong columns ({'; '.join(wrong)})", where=where)
    columns = []
    for field in schema:
        try:
            column = pa.chunked_array(pa.Array.from_pandas(frame[field.name], type=field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"Column {field.name!r} is not {field.type}: {error}", where=where) from error
        if column.null_count and not field.nullable:
            raise SchemaError(
                f"Column {field.name!r} has {column.null_count} nulls; use '' for unknown text", where=where
            )
        columns.append(column)
    return pa.table(columns, schema=schema)


def empty(name: str) -> str | None:
    """Return the value of a column of `ADDED` where nothing is known: empty text, or null for a number.

    Examples
    --------
    >>> empty("plate"), empty("pixel_size")
    ('', None)
    """
    return "" if _TYPES[name] == _text else None


def with_added(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Return a table with these columns, in this order; those of `ADDED` that it lacks are empty text or null.

    Examples
    --------
    >>> with_added(pa.table({"idx": ["a-0"]}), ["idx", "group", "pixel_size"]).to_pylist()
    [{'idx': 'a-0', 'group': '', 'pixel_size': None}]
    """
    names = list(names)
    for name in names:
        if name in ADDED and name not in table.column_names:
            table = table.append_column(name, pa.repeat(pa.scalar(empty(name), _TYPES[name]), len(table)))
    return table.select(names)


def of_version(columns: pa.Schema, version: str) -> pa.Schema:
    """Return the columns that a table of the dataset folder has in a version of this schema.

    Parameters
    ----------
    columns : pyarrow.Schema
        `METADATA`, `ROW`, or a table whose columns did not change.
    version : str
        As in the manifest, such as `1.0.0`.
    """
    if version.split(".")[0] != "1":
        return columns
    return pa.schema([field for field in columns if field.name not in ADDED])


class _Writable(Protocol):
    """A file, or an object of ours that is written to like one."""

    def write(self, data: Any, /) -> Any: ...


def writer(file: _Writable, schema: pa.Schema) -> pq.ParquetWriter:
    """Return a Parquet writer: compressed, with a page index, and a checksum in every page to find damage on reading.

    Pages end where their content says, so that rows which are appended leave the pages of the others as they are.
    """
    return pq.ParquetWriter(
        file,
        schema,
        compression="zstd",
        write_page_checksum=True,
        write_page_index=True,
        use_content_defined_chunking=True,
    )


def note_own_sources(writer: pq.ParquetWriter, facts: Mapping[str, Mapping[str, str]]) -> None:
    """Store the facts about users' own sources in the file of a table; of no sources, nothing.

    Parameters
    ----------
    writer : ParquetWriter
        Not closed yet.
    facts : mapping
        Folder name of a source to its facts, such as `link`: what the card shows and the columns do not contain.
    """
    if facts:
        text = json.dumps({name: dict(facts[name]) for name in sorted(facts)}, ensure_ascii=False, sort_keys=True)
        writer.add_key_value_metadata({_OWN_SOURCES: text})


def own_sources(path: str | PathLike[str]) -> dict[str, dict[str, str]]:
    """Return what `note_own_sources` stored in a file; empty if nothing."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file:
        stored = pq.read_metadata(file).metadata or {}
    return json.loads(stored.get(_OWN_SOURCES.encode(), b"{}"))  # type: ignore[no-any-return]


def write(frame: pd.DataFrame, path: str | PathLike[str], schema: pa.Schema) -> None:
    """Check a table and write it as Parquet, completely or not at all. Equal tables give equal bytes."""
    table = check(frame, schema, str(path))
    with atomic_writer(path) as file, writer(file, schema) as parquet:
        parquet.write_table(table)


def read(path: str | PathLike[str], schema: pa.Schema, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a Parquet file that must have `schema`; columns of `ADDED` may be absent.

    Parameters
    ----------
    path : str or path
        Local or a URL.
    schema : pyarrow.Schema
        One of this module.
    columns : list of str, optional
        Read only these.

    Raises
    ------
    SchemaError
        If the file is not a Parquet file, claims more than it can contain, has other columns, or contains a null.
    """
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file:
        parquet = BoundedParquet(file, path)
        found = parquet.schema
        wrong = [
            f.name
            for f in schema
            if (f.name not in found.names and f.name not in ADDED)
            or (f.name in found.names and found.field(f.name).type not in (f.type, pa.large_string()))
        ]
        if wrong:
            raise SchemaError(f"Columns absent or of another type: {', '.join(wrong)}", where=str(path))
        names = columns or schema.names
        table = with_added(parquet.read([name for name in names if name in found.names]), names)
    nulls = [name for name in table.column_names if table[name].null_count and not schema.field(name).nullable]
    if nulls:
        raise SchemaError(f"Column {nulls[0]!r} has {table[nulls[0]].null_count} nulls", where=str(path))
    # the file's own remarks to pandas could name columns that it does not have
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame
