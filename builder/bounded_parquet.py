"""Parquet files of unknown origin: what a file claims is compared with its size before it is in memory.

A Parquet file of a few kilobytes can claim a billion rows, or one long text in a million rows. Texts are therefore read
as dictionaries (each text once, and a number per row), and decoded only if their total size is plausible.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from os import PathLike
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .errors import SchemaError

ALWAYS_ALLOWED_BYTES = 2**30  # decoded; the metadata of a million images take less
MAX_RATIO = 100  # decoded to stored bytes of a larger table; ours have up to 15
VALUE_BYTES = 8  # of a number, or of the position of a text


class BoundedParquet:
    """A Parquet file whose rows fit into memory.

    Parameters
    ----------
    file : file or str
        Open for reading and seekable, or a local path.
    where : str or path
        Named in errors.

    Attributes
    ----------
    schema : pyarrow.Schema
        The columns, with texts as texts.
    rows : int
        Number of rows.
    row_groups : int
        Number of row groups.

    Raises
    ------
    SchemaError
        If it is not a Parquet file, or claims more than a file of its size can contain. Reading raises it too.
    """

    def __init__(self, file: IO[bytes] | str, where: str | PathLike[str]) -> None:
        self._where = str(where)
        stored_bytes = os.path.getsize(file) if isinstance(file, str) else file.seek(0, os.SEEK_END)
        self._most_bytes = max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * stored_bytes)
        try:
            about = pq.read_metadata(file)
            groups = [about.row_group(number) for number in range(about.num_row_groups)]
            if about.num_rows < 0 or about.num_rows != sum(group.num_rows for group in groups):
                raise SchemaError("Not a readable Parquet file: its numbers of rows differ", where=where)
            self._check(about.num_rows * about.num_columns * VALUE_BYTES, f"{about.num_rows:,} rows")
            self._check(sum(abs(group.total_byte_size) for group in groups), "its columns")
            columns = [about.schema.column(number) for number in range(about.num_columns)]
            texts = [number for number, column in enumerate(columns) if column.physical_type == "BYTE_ARRAY"]
            nested = [number for number in texts if "." in columns[number].path]
            if any(_has_dictionary(group.column(number)) for group in groups for number in nested):
                # Arrow would repeat these texts at once
                raise SchemaError("Not a Parquet file as this project writes it: a dictionary of images", where=where)
            self._file = pq.ParquetFile(
                file,
                page_checksum_verification=True,
                read_dictionary=[columns[number].path for number in texts if number not in nested],
            )
            self.schema = pa.schema(
                [field.with_type(_plain_type(field.type)) for field in self._file.schema_arrow],
                self._file.schema_arrow.metadata,
            )
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self.rows: int = about.num_rows
        self.row_groups: int = about.num_row_groups

    def read(
        self,
        columns: list[str] | None = None,
        row_group: int | None = None,
        only: tuple[str, Collection[str]] | None = None,
    ) -> pa.Table:
        """Read a table.

        Parameters
        ----------
        columns : list of str, optional
            By default all.
        row_group : int, optional
            Read this row group; by default all.
        only : (str, collection of str), optional
            A column of texts, and those to keep: other rows are left out.
        """
        try:
            if row_group is None:
                table = self._file.read(columns)
            else:
                table = self._file.read_row_group(row_group, columns)
            table.validate(full=True)  # texts are UTF-8
            if only is not None:
                wanted = pa.array(sorted(only[1]), pa.string())
                table = table.filter(pc.is_in(table[only[0]].cast(pa.string()), value_set=wanted))
            self._check(sum(_decoded_bytes(column) for column in table.columns), "its texts")
            return table.cast(pa.schema([self.schema.field(name) for name in table.column_names], self.schema.metadata))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _check(self, claimed_bytes: int, what: str) -> None:
        if claimed_bytes > self._most_bytes:
            raise SchemaError(
                f"{what} would take {claimed_bytes:,} bytes of memory, far more than a file of its size contains",
                where=self._where,
                next="Download it again, from a source that you trust",
            )

    def _unreadable(self, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            return error
        return SchemaError(f"Not a readable Parquet file: {error}", where=self._where)


def _has_dictionary(column: pq.ColumnChunkMetaData) -> bool:
    return any("DICTIONARY" in encoding for encoding in column.encodings)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded_bytes(column: pa.ChunkedArray) -> int:
    """Return the bytes that a column takes once its texts are repeated in each row."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.take(pc.binary_length(chunk.dictionary), chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each).as_py() or 0 for each in lengths) + VALUE_BYTES * len(column)
