"""Read `metadata.csv` of the published archive, in all its known forms, and match its rows with the archive's files.

Copies differ: paths are relative, or absolute on the authors' machine; older copies have no `category`; some have extra
columns of the authors. Repeated texts are stored once (dictionary encoding), so that 890,737 rows need little memory.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from numpy.typing import NDArray

from .. import schema
from ..errors import MetadataError, UnreadableImageError, UsageError
from .files import Archive, Listing

METADATA = "metadata.csv"
MAX_CSV_BYTES = 2**30  # decompressed; the published metadata.csv has about 300 MB
MAX_CSV_ROWS = 2**22  # four times those of the published metadata.csv
MAX_CSV_COLUMNS = 1000
MAX_RATIO = 200  # decompressed to compressed bytes of a large metadata.csv; text has about 15
RATIO_FROM_BYTES = 2**24  # a smaller one may be as repetitive as it likes
OLD_NAMES = {"cell_component": "cell_visible", "unique_id": "idx"}
DICTIONARY_COLUMNS = (
    "label",
    "category",
    "database",
    "name",
    "dir_name",
    "path",
    "microscopy",
    "channels",
    *schema.LABEL_COLUMNS,
)
COLUMNS = (*DICTIONARY_COLUMNS, "filename", "idx", "crop", "scaling", "x_min", "x_max", "y_min", "y_max")
REQUIRED_COLUMNS = ("label", "filename")
_BYTES_PER_READ = 2**20


@dataclass(frozen=True)
class Matched:
    """Which file of the archive belongs to which row.

    Attributes
    ----------
    entry : int array, shape (rows,)
        Number of the file in the listing, or -1.
    moved : bool array, shape (rows,)
        Whether the file is in another folder than the row names.
    twice : bool array, shape (rows,)
        Whether an earlier row has this file already; `entry` is then -1.
    extra : int array
        Numbers of the files that no row names.
    """

    entry: NDArray[np.int64]
    moved: NDArray[np.bool_]
    twice: NDArray[np.bool_]
    extra: NDArray[np.int64]


def find_metadata(listing: Listing) -> int:
    """Return the number of the `metadata.csv` nearest to the archive's root."""
    found = [
        (name.count("/"), number)
        for number, name in enumerate(listing.names.to_pylist())
        if name.rsplit("/", 1)[-1] == METADATA
    ]
    if not found:
        raise UsageError(
            f"There is no {METADATA} in the archive",
            where=listing.path,
            next="Is this the published archive? It has cytoimagenet/metadata.csv and one folder per label",
        )
    return min(found)[1]


def read_metadata(listing: Listing, number: int) -> pa.Table:
    """Read `metadata.csv`: every column of `COLUMNS`, as text; columns that it does not have are empty.

    Parameters
    ----------
    listing : Listing
        The files of the archive.
    number : int
        Number of `metadata.csv` in the listing.

    Raises
    ------
    MetadataError
        If it is not a CSV file, it is far larger than the published one, a row has another number of fields, or a
        required column is absent or exists twice.
    """
    name = listing.names[number].as_py()
    where = f"{listing.path}/{name}"
    _check_size(listing, number, where)
    texts = {
        old: pa.dictionary(pa.int32(), pa.string()) if new in DICTIONARY_COLUMNS else pa.string()
        for new in COLUMNS
        for old in (new, *(o for o, n in OLD_NAMES.items() if n == new))
    }
    convert = pv.ConvertOptions(column_types=texts, strings_can_be_null=False, quoted_strings_can_be_null=False)
    # one thread, so that an error names the row
    options = {"parse_options": pv.ParseOptions(newlines_in_values=True), "convert_options": convert}
    try:
        with Archive(listing) as opened, opened.stream(number) as stream:
            lines = io.BufferedReader(_BoundedLines(stream, where), _BYTES_PER_READ)
            table = pv.read_csv(lines, read_options=pv.ReadOptions(use_threads=False), **options)
        names = table.column_names
    except (pa.ArrowException, UnreadableImageError, UnicodeDecodeError, MemoryError) as error:
        raise MetadataError(
            f"{METADATA} can't be read: {error}",
            where=where,
            next=f"Expected a CSV file with the columns {', '.join(COLUMNS)}",
        ) from error
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise MetadataError(f"{METADATA} has the column {repeated[0]!r} twice", where=where)
    # a copy that has both spellings of a column is read by the new one
    current = [name for name in names if OLD_NAMES.get(name) not in names]
    table = table.select(current).rename_columns([OLD_NAMES.get(name, name) for name in current])
    absent = [column for column in REQUIRED_COLUMNS if column not in table.column_names]
    if absent:
        raise MetadataError(
            f"{METADATA} has no column {' and '.join(absent)}",
            where=where,
            next=f"Expected the columns {', '.join(COLUMNS)}; found {', '.join(table.column_names)}",
        )
    columns = {}
    for column in COLUMNS:
        empty = pa.repeat(pa.scalar("", pa.string()), len(table))
        values = table[column] if column in table.column_names else pa.chunked_array([empty])
        columns[column] = values.combine_chunks() if column in DICTIONARY_COLUMNS else values
        if not pa.types.is_dictionary(values.type) and not pa.types.is_string(values.type):
            columns[column] = pc.cast(values, pa.string())
    return pa.table(columns)


def _check_size(listing: Listing, number: int, where: str) -> None:
    """Raise an error for a metadata.csv that is too large, by what the archive's directory states."""
    size = int(listing.sizes[number])
    if size > MAX_CSV_BYTES:
        raise MetadataError(f"{size:,} bytes, at most {MAX_CSV_BYTES:,} allowed", where=where)
    packed = int(listing.packed[number]) if listing.is_zip else size
    if size > max(RATIO_FROM_BYTES, MAX_RATIO * packed):
        raise MetadataError(f"{packed:,} bytes that unpack to {size:,} are not a table of images", where=where)


class _BoundedLines(io.RawIOBase):
    """Passes on the bytes of a CSV file; raises an error once it has too many lines, or too many columns."""

    def __init__(self, stream: IO[bytes], where: str) -> None:
        self._stream, self._where = stream, where
        self._lines: int | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into `buffer`; return their number, 0 at the end."""
        piece = self._stream.read(len(buffer))
        if self._lines is None:
            self._lines = 0
            columns = piece.replace(b"\r", b"\n").partition(b"\n")[0].count(b",") + 1
            if columns > MAX_CSV_COLUMNS:
                raise MetadataError(f"{METADATA} has more than {MAX_CSV_COLUMNS:,} columns", where=self._where)
        self._lines += max(piece.count(b"\n"), piece.count(b"\r"))
        if self._lines > MAX_CSV_ROWS:
            raise MetadataError(f"{METADATA} has more than {MAX_CSV_ROWS:,} lines", where=self._where)
        buffer[: len(piece)] = piece
        return len(piece)


def as_text(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as plain strings in one piece."""
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def match(listing: Listing, table: pa.Table, metadata: int) -> Matched:
    """Find the file of every row: by folder and name, otherwise by its name if only one file has it.

    Parameters
    ----------
    listing : Listing
        The files of the archive.
    table : pyarrow.Table
        As `read_metadata` returns it.
    metadata : int
        Number of `metadata.csv` in the listing; no row gets it.
    """
    name = pc.replace_substring_regex(as_text(table["filename"]), r"(?s)^.*/", "")
    entry = _by_folder(listing, table, name)
    lost = np.flatnonzero(entry < 0)
    if len(lost):
        entry[lost] = _by_name(listing, name.take(pa.array(lost)))
    del name
    entry[entry == metadata] = -1
    _, first = np.unique(entry, return_index=True)
    again = np.ones(len(entry), dtype=bool)
    again[first] = False
    twice = again & (entry >= 0)
    entry[twice] = -1
    taken = np.zeros(len(listing.names), dtype=bool)
    taken[entry[entry >= 0]] = True
    taken[metadata] = True
    moved = np.zeros(len(entry), dtype=bool)
    moved[lost] = entry[lost] >= 0
    return Matched(entry, moved, twice, np.flatnonzero(~taken))


def _by_folder(listing: Listing, table: pa.Table, name: pa.Array) -> NDArray[np.int64]:
    """Return for each row the file in its last folder with its name, or -1; without a path the folder is the label."""
    folder = _last_part(table["path"])
    folder = pc.if_else(pc.equal(folder, ""), as_text(table["label"]), folder)
    placed = pc.replace_substring_regex(listing.names, r"(?s)^.*/([^/]*/[^/]*)$", r"\1")
    return _index(pc.binary_join_element_wise(folder, name, "/"), placed)


def _by_name(listing: Listing, name: pa.Array) -> NDArray[np.int64]:
    """Return for each name the only file that has it, in any folder, or -1 if there are none or several."""
    bare = pc.replace_substring_regex(listing.names, r"(?s)^.*/", "")
    entry = _index(name, bare)
    files_per_name = pc.filter(bare, pc.is_in(bare, value_set=name)).value_counts()
    unique = files_per_name.field("values").filter(pc.equal(files_per_name.field("counts"), 1))
    entry[_index(name, unique) < 0] = -1
    return entry


def categories_of(table: pa.Table) -> dict[str, str]:
    """Return the category of every label.

    The category that most of its rows state; if none states a valid one, the label column that contains the label in
    most rows; otherwise `phenotype`.
    """
    labels = as_text(table["label"])
    rows_by_column: dict[str, dict[str, int]] = {}
    for column in schema.LABEL_COLUMNS:
        values = as_text(table[column])
        framed = pc.binary_join_element_wise("|", values, "|", "")
        pairs = (
            pa.table({"label": labels, "framed": framed}).group_by(["label", "framed"]).aggregate([([], "count_all")])
        )
        for label, text, count in zip(*(pairs[c].to_pylist() for c in ("label", "framed", "count_all")), strict=True):
            if f"|{label}|" in text:
                rows_by_column.setdefault(label, {}).setdefault(column, 0)
                rows_by_column[label][column] += count
    pairs = pa.table({"label": labels, "category": as_text(table["category"])})
    counted = pairs.group_by(["label", "category"]).aggregate([([], "count_all")])
    stated: dict[str, dict[str, int]] = {}
    for label, category, count in zip(
        *(counted[c].to_pylist() for c in ("label", "category", "count_all")), strict=True
    ):
        if category in schema.CATEGORIES:
            stated.setdefault(label, {})[category] = count
    result = {}
    for label in sorted(pc.unique(labels).to_pylist()):
        votes = stated.get(label) or rows_by_column.get(label) or {"phenotype": 0}
        result[label] = min(votes, key=lambda column: (-votes[column], schema.CATEGORIES.index(column)))
    return result


def _last_part(path: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return the last folder of each path; each distinct path is handled once."""
    coded = path.combine_chunks() if isinstance(path, pa.ChunkedArray) else path
    if not isinstance(coded, pa.DictionaryArray):
        coded = coded.dictionary_encode()
    last = pc.replace_substring_regex(coded.dictionary, r"/*$", "")
    return pc.replace_substring_regex(last, r"(?s)^.*/", "").take(coded.indices)


def _index(values: pa.Array, among: pa.Array) -> NDArray[np.int64]:
    """Return the index of each value in `among`, or -1."""
    found = pc.index_in(values, value_set=among)
    return np.array(pc.fill_null(found, -1), dtype=np.int64)
