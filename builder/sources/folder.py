"""A source's folder: list its files, find its tables, and count how each file was used."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import groupby
from operator import itemgetter
from typing import Literal, overload

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import MetadataError
from ..storage import filesystem, is_local, join, read_bytes
from .publisher_tables import Columns, read_table

INVENTORY = "files.txt"
IMAGE = r"(?i)\.(tiff?|png|bmp|dib|jpe?g|flex|dv)$"
"""Extensions of image files. Any of them may occur: a publisher's .BMP may have been converted to .tif."""
IMAGE_NAME = re.compile(IMAGE).search
TABLE_DEPTH = 4  # folders; with an inventory, tables are searched down to here, above the images of a screen
TABLES_NAMED = 8  # in the error about an absent one
MAX_DEPTH = 1_000  # folders; deeper than any source


@dataclass
class Counts:
    """Numbers of files and rows of a source. Always `listed` = `used` + the sum of `skipped`.

    Attributes
    ----------
    source : str
        Short name.
    listed, used : int
        Files found, and files that are a channel of a row.
    rows : int
        Rows in the catalogue.
    unlabelled : int
        Rows for which the publisher's table has no label.
    labels_without_image : int
        Keys of the publisher's table that no row has.
    skipped : Counter
        Files left out, by reason.
    notes : Counter
        Anything else worth knowing, such as fields that lack a channel.
    offered : int
        Rows of the image table of a user's own source, used or not.
    rejected : mapping of str to int
        Of these, rows that can't be used, by reason (`image_table.row_checks.REASONS`).
    remarks : list of str
        Sentences about the source's tables.
    """

    source: str
    listed: int = 0
    used: int = 0
    rows: int = 0
    unlabelled: int = 0
    labels_without_image: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    offered: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, object]:
        """Return everything, ready for JSON."""
        return {**vars(self), "skipped": dict(self.skipped), "notes": dict(self.notes)}


class Folder:
    """One source's folder while it is read.

    Parameters
    ----------
    root : str or path
        The folder of the source, `RAW/<dir_name>`, local or a URL.
    dir_name : str
        The source's short name; a line of `files.txt` may start with it.
    """

    def __init__(self, root: str | os.PathLike[str], dir_name: str) -> None:
        self.root, self.dir_name = os.fspath(root), dir_name
        self.counts = Counts(dir_name)
        self._tables: list[str] | None = None

    def files(self) -> pa.Array:
        """Return the path of every file below the folder, sorted by bytes, each once (large_string).

        They are read from `files.txt` if there is one; the images need not be present then.
        """
        inventory = join(self.root, INVENTORY)
        fs, inner = filesystem(inventory)
        found = self._inventory(inventory) if fs.isfile(inner) else self._walk()
        self.counts.listed += len(found)
        unique = pc.unique(found)
        if repeated := len(found) - len(unique):
            self.counts.skipped["listed twice"] += repeated
        return unique.take(pc.sort_indices(unique))

    def find(self, glob: str) -> list[str]:
        """Return the files other than images whose name matches `glob` in any case, sorted by path."""
        if self._tables is None:
            near = _folders(self.root, depth=TABLE_DEPTH)
            paths = (f"{inside}/{name}" if inside else name for inside, names in near for name in names)
            self._tables = sorted(path for path in paths if _may_be_table(path))
        matches = re.compile(translate(glob), re.IGNORECASE).match
        return [join(self.root, path) for path in self._tables if matches(path.rsplit("/", 1)[-1])]

    @overload
    def table(
        self,
        glob: str,
        columns: Columns,
        *,
        optional: Columns | None = None,
        required: Literal[True] = True,
        **how: object,
    ) -> pd.DataFrame: ...
    @overload
    def table(
        self, glob: str, columns: Columns, *, optional: Columns | None = None, required: Literal[False], **how: object
    ) -> pd.DataFrame | None: ...
    def table(
        self, glob: str, columns: Columns, *, optional: Columns | None = None, required: bool = True, **how: object
    ) -> pd.DataFrame | None:
        """Read all tables whose name matches `glob` as one table.

        Parameters
        ----------
        glob : str
            File name with wildcards, such as `*-annotation.csv*`.
        columns, optional, how
            As `publisher_tables.read_table`. Lines it leaves out are counted in `counts.notes`.
        required : bool
            If false, return None where there is no such table, and count that in `counts.notes`.

        Raises
        ------
        MetadataError
            If there is no such table, or one is malformed.
        """
        found = self.find(glob)
        if not found and required:
            present = ", ".join(path[len(self.root) :].lstrip("/") for path in self.find("*")[:TABLES_NAMED])
            raise MetadataError(
                f"No table {glob!r}",
                where=self.root,
                next=f"Files that are not images: {present or 'none'}. For a table that may be absent: required=False.",
            )
        if not found:
            self.counts.notes[f"no table {glob}"] += 1
            return None
        parts = [read_table(path, columns, optional=optional, **how) for path in found]  # type: ignore[arg-type]
        for part in parts:
            if left_out := part.attrs.get("bad_lines", 0):
                self.counts.notes["table lines left out"] += left_out
        table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        table.attrs = {}
        return table

    def _walk(self) -> pa.Array:
        found: list[str] = []
        unusable = 0
        for inside, names in _folders(self.root, self.counts):
            for name in names:
                path = f"{inside}/{name}" if inside else name
                try:
                    path.encode()
                except UnicodeEncodeError:  # not UTF-8: no later stage could name the file
                    unusable += 1
                    continue
                found.append(path)
        self._tables = sorted(path for path in found if _may_be_table(path))
        self.counts.listed += unusable
        if unusable:
            self.counts.skipped["name is not UTF-8"] += unusable
        return pa.array(found, pa.large_string())

    def _inventory(self, path: str) -> pa.Array:
        data = read_bytes(path).removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise _bad_line(path, line, "is not UTF-8") from error
        lines = pc.split_pattern(pa.array([text], pa.large_string()), "\n").values
        outside = pc.match_substring_regex(lines, r"^\s*/|(^|/)\.\.(/|$)|^[A-Za-z][A-Za-z0-9+.-]*://|\x00")
        if pc.any(outside).as_py():
            raise _bad_line(path, pc.index(outside, True).as_py() + 1, "leads out of the source's folder")
        lines = pc.replace_substring_regex(lines, rf"^(\./)*({re.escape(self.dir_name)}/)?", "")
        return lines.filter(pc.not_equal(pc.utf8_trim_whitespace(lines), ""))


def _bad_line(path: str, line: int, what: str) -> MetadataError:
    return MetadataError(
        f"A line of the inventory {what}",
        where=f"{path}, line {line}",
        next="Expected: one path per line, relative to the source's folder, in UTF-8.",
    )


def _folders(root: str, counts: Counts | None = None, depth: int = MAX_DEPTH) -> Iterator[tuple[str, list[str]]]:
    """Yield the path of each folder below `root` and the names of its files; links are followed, each folder once."""
    if not is_local(root):
        fs, top = filesystem(root)
        # an object store lists a thousand files per request; going folder by folder would be one request per folder
        paths = (path[len(top) :].strip("/") for path in fs.find(top, maxdepth=depth if depth < MAX_DEPTH else None))
        for inside, within in groupby(sorted(path.rpartition("/")[::2] for path in paths), itemgetter(0)):
            yield inside, [name for _, name in within]
        return
    root = filesystem(root)[1]
    seen: set[tuple[int, int]] = set()

    def stop(error: OSError) -> None:
        raise error

    for here, folders, names in os.walk(root, onerror=stop, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            if counts is not None:
                counts.notes["folder reached twice by a link"] += 1
            continue
        seen.add((status.st_dev, status.st_ino))
        inside = os.path.relpath(here, root).replace(os.sep, "/") if here != root else ""
        if inside.count("/") + 2 > depth and inside:
            folders.clear()
        folders.sort()
        yield inside, sorted(names)


def _may_be_table(path: str) -> bool:
    return path.count("/") < TABLE_DEPTH and not IMAGE_NAME(path) and not path.rsplit("/", 1)[-1].startswith(".")
