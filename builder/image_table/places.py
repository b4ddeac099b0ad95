"""Paths of images as a table gives them, relative to the table's folder; a path that leads out of it is refused."""

from __future__ import annotations

import posixpath
import re

from ..images.channels import FRAGMENT

_DRIVE = re.compile(r"^[A-Za-z]:/")


class OutsideError(ValueError):
    """A path leads out of the folder of the table."""


def normalised(cell: str, root: str) -> str:
    r"""Return a cell's place as a path relative to `root`, with forward slashes and its page or box.

    Parameters
    ----------
    cell : str
        As written in the table: relative to the table's folder, or an absolute path or URL below it. Backslashes
        count as slashes.
    root : str
        The folder or URL of the table, absolute; empty for a table in a zip.

    Raises
    ------
    OutsideError
        If it leads out of `root`.

    Examples
    --------
    >>> normalised(r".\plate 1\a.tif#page=2", "/data/screen")
    'plate 1/a.tif#page=2'
    >>> normalised("/data/screen/a.tif", "/data/screen")
    'a.tif'
    """
    text = cell.strip().replace("\\", "/")
    found = FRAGMENT.search(text)
    path, fragment = (text[: found.start()], text[found.start() :]) if found else (text, "")
    path = path.removeprefix("file://") if path.startswith("file:///") else path
    if root and path.startswith(f"{root.rstrip('/')}/"):
        path = path[len(root.rstrip("/")) + 1 :]
    if "://" in path or path.startswith("/") or _DRIVE.match(path) or "\0" in path:
        raise OutsideError(path)
    path = posixpath.normpath(path)
    if path in (".", "..") or path.startswith("../"):
        raise OutsideError(path)
    return path + fragment


def file_of(place: str) -> str:
    """Return the file of a place, without its page or box.

    Examples
    --------
    >>> file_of("a.tif#page=1&xywh=0,0,64,64"), file_of("plate #3.tif")
    ('a.tif', 'plate #3.tif')
    """
    return FRAGMENT.sub("", place)
