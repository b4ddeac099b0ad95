"""Read publishers' tables: every encoding, separator and line end they use; errors name the file and the line."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePosixPath

import pandas as pd

from .. import storage
from ..errors import MetadataError
from ..text_tables import MAX_TABLE_BYTES, Lines, Wrong, decode, read_bounded, text_lines

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
        Our name to the publisher's, or to a tuple of its spellings. Names are compared without case, additional
        blanks, and the text after `%%` (the links in headers of the Image Data Resource). With `header=False` the
        columns are taken in the order given.
    optional : mapping, optional
        The same for columns that may be absent; they are then empty.
    separator : str, optional
        Character between cells. Without it, the one of tab, comma and semicolon that is most frequent in the first
        line.
    header : bool
        Whether the first line names the columns.
    must : mapping, optional
        Our name of a column to the regular expression that each complete cell must match.
    tolerant : bool
        Leave out ragged lines and count them in `frame.attrs["bad_lines"]`, for a table that is known to be cut off.

    Returns
    -------
    DataFrame of str
        Empty text where a cell is empty; blanks at both ends of a cell are removed.

    Raises
    ------
    MetadataError
        If a column is absent, a line has too many or too few cells, or the file is not a table; the error names the
        line and the expected columns.
    """
    path, optional = os.fspath(path), optional or {}
    expected = ", ".join(c if isinstance(c, str) else " or ".join(c) for c in columns.values())

    def wrong(problem: str, line: int) -> MetadataError:
        return MetadataError(problem, where=f"{path}, line {line}", next=f"Expected columns: {expected}")

    read_lines = _READERS.get(PurePosixPath(path).suffix.lower(), _text_lines)
    lines = read_lines(path, wrong, separator=separator, strict=not tolerant)
    layout = _layout_of_header(lines, columns, optional, wrong) if header else _layout_in_order(columns, optional)
    kept, bad_lines = _take_cells(lines, layout, must or {}, wrong, tolerant=tolerant)
    taken = layout.taken
    cells = dict(zip(taken, zip(*kept, strict=True), strict=True)) if kept else dict.fromkeys(taken, ())
    frame = pd.DataFrame(
        {
            ours: pd.Series([""] * len(kept) if place is None else cells[place], dtype="str")
            for ours, place in layout.places.items()
        }
    )
    frame.attrs["bad_lines"] = bad_lines
    return frame


@dataclass(frozen=True)
class _Layout:
    """Where the columns are in a line: `places` by our name (None: absent), and how many cells a line may have."""

    places: Mapping[str, int | None]
    least: int
    most: int

    @property
    def taken(self) -> list[int]:
        """The cells to read of each line."""
        return [place for place in self.places.values() if place is not None]


def _layout_of_header(lines: Lines, columns: Columns, optional: Columns, wrong: Wrong) -> _Layout:
    """Read the first line and find the columns in it."""
    line, names = next(lines, (1, []))
    by_name = {_folded(name): i for i, name in reversed(list(enumerate(names)))}
    places = {ours: _place(by_name, theirs) for ours, theirs in {**optional, **columns}.items()}
    absent = [_either(columns[ours]) for ours in columns if places[ours] is None]
    if absent:
        present = ", ".join(name for name in names if name)[:300] or "nothing"
        raise wrong(f"No column {', no column '.join(absent)}; the header has {present}", line)
    return _Layout(places, max(i for i, name in enumerate(names, start=1) if name), len(names))


def _layout_in_order(columns: Columns, optional: Columns) -> _Layout:
    """Take the columns in the order given, for a table without a header."""
    places = {**{ours: i for i, ours in enumerate(columns)}, **dict.fromkeys(optional)}
    return _Layout(places, len(columns), len(columns))


def _take_cells(
    lines: Lines, layout: _Layout, must: Mapping[str, str], wrong: Wrong, *, tolerant: bool
) -> tuple[list[list[str]], int]:
    """Return the cells of each line, and the number of ragged lines that were left out."""
    taken = layout.taken
    rules = [(taken.index(layout.places[ours]), re.compile(rule).fullmatch) for ours, rule in must.items()]  # type: ignore[arg-type]
    kept: list[list[str]] = []
    bad_lines = 0
    for line, cells in lines:
        if len(cells) < layout.least or any(cells[layout.most :]):
            if not tolerant:
                raise wrong(f"{len(cells)} cells where {layout.most} are expected", line)
            bad_lines += 1
            continue
        row = [cells[i].strip() for i in taken]
        for i, matches in rules:
            if not matches(row[i]):
                raise wrong(f"{row[i]!r} is not a value of this column", line)
        kept.append(row)
    return kept, bad_lines


def _folded(name: str) -> str:
    """Return a column's name without its link, additional blanks and capital letters."""
    return " ".join(name.split("%%")[0].split()).casefold()


def _either(names: str | tuple[str, ...]) -> str:
    return " or ".join(map(repr, (names,) if isinstance(names, str) else names))


def _place(by_name: Mapping[str, int], names: str | tuple[str, ...]) -> int | None:
    for name in (names,) if isinstance(names, str) else names:
        if (place := by_name.get(_folded(name))) is not None:
            return place
    return None


def _text_lines(path: str, wrong: Wrong, *, separator: str | None, strict: bool) -> Lines:
    """Yield line number and cells of each line of a .csv, .tsv or .txt, packed or not, that is not empty."""
    return text_lines(decode(read_bounded(path)), wrong, separator=separator, strict=strict)


def _excel_lines(path: str, wrong: Wrong, *, separator: str | None, strict: bool) -> Lines:
    """Yield line number and cells of each line of a workbook's first sheet that is not empty."""
    import xlrd

    if storage.size(path) > MAX_TABLE_BYTES:
        raise wrong(f"Larger than {MAX_TABLE_BYTES:,} bytes", 1)
    data = storage.read_bytes(path)
    try:
        sheet = xlrd.open_workbook(file_contents=data, logfile=io.StringIO()).sheet_by_index(0)
        rows: Iterable[list[object]] = [sheet.row_values(i) for i in range(sheet.nrows)]
    except Exception as error:  # a damaged workbook may fail anywhere inside xlrd, with any kind of error
        raise wrong(f"Not a readable .xls workbook: {type(error).__name__}: {error}", 1) from error
    for number, cells in enumerate(rows, start=1):
        if any(cell != "" for cell in cells):
            # Excel stores every number as a float; a plate number must not become "1.0"
            yield number, [str(int(c)) if isinstance(c, float) and c.is_integer() else str(c) for c in cells]


_READERS: Mapping[str, Callable[..., Lines]] = {".xls": _excel_lines}
"""By suffix; a file with any other suffix is text."""
