"""Text tables of every encoding, separator and line end that people's programs write: bytes to lines of cells."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Callable, Iterator
from os import PathLike

from . import storage
from .errors import CytoImageNetError, MetadataError

MAX_TABLE_BYTES = 2 << 30  # unpacked; the largest real table (idr0016, 413 plates) has a fiftieth of it
Lines = Iterator[tuple[int, list[str]]]
"""Number of the line in the file, from 1, and its cells."""
Wrong = Callable[[str, int], CytoImageNetError]
"""Returns the error for a problem in a line."""


def read_bounded(path: str | PathLike[str], limit: int = MAX_TABLE_BYTES) -> bytes:
    """Read a file, unpacking .gz, up to `limit` bytes.

    Raises
    ------
    MetadataError
        If it is larger, or the compressed stream is damaged or cut off.
    """
    if storage.size(path) > limit:
        raise MetadataError(f"Larger than {limit:,} bytes", where=path)
    return unpacked(storage.read_bytes(path), path, limit)


def unpacked(data: bytes, where: str | PathLike[str], limit: int = MAX_TABLE_BYTES) -> bytes:
    """Return bytes, decompressed up to `limit` if they are gzip; `where` names the file in errors."""
    if data[:2] != b"\x1f\x8b":
        return data
    parts, size = [], 0
    while data:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(data, limit - size + 1))
        except zlib.error as error:
            raise MetadataError(f"The compressed file is damaged: {error}", where=where) from error
        size += len(parts[-1])
        if size > limit:
            raise MetadataError(f"Unpacks to more than {limit:,} bytes", where=where)
        if not unpacker.eof:
            raise MetadataError("The compressed file is cut off", where=where, next="Download it again.")
        data = unpacker.unused_data.lstrip(b"\0")
    return b"".join(parts)


def decode(data: bytes) -> str:
    """Decode a table's bytes: UTF-8 with or without a byte order mark, UTF-16 with one, otherwise Latin-1."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            pass  # then the two bytes were not a mark
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def text_lines(text: str, wrong: Wrong, *, separator: str | None, strict: bool) -> Lines:
    """Yield line number and cells of each line that is not empty.

    Parameters
    ----------
    text : str
        The table.
    wrong : callable
        Returns the error to raise where quotes do not match.
    separator : str, optional
        Without it, the one of tab, comma and semicolon that is most frequent in the first line.
    strict : bool
        Refuse text behind a closing quote.
    """
    if separator is None:
        first = text[: min((i for i in (text.find("\n"), text.find("\r")) if i >= 0), default=len(text))]
        separator = max("\t,;", key=lambda s: (first.count(s), s == ","))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    begun = 0
    try:
        for cells in reader:
            # a quoted cell may contain line ends: the number is that of the row's first line
            line, begun = begun + 1, reader.line_num
            if any(cells):
                yield line, cells
    except csv.Error as error:
        raise wrong(f"Not a readable table: {error}", begun + 1) from error
