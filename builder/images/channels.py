"""The notation of a channel: a file below RAW, and optionally a page or a box of it.

The column `channels` of a row contains these, joined by `|`: `bbbc041/malaria/images/a.png#xywh=10,20,64,64`,
`cil_kinome/53464.tif#page=1`. A source may be a zip in RAW: `pollen.zip/willow/a.png` is a file inside `pollen.zip`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

FRAGMENT = re.compile(r"#((?:page=\d+|xywh=\d+,\d+,\d+,\d+)(?:&(?:page=\d+|xywh=\d+,\d+,\d+,\d+))*)$")


class Place(NamedTuple):
    """One plane of pixels.

    Parameters
    ----------
    file : str
        Path relative to RAW.
    page : int, optional
        Index of the page of a stack, from 0.
    box : (x, y, width, height), optional
        Region of the plane, in pixels.
    """

    file: str
    page: int | None = None
    box: tuple[int, int, int, int] | None = None


def parse(channel: str) -> Place:
    """Parse a channel. A `#` that starts no page or box is part of the file's name.

    Examples
    --------
    >>> parse("a/plate #3.tif#page=2&xywh=1,2,30,40")
    Place(file='a/plate #3.tif', page=2, box=(1, 2, 30, 40))
    """
    found = FRAGMENT.search(channel)
    if found is None:
        return Place(channel)
    given = dict(part.split("=", 1) for part in found[1].split("&"))
    box = given.get("xywh")
    x, y, width, height = map(int, box.split(",")) if box else (0, 0, 0, 0)
    page = given.get("page")
    return Place(channel[: found.start()], None if page is None else int(page), (x, y, width, height) if box else None)


def split_zip(file: str) -> tuple[str, str]:
    """Split a file below RAW into the zip that contains it and its name there; without a zip, the first is empty.

    Examples
    --------
    >>> split_zip("pollen.zip/willow/a.png"), split_zip("bbbc013/a.zip/b.png")
    (('pollen.zip', 'willow/a.png'), ('', 'bbbc013/a.zip/b.png'))
    """
    first, _, member = file.partition("/")
    return (first, member) if member and first.lower().endswith(".zip") else ("", file)


def with_box(channel: str, box: tuple[int, int, int, int]) -> str:
    """Return a channel with a box added.

    Parameters
    ----------
    channel : str
        A file, optionally with a page.
    box : (x, y, width, height)
        In pixels.

    Examples
    --------
    >>> with_box("a.tif#page=2", (1, 2, 30, 40))
    'a.tif#page=2&xywh=1,2,30,40'
    """
    return f"{channel}{'#' if FRAGMENT.search(channel) is None else '&'}xywh={','.join(map(str, box))}"
