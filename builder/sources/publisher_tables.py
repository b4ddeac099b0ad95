"""Publishers' tables: text in every spelling they ship it in, and an error that says where it is wrong."""

from __future__ import annotations

import csv
import io
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from os import PathLike

import pandas as pd

from .. import storage
from ..errors import MetadataError

MAX_TABLE_BYTES = 2 << 30  # unpacked; the largest real one (idr0016, 413 plates) is a fiftieth of it
Columns = Mapping[str, str | tuple[str, ...]]


def read_table(
    path: str | PathLike[str],
    columns: Columns,
    *,
    optional: Columns | None = None,
    separator: str | None = None,
    header: bool = True,
    must: Mapping[str, str] | None = None,
    tolerant: bool = False,
) -> pd.DataFrame:
    """Read some columns of a table as text: .csv, .tsv, .txt, each also .gz, and .xls.

    A byte order mark, Latin-1, and LF, CRLF or bare CR line ends are all accepted, and so are empty cells beyond the
    last column (a comma at the end of each line).

    Parameters
    ----------
    path : str or path
        The file, local or a URL.
    columns : mapping
        Our name to the publisher's, or to a tuple of the spellings it goes by. Compared without regard to case,
        blanks, and what follows `%%` (the links in headers of the Image Data Resource). With `header=False` the
        columns are taken in the order given.
    optional : mapping, optional
        The same for columns that may be absent: they are empty then.
    separator : str, optional
        Without it, the one of tab, comma and semicolon that is most frequent in the first line.
    header : bool
        Whether the first line names the columns.
    must : mapping, optional
        Our name of a column to the regular expression that each of its cells must fit as a whole.
    tolerant : bool
        Leave out ragged lines and count them in `frame.attrs["bad_lines"]`, for a table known to be cut off.

    Returns
    -------
    DataFrame of str
        Empty text where a cell is empty; blanks at both ends of a cell are removed.

    Raises
    ------
    MetadataError
        Names file, line and the expected columns.
    """
    path, optional = os.fspath(path), optional or {}
    expected = ", ".join(c if isinstance(c, str) else " or ".join(c) for c in columns.values())

    def wrong(what: str, line: int) -> MetadataError:
        return MetadataError(what, where=f"{path}, line {line}", next=f"Expected columns: {expected}")

    excel = path.lower().endswith(".xls")
    lines = _excel(path, wrong) if excel else _text(path, separator, wrong, strict=not tolerant)
    if header:
        line, names = next(lines, (1, []))
        where = {_key(name): i for i, name in reversed(list(enumerate(names)))}
        places = {ours: _place(where, theirs) for ours, theirs in {**optional, **columns}.items()}
        absent = [_say(columns[ours]) for ours in columns if places[ours] is None]
        if absent:
            seen = ", ".join(name for name in names if name)[:300] or "nothing"
            raise wrong(f"No column {', no column '.join(absent)}; the header has {seen}", line)
        least, most = max(i for i, name in enumerate(names, start=1) if name), len(names)
    else:
        places = {**{ours: i for i, ours in enumerate(columns)}, **dict.fromkeys(optional)}
        least = most = len(columns)
    taken = [i for i in places.values() if i is not None]
    fits = [(taken.index(places[ours]), re.compile(rule).fullmatch) for ours, rule in (must or {}).items()]  # type: ignore[arg-type]
    kept: list[list[str]] = []
    bad = 0
    for line, cells in lines:
        if len(cells) < least or any(cells[most:]):
            if not tolerant:
                raise wrong(f"{len(cells)} cells where {most} are expected", line)
            bad += 1
            continue
        row = [cells[i].strip() for i in taken]
        for i, fit in fits:
            if not fit(row[i]):
                raise wrong(f"{row[i]!r} is no value of this column", line)
        kept.append(row)
    by_place = dict(zip(taken, zip(*kept, strict=True), strict=True)) if kept else dict.fromkeys(taken, ())
    frame = pd.DataFrame(
        {ours: pd.Series(by_place[i] if i is not None else [""] * len(kept), dtype="str") for ours, i in places.items()}
    )
    frame.attrs["bad_lines"] = bad
    return frame


def _key(name: str) -> str:
    return " ".join(name.split("%%")[0].split()).casefold()


def _say(names: str | tuple[str, ...]) -> str:
    return " or ".join(map(repr, (names,) if isinstance(names, str) else names))


def _place(where: Mapping[str, int], names: str | tuple[str, ...]) -> int | None:
    for name in (names,) if isinstance(names, str) else names:
        if (place := where.get(_key(name))) is not None:
            return place
    return None


def read_bounded(path: str | PathLike[str], limit: int = MAX_TABLE_BYTES) -> bytes:
    """Read a file, unpacking .gz, up to `limit` bytes.

    Raises
    ------
    MetadataError
        If it is larger, or the compressed stream is damaged or cut off.
    """
    if storage.size(path) > limit:
        raise MetadataError(f"Larger than {limit:,} bytes", where=path)
    data = storage.read_bytes(path)
    if data[:2] != b"\x1f\x8b":
        return data
    parts, size = [], 0
    while data:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(data, limit - size + 1))
        except zlib.error as error:
            raise MetadataError(f"The compressed file is damaged: {error}", where=path) from error
        size += len(parts[-1])
        if size > limit:
            raise MetadataError(f"Unpacks to more than {limit:,} bytes", where=path)
        if not unpacker.eof:
            raise MetadataError("The compressed file is cut off", where=path, next="Download it again.")
        data = unpacker.unused_data.lstrip(b"\0")
    return b"".join(parts)


def decode(data: bytes) -> str:
    """Turn a table's bytes into text: UTF-8 with or without its mark, UTF-16 with its mark, else Latin-1."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError:
            pass  # then it was not a mark
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _text(
    path: str, separator: str | None, wrong: Callable[[str, int], MetadataError], *, strict: bool
) -> Iterator[tuple[int, list[str]]]:
    text = decode(read_bounded(path))
    if separator is None:
        first = text[: min((i for i in (text.find("\n"), text.find("\r")) if i >= 0), default=len(text))]
        separator = max("\t,;", key=lambda s: (first.count(s), s == ","))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    begun = 0
    try:
        for cells in reader:
            # a quoted cell may span lines: the line a row begins in is what one looks for
            line, begun = begun + 1, reader.line_num
            if any(cells):
                yield line, cells
    except csv.Error as error:
        raise wrong(f"Not a readable table: {error}", begun + 1) from error


def _excel(path: str, wrong: Callable[[str, int], MetadataError]) -> Iterator[tuple[int, list[str]]]:
    import xlrd

    if storage.size(path) > MAX_TABLE_BYTES:
        raise wrong(f"Larger than {MAX_TABLE_BYTES:,} bytes", 1)
    data = storage.read_bytes(path)
    try:
        sheet = xlrd.open_workbook(file_contents=data, logfile=io.StringIO()).sheet_by_index(0)
        rows: Iterable[list[object]] = [sheet.row_values(i) for i in range(sheet.nrows)]
    except Exception as error:  # a damaged workbook fails anywhere inside xlrd, with any kind of error
        raise wrong(f"Not a readable .xls workbook: {type(error).__name__}: {error}", 1) from error
    for number, cells in enumerate(rows, start=1):
        if any(cell != "" for cell in cells):
            # Excel keeps every number as a float; a plate number must not become "1.0"
            yield number, [str(int(c)) if isinstance(c, float) and c.is_integer() else str(c) for c in cells]
