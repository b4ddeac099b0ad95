"""A chunk: some source images' images in one file that is whole or absent.

The file is a zip, uncompressed: one member for each kept PNG, and last `tried.parquet`, a line for every image that was
tried. Any zip tool opens it, every PNG is a range of bytes of it, and each member carries a checksum.

Its name is a hash of what goes in: the rows, the settings pixels depend on, and the size of every source file. So a
rerun finds what is done and a changed setting or row can't be mixed with it. A source file that was replaced by one of
the same size shows by its time of change, which is later than the chunk's: the chunk is made again. (Times are compared
and not hashed: a copy of RAW elsewhere gives the same bytes.)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from typing import IO, Any, NamedTuple

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from ..images import channels as locator
from ..images import make as field
from ..images.channel_reader import Reader
from ..images.make import Pixels, Wanted
from ..images.quality import Verdict
from ..storage import atomic_writer, filesystem, is_local, join

FOLDER = "chunks"
TABLE = "tried.parquet"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
DIED = Verdict("unreadable", "the process that read it died, twice")

TRIED = pa.schema(
    [
        pa.field("row", pa.int32()),  # place of the source image in its chunk
        pa.field("number", pa.int8()),  # the how manieth image of it
        pa.field("crop", pa.bool_()),
        pa.field("scaling", pa.float64()),
        *(pa.field(name, pa.int32()) for name in ("x_min", "x_max", "y_min", "y_max", "width", "height")),
        pa.field("sha256", pa.binary(32)),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int32()),
        pa.field("entropy", pa.float32()),
        pa.field("reason", pa.string()),  # "" = kept so far
        pa.field("detail", pa.string()),
        pa.field("file", pa.string()),
        pa.field("channel_digests", pa.string()),  # of the source image, on its first line; joined by |
    ]
)


class Done(NamedTuple):
    """What became of a chunk: its file, source images, images tried and left out, bytes of PNG, whether it stood."""

    name: str
    rows: int
    tried: int
    rejected: int
    bytes: int
    stood: bool


def run(rows: Sequence[Wanted], raw: str, out: str, pixels: Pixels, condemned: frozenset[str] = frozenset()) -> Done:
    """Make a chunk, unless it stands.

    Parameters
    ----------
    rows : sequence of Wanted
        Its source images.
    raw, out : str
        Folder or URL of the sources and of the curated images; every worker must reach both.
    pixels : Pixels
        Settings.
    condemned : set of str
        `idx` of source images that end the process that reads them; they are left out unread.
    """
    _prepare()
    rows = [Wanted(*row) for row in rows]
    sizes, changed = _sources(rows, raw)
    name = name_of(rows, sizes, pixels)
    path = join(out, FOLDER, name)
    stands = _standing(path, changed)
    if stands is not None:
        return _told(name, rows, stands, stood=True)
    with atomic_writer(path) as file:
        table = write(file, rows, Reader(raw), pixels, condemned)
    return _told(name, rows, table, stood=False)


@functools.cache
def _prepare() -> None:
    """Make this process a good worker: one thread, and memory that is kept from image to image."""
    cv2.setNumThreads(1)
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        # a fifth of the time went into handing every plane's pages back to the system and taking them again
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(M_TRIM_THRESHOLD, 2**28)


def name_of(rows: Sequence[Wanted], sizes: dict[str, int], pixels: Pixels) -> str:
    """Return the name of the file that holds these rows' images."""
    told = [asdict(pixels), [[*row, [sizes[file] for file in files_of(row)]] for row in rows]]
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()[:24] + ".zip"


def files_of(row: Wanted) -> list[str]:
    """Return the files of a source image, relative to RAW."""
    return [locator.parse(channel).file for channel in row.channels.split("|")]


def write(
    file: IO[bytes], rows: Sequence[Wanted], reader: Reader, pixels: Pixels, condemned: frozenset[str]
) -> pa.Table:
    """Write a chunk; return its table. Memory holds one source image at a time."""
    lines: list[dict[str, Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for place, row in enumerate(rows):
            tried: Iterable[field.Tried] = field.images_of(row, reader, pixels)
            if row.idx in condemned:
                tried = [field.Tried(verdict=DIED)]
            for number, image in enumerate(tried):
                lines.append(_line(place, number, image))
                if image.png:
                    lines[-1]["offset"] = _add(archive, f"{place:04d}-{number}.png", image.png)
        table = pa.Table.from_pylist(lines, TRIED)
        held = pa.BufferOutputStream()
        pq.write_table(table, held, compression="zstd")  # not schema.writer: the zip has a checksum of each member
        _add(archive, TABLE, held.getvalue().to_pybytes())
    return table


def read_table(path: str) -> pa.Table:
    """Read what a chunk says of its images; raise `zipfile.BadZipFile` if it is damaged."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file, zipfile.ZipFile(file) as archive:
        return pq.read_table(pa.BufferReader(archive.read(TABLE)), schema=TRIED)


def _line(place: int, number: int, image: field.Tried) -> dict[str, Any]:
    height, width = image.shape
    box = image.box
    reason, detail = image.verdict or ("", "")
    return {
        "row": place, "number": number, "crop": box is not None, "scaling": box.scaling if box else 1.0,
        "x_min": box.x_min if box else 0, "x_max": box.x_max if box else width,
        "y_min": box.y_min if box else 0, "y_max": box.y_max if box else height,
        "width": width, "height": height, "sha256": bytes.fromhex(image.sha256) or bytes(32),
        "offset": 0, "size": len(image.png), "entropy": image.entropy,
        "reason": reason, "detail": detail, "file": image.file,
        "channel_digests": "" if number else "|".join(image.channel_digests),
    }  # fmt: skip


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> int:
    """Add a member whose bytes depend on its content alone; return where its data begins."""
    member = zipfile.ZipInfo(name)  # dated 1980
    member.create_system = 3
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)
    return member.header_offset + len(member.FileHeader())


def _standing(path: str, changed: float) -> pa.Table | None:
    """Return the table of a chunk that is whole and not older than its sources."""
    fs, inner = filesystem(path)
    try:
        if _time_of(fs.info(inner)) < changed:
            return None
        return read_table(path)
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, pa.ArrowInvalid):
        return None


def _told(name: str, rows: Sequence[Wanted], table: pa.Table, *, stood: bool) -> Done:
    rejected = sum(reason != "" for reason in table["reason"].to_pylist())
    return Done(name, len(rows), len(table), rejected, sum(table["size"].to_pylist()), stood)


def _sources(rows: Sequence[Wanted], raw: str) -> tuple[dict[str, int], float]:
    """Return the size of every file of these rows (-1: not there), and when the last of them changed."""
    files = sorted({file for row in rows for file in files_of(row)})
    with ThreadPoolExecutor(16 if not is_local(raw) else 1) as pool:  # one question takes a store tens of milliseconds
        states = list(pool.map(lambda file: _state(join(raw, file)), files))
    sizes = {file: size for file, (size, _) in zip(files, states, strict=True)}
    return sizes, max((time for _, time in states), default=0.0)


def _state(path: str) -> tuple[int, float]:
    fs, inner = filesystem(path)
    try:
        if is_local(path):
            told = os.stat(inner)
            # ctime moves when a file is replaced, even by one with an older mtime
            return told.st_size, max(told.st_mtime, told.st_ctime)
        info = fs.info(inner)
        return int(info.get("size") or 0), _time_of(info)
    except (OSError, ValueError):
        return -1, 0.0


def _time_of(info: dict[str, Any]) -> float:
    """Return when a file last changed, in seconds; 0 where its storage does not say."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
