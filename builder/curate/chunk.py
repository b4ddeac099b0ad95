"""A chunk: the images of some source images, in one file that is complete or absent.

The file is an uncompressed zip: one member per kept PNG, then `tried.parquet`, one line per image that was tried. Any
zip tool opens it, every PNG is a range of its bytes, and each member has a checksum.

Its name is a hash of what it depends on: the rows, the settings of the pixels, and the size of every source file. So a
rerun finds the chunks that are done, and a changed setting or row gives another name. A source file that was replaced
by one of the same size is noticed by its time of change, which is later than the chunk's: the chunk is written again.
(Times are compared, not hashed: a copy of RAW elsewhere gives the same bytes.)
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import UnreadableImageError
from ..formats import zips
from ..images import channels, make
from ..images.channel_reader import Reader
from ..images.guard import ImageLimits, one_image
from ..images.make import PixelSettings, SourceImage
from ..images.quality import Verdict
from ..storage import atomic_writer, filesystem, is_local, join

FOLDER = "chunks"
VERSION = 2  # of the content of a chunk: chunks of other versions are not reused
TABLE = "tried.parquet"
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
STORE_REQUESTS = 16  # at a time; one takes an object store tens of milliseconds

TRIED = pa.schema(
    [
        pa.field("row", pa.int32()),  # index of the source image within its chunk
        pa.field("number", pa.int8()),  # index of this image within its row (0, 1, ...)
        pa.field("crop", pa.bool_()),
        pa.field("scaling", pa.float64()),
        *(pa.field(name, pa.int32()) for name in ("x_min", "x_max", "y_min", "y_max", "width", "height")),
        pa.field("sha256", pa.binary(32)),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int32()),
        pa.field("entropy", pa.float32()),
        pa.field("pixel_size", pa.float64()),  # what the source file states, in micrometres
        pa.field("magnification", pa.float64()),
        pa.field("reason", pa.string()),  # "" = kept so far
        pa.field("detail", pa.string()),
        pa.field("file", pa.string()),
        pa.field("channel_digests", pa.string()),  # of the source image, in its first line, joined by |
    ]
)


class ChunkResult(NamedTuple):
    """Result of one chunk: the name of its file, and its numbers of source images and of rejected images."""

    name: str
    rows: int
    rejected: int


def make_chunk(
    rows: Sequence[SourceImage],
    raw: str,
    out: str,
    pixels: PixelSettings,
    limits: ImageLimits | None = None,
    unread: Mapping[str, Verdict] = MappingProxyType({}),
) -> ChunkResult:
    """Write a chunk, unless it is complete already.

    Parameters
    ----------
    rows : sequence of SourceImage
    raw, out : str
        Folder or URL of the sources and of the curated images; every worker must reach both.
    pixels : PixelSettings
    limits : ImageLimits, optional
        Of each source image. One that takes too long ends this process; see `workers`.
    unread : mapping of str to Verdict
        Source images, by `idx`, that are rejected unread because they end the process that reads them.
    """
    _prepare_process()
    rows = [SourceImage(*row) for row in rows]
    sizes, newest = _source_files(rows, raw)
    name = _name_of(rows, sizes, pixels)
    path = join(out, FOLDER, name)
    table = _finished_table(path, newest)
    if table is None:
        with atomic_writer(path) as file:
            table = _write(file, rows, Reader(raw), pixels, limits, unread)
    return ChunkResult(name, len(rows), sum(reason != "" for reason in table["reason"].to_pylist()))


def read_table(path: str) -> pa.Table:
    """Read the table of a chunk; raise `zipfile.BadZipFile` if it is damaged."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file, zipfile.ZipFile(file) as archive:
        return pq.read_table(pa.BufferReader(archive.read(TABLE)), schema=TRIED)


@functools.cache
def _prepare_process() -> None:
    """Use one thread in this process, and keep freed memory for the next image."""
    cv2.setNumThreads(1)
    with contextlib.suppress(OSError, AttributeError):  # glibc only
        # without this, a fifth of the time goes into returning the memory of every plane and requesting it again
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(M_TRIM_THRESHOLD, 2**28)


def _name_of(rows: Sequence[SourceImage], sizes: dict[str, int], pixels: PixelSettings) -> str:
    """Return the file name of the chunk with these rows."""
    content = [VERSION, asdict(pixels), [[*row, [sizes[file] for file in _files_of(row)]] for row in rows]]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()[:24] + ".zip"


def _files_of(row: SourceImage) -> list[str]:
    """Return the files of a source image, relative to RAW."""
    return [channels.parse(channel).file for channel in row.channels.split("|")]


def _write(
    file: IO[bytes],
    rows: Sequence[SourceImage],
    reader: Reader,
    pixels: PixelSettings,
    limits: ImageLimits | None,
    unread: Mapping[str, Verdict],
) -> pa.Table:
    """Write a chunk, with one source image in memory at a time; return its table."""
    lines: list[dict[str, Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, row in enumerate(rows):
            if row.idx in unread:
                images = [make.Tried(verdict=unread[row.idx])]
            else:
                images = _images_of(row, reader, pixels, limits)
            for number_in_row, image in enumerate(images):
                lines.append(_line(number, number_in_row, image))
                if image.png:
                    lines[-1]["offset"] = _add_member(archive, f"{number:04d}-{number_in_row}.png", image.png)
        table = pa.Table.from_pylist(lines, TRIED)
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd")  # not schema.writer: the zip has a checksum of each member
        _add_member(archive, TABLE, buffer.getvalue().to_pybytes())
    return table


def _images_of(row: SourceImage, reader: Reader, pixels: PixelSettings, limits: ImageLimits | None) -> list[make.Tried]:
    """Return the images of a source image, or the verdict on one that needs too much memory."""
    with one_image(limits):
        try:
            return list(make.images_of(row, reader, pixels))
        except MemoryError:
            if limits is None:
                raise
    return [make.Tried(verdict=limits.too_much_memory)]


def _line(row: int, number: int, image: make.Tried) -> dict[str, Any]:
    height, width = image.shape
    box = image.box
    reason, detail = image.verdict or ("", "")
    return {
        "row": row, "number": number, "crop": box is not None, "scaling": box.scaling if box else 1.0,
        "x_min": box.x_min if box else 0, "x_max": box.x_max if box else width,
        "y_min": box.y_min if box else 0, "y_max": box.y_max if box else height,
        "width": width, "height": height, "sha256": bytes.fromhex(image.sha256) or bytes(32),
        "offset": 0, "size": len(image.png), "entropy": image.entropy,
        "pixel_size": image.scale.pixel_size, "magnification": image.scale.magnification,
        "reason": reason, "detail": detail, "file": image.file,
        "channel_digests": "" if number else "|".join(image.channel_digests),
    }  # fmt: skip


def _add_member(archive: zipfile.ZipFile, name: str, data: bytes) -> int:
    """Add a member whose bytes depend on its content alone; return the offset of its data."""
    member = zipfile.ZipInfo(name)  # dated 1980
    member.create_system = 3
    member.external_attr = 0o644 << 16
    archive.writestr(member, data)
    return member.header_offset + len(member.FileHeader())


def _finished_table(path: str, newest: float) -> pa.Table | None:
    """Return the table of a chunk that is complete and not older than its source files."""
    fs, inner = filesystem(path)
    try:
        if _time_of(fs.info(inner)) < newest:
            return None
        return read_table(path)
    except (FileNotFoundError, zipfile.BadZipFile, KeyError, pa.ArrowInvalid):
        return None


def _source_files(rows: Sequence[SourceImage], raw: str) -> tuple[dict[str, int], float]:
    """Return the size of every file of these rows (-1: absent), and the time at which the newest changed."""
    files = sorted({file for row in rows for file in _files_of(row)})
    with ThreadPoolExecutor(1 if is_local(raw) else STORE_REQUESTS) as pool:
        states = list(pool.map(lambda file: _size_and_time(raw, file), files))
    sizes = {file: size for file, (size, _) in zip(files, states, strict=True)}
    return sizes, max((time for _, time in states), default=0.0)


def _size_and_time(raw: str, file: str) -> tuple[int, float]:
    archive, member = channels.split_zip(file)
    fs, inner = filesystem(join(raw, archive or file))
    try:
        if is_local(raw):
            stat = os.stat(inner)
            size = zips.open_zip(inner).getinfo(member).file_size if archive else stat.st_size
            # ctime moves when a file is replaced, even by one with an older mtime
            return size, max(stat.st_mtime, stat.st_ctime)
        info = fs.info(inner)
        return int(info.get("size") or 0), _time_of(info)
    except (OSError, ValueError, KeyError, UnreadableImageError):
        return -1, 0.0


def _time_of(info: dict[str, Any]) -> float:
    """Return the time at which a file last changed, in seconds; 0 where its storage does not report it."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return 0.0
