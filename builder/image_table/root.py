"""The folder, URL or zip that contains a table's images: which files it has, and how one is opened."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..formats import zips
from ..storage import filesystem, is_local, join, read_bytes

IMAGE_NAME = re.compile(r"\.(tiff?|png|bmp|dib|jpe?g|flex|stk|dv)$", re.IGNORECASE).search
"""Finds image files by their extension, where no table lists them."""
TABLE_NAMES = ("images.csv", "images.tsv", "images.parquet")
"""What the table of a folder or zip is called."""


@dataclass(frozen=True)
class Root:
    """Where images are.

    Attributes
    ----------
    path : str
        Absolute path of a folder or zip, or the URL of a folder.
    is_zip : bool
    """

    path: str
    is_zip: bool = False

    @property
    def name(self) -> str:
        """Name of the folder, or of the zip without its suffix."""
        name = self.path.rstrip("/").rsplit("/", 1)[-1]
        return name[:-4] if self.is_zip else name

    @cached_property
    def files(self) -> list[str]:
        """Relative paths of all files, sorted; hidden files and what macOS adds to zips are left out."""
        if self.is_zip:
            found: Iterable[str] = (
                entry.filename for entry in zips.open_zip(self.path).infolist() if not entry.is_dir()
            )
        elif is_local(self.path):
            found = _walk(self.path)
        else:
            fs, top = filesystem(self.path)
            found = (path[len(top) :].strip("/") for path in fs.find(top))
        return sorted(name for name in found if not any(_hidden(part) for part in name.split("/")))

    def absent(self, names: Collection[str]) -> set[str]:
        """Return which of these files do not exist. Behind http(s) this is only known when they are read."""
        if self.is_zip:
            return set(names) - set(zips.open_zip(self.path).namelist())
        if is_local(self.path):
            return {name for name in names if not os.path.isfile(os.path.join(self.path, name))}
        if self.path.startswith(("http://", "https://")):
            return set()
        return set(names) - set(self._remote(names))

    def states(self, names: Collection[str]) -> dict[str, str]:
        """Return a text per existing file that changes when its content does, without reading the file.

        Size and times on a local disk, size and checksum in a zip, and in other storage the entry of its listing. For
        http(s) it is empty.
        """
        if self.is_zip:
            entries = {entry.filename: entry for entry in zips.open_zip(self.path).infolist()}
            return {name: f"{entries[name].file_size} {entries[name].CRC}" for name in names if name in entries}
        if is_local(self.path):
            found = {}
            for name in names:
                about = os.stat(os.path.join(self.path, name))
                found[name] = f"{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"
            return found
        if self.path.startswith(("http://", "https://")):
            return dict.fromkeys(names, "")
        return {name: json.dumps(about, sort_keys=True, default=str) for name, about in self._remote(names).items()}

    def _remote(self, names: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the entry in the store's listing of each of these files that exists."""
        fs, top = filesystem(self.path)
        folders: dict[str, dict[str, str]] = defaultdict(dict)
        for name in names:
            folders[posixpath.dirname(name)][posixpath.basename(name)] = name
        found = {}
        for folder, within in folders.items():
            try:
                entries = fs.ls(posixpath.join(top, folder), detail=True)
            except FileNotFoundError:
                continue
            for about in entries:
                base = about["name"].rstrip("/").rsplit("/", 1)[-1]
                if base in within and about["type"] == "file":
                    found[within[base]] = about
        return found

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file."""
        if self.is_zip:
            where = f"{self.path}, {name}"
            return zips.open_member(zips.open_zip(self.path), name, where).getvalue()
        return read_bytes(join(self.path, name))

    def table(self) -> str | None:
        """Return the relative path of the table this folder or zip contains; None if it contains none.

        In a zip the table may be in the one folder that contains everything else.

        Raises
        ------
        UsageError
            If there are several.
        """
        if self.is_zip:
            tops = {name.split("/", 1)[0] for name in self.files}
            prefix = f"{tops.pop()}/" if len(tops) == 1 and not tops & set(TABLE_NAMES) else ""
            found = [prefix + name for name in TABLE_NAMES if prefix + name in set(self.files)]
        else:
            found = [name for name in TABLE_NAMES if _is_file(join(self.path, name))]
        if len(found) > 1:
            raise UsageError(f"There are several tables: {', '.join(found)}", where=self.path, next="Name one of them")
        return found[0] if found else None


def find(images: str | os.PathLike[str]) -> tuple[Root, str | None]:
    """Return the root of the images, and the table's path relative to it where there is a table.

    Parameters
    ----------
    images : str or path
        A table (.csv, .tsv, .txt, each also .gz; .parquet), a folder, or a .zip; a table or folder may be a URL.

    Raises
    ------
    UsageError
        If there is nothing of this name, or it is none of these.
    """
    text = os.fspath(images)
    local = is_local(text)
    if local:
        text = Path(filesystem(text)[1]).absolute().as_posix()
    lower = text.lower().rstrip("/")
    if lower.endswith(".zip"):
        if not local:
            raise UsageError("A zip is read from this machine's disk", where=text, next="Download it first")
        if not os.path.isfile(text):
            raise UsageError("There is no such zip", where=text)
        root = Root(text, is_zip=True)
        return root, root.table()
    if lower.endswith((".xlsx", ".xls", ".ods")):
        raise UsageError("A workbook is not read", where=text, next="Save its sheet as CSV")
    if re.search(r"\.(csv|tsv|txt)(\.gz)?$|\.(parquet|pq)$", lower):
        if not _is_file(text):
            raise UsageError("There is no such table", where=text)
        folder, _, name = text.rpartition("/")
        return Root(folder or "/"), name
    if local and not os.path.isdir(text):
        kind = (
            "This is neither a table, a folder nor a zip" if os.path.exists(text) else "There is no such file or folder"
        )
        raise UsageError(kind, where=text, next="Name a .csv, .tsv or .parquet table, a folder, or a .zip")
    root = Root(text.rstrip("/"))
    return root, root.table()


def _walk(top: str) -> list[str]:
    found = []
    seen: set[tuple[int, int]] = set()
    for here, folders, names in os.walk(top, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        inside = os.path.relpath(here, top).replace(os.sep, "/")
        # a name that is no UTF-8 could not be written into any table
        found += [name if inside == "." else f"{inside}/{name}" for name in names if _is_text(name)]
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"


def _is_file(path: str) -> bool:
    fs, inner = filesystem(path)
    return bool(fs.isfile(inner))
