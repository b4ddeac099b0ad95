"""Read a table of images: CSV, TSV or Parquet, every cell as text, each row with its line."""

from __future__ import annotations

import io
import posixpath
import re
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ..errors import MetadataError
from ..text_tables import MAX_TABLE_BYTES, decode, text_lines, unpacked
from .root import Root

KEYS = ("id", "label", "group", "split")
"""Columns with a meaning, in addition to `file` and `file_<channel>`."""
UNNAMED_INDEX = re.compile(r"__index_level_\d+__")
"""How pandas calls an index without a name in Parquet."""
LINE = "\0line"  # no table has a column of this name
EXAMPLE = "A table needs a column `file`, or one column per channel such as `file_dna` and `file_actin`"


def read(root: Root, name: str) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    root : Root
        Where it is.
    name : str
        Its path relative to `root`.

    Returns
    -------
    DataFrame
        All columns of the table, `file...` and `KEYS` in lower case where they were not (the channel's name as it is
        written), and `LINE`. Text columns, and of a Parquet file also numbers, except in `file...` and `KEYS`.

    Raises
    ------
    MetadataError
        If it is damaged, a line is too long, a column has no name or appears twice, or there is no `file` column.
    """
    where = posixpath.join(root.path, name)
    data = root.read_bytes(name)
    parquet = name.lower().endswith((".parquet", ".pq"))
    frame = _parquet(data, where) if parquet else _text(data, where)
    names = [_canonical(str(column)) for column in frame.columns]
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        raise MetadataError(f"Two columns are called {twice!r}", where=where, next="Rename one of them.")
    frame.columns = pd.Index(names)
    files = places(frame)
    if not files or ("file" in files and len(files) > 1):
        problem = "no column `file`" if not files else "both `file` and `file_<channel>`"
        raise MetadataError(
            f"The table has {problem}; its columns are {', '.join(name for name in names if name != LINE)[:300]}",
            where=where,
            next=f"{EXAMPLE}.",
        )
    if not len(frame):
        raise MetadataError("The table has no rows", where=where)
    return frame


def places(frame: pd.DataFrame) -> list[str]:
    """Return the columns that name images, in the order of the table."""
    return [name for name in frame.columns if name == "file" or name.startswith("file_")]


def _canonical(column: str) -> str:
    bare = " ".join(column.split()) if column != LINE else column
    lower = bare.casefold()
    if lower in ("file", *KEYS):
        return lower
    return f"file_{bare[5:]}" if lower.startswith("file_") and len(bare) > 5 else bare


def _text(data: bytes, where: str) -> pd.DataFrame:
    def wrong(what: str, line: int) -> MetadataError:
        return MetadataError(what, where=f"{where}, line {line}")

    text = decode(unpacked(data, where))
    if "\0" in text[:1024]:
        raise MetadataError("This is not a text table", where=where, next="Save it as CSV in UTF-8.")
    separator = "\t" if where.lower().removesuffix(".gz").endswith(".tsv") else None
    if stated := re.match(r"sep=([,;\t])\r?\n", text):  # the first line of some exports of Excel
        separator = stated[1]
    lines = text_lines(text, wrong, separator=separator, strict=True)
    first, header = next(lines, (1, []))
    if stated:
        first, header = next(lines, (2, []))
    while header and not header[-1].strip():  # a comma at the end of each line
        header.pop()
    if not header:
        raise MetadataError("The table is empty", where=where, next=f"{EXAMPLE}.")
    kept, numbers = [], []
    for line, cells in lines:
        if any(cell.strip() for cell in cells[len(header) :]):
            raise MetadataError(
                f"{len(cells)} cells where {len(header)} are expected",
                where=f"{where}, line {line}",
                next='Write a cell with the separator in it in quotes, such as "a.png#xywh=0,0,64,64".',
            )
        row = [cell.strip() for cell in cells[: len(header)]]
        if any(row):
            kept.append(row + [""] * (len(header) - len(row)))
            numbers.append(line)
    frame = pd.DataFrame(kept, columns=pd.RangeIndex(len(header)), dtype="str")
    frame.columns = pd.Index([name.strip() for name in header])
    if "" in frame.columns:  # the row numbers that pandas and R write in front
        empty = [place for place, name in enumerate(frame.columns) if not name]
        if empty != [0]:
            raise MetadataError(f"Column {empty[-1] + 1} has no name", where=f"{where}, line {first}")
        frame = frame.drop(columns="")
    return frame.assign(**{LINE: numbers})


def _parquet(data: bytes, where: str) -> pd.DataFrame:
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        names = file.schema_arrow.names
        table = None if size > MAX_TABLE_BYTES or len(set(names)) < len(names) else file.read()
        # an index that pandas wrote is a column like any other; its remarks about it may be wrong
        frame = pd.DataFrame() if table is None else table.to_pandas(ignore_metadata=True)
    except Exception as error:  # Arrow and pandas raise errors of every kind for damaged files
        raise MetadataError(
            f"Not a readable Parquet file: {str(error) or type(error).__name__}", where=where
        ) from error
    if table is None:
        problem = (
            f"Unpacks to more than {MAX_TABLE_BYTES:,} bytes" if size > MAX_TABLE_BYTES else "Two columns have one name"
        )
        raise MetadataError(problem, where=where)
    frame = frame.drop(columns=[name for name in frame.columns if UNNAMED_INDEX.fullmatch(name)])
    for column in frame.columns:
        name = _canonical(str(column))
        if name in KEYS or name == "file" or name.startswith("file_") or not _is_plain(frame[column]):
            frame[column] = as_text(frame[column])
    return frame.assign(**{LINE: range(1, len(frame) + 1)})


def _is_plain(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column))


def as_text(column: pd.Series) -> pd.Series:
    """Return a column of any type as text; missing values are empty, and 1.0 is `1`."""

    def write(value: Any) -> str:
        if value is None or value is pd.NA or value != value:
            return ""
        # a column of whole numbers with a gap has become one of floats
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()

    return pd.Series([write(value) for value in column], index=column.index, dtype="str")
