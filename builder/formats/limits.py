"""Limits that every reader of image files checks before it decompresses or allocates anything.

A few bytes of a file can claim pages without end, planes by the billion, or a frame of gigabytes. Here such claims are
compared with the file itself: the chain of directories of a TIFF and their tags, the planes of OME-XML, the frame of a
JPEG with its strip, the chunks of a PNG. All checks are in this file, for the curation, the archive and the evaluation.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TooLargeError, UnreadableImageError

MAX_PIXELS = 2**26
"""Default limit on the pixels of one plane: 8,192 x 8,192. No field of view of the 40 sources has more."""

MAX_FILE_BYTES = 2**28  # of a file that is decompressed from memory; a file within the limit on pixels is far smaller
MAX_PAGES = 2**16  # of a TIFF; the longest stacks of microscopes have some thousands
MAX_TAGS = 4096  # of one directory of a TIFF; tifffile has the same limit
MAX_STRIPS = 2**20  # strips or tiles of a page: those of 8,192 x 8,192 pixels in tiles of 16 x 16, four samples
MAX_TAG_BYTES = 2**26  # values of the tags of all pages, in a file that has fewer bytes than this
MAX_XML_BYTES = 2**24  # of OME-XML: 65,536 planes, each with the name of its file, need less
MAX_SCANS = 100  # of a JPEG; progressive ones have about ten, and each goes over all its pixels
JPEG_BLOCK = 32  # pixels: a frame may exceed its strip by less than the largest block of a JPEG


@dataclass(frozen=True)
class Limits:
    """The file that is being read, named in errors, and the number of pixels that one plane may have."""

    where: str
    max_pixels: int = MAX_PIXELS

    def check(self, width: int, height: int) -> None:
        """Raise an error for a plane that is too large or empty, before its pixels are read.

        Parameters
        ----------
        width, height : int
            In pixels, from the file's header.
        """
        if width < 1 or height < 1:
            raise UnreadableImageError(self.where, f"the header says {width} x {height} pixels")
        if width * height > self.max_pixels:
            raise TooLargeError(self.where, f"{width} x {height} pixels, at most {self.max_pixels:,} allowed")

    def choose(self, page: int | None, axes: str, shape: tuple[int, ...]) -> int:
        """Return the number of the plane to read, from 0.

        Parameters
        ----------
        page : int, optional
            The requested plane. A file with several planes needs it.
        axes : str
            One letter for each axis of the stack besides height and width.
        shape : tuple of int
            Lengths of these axes.
        """
        planes = math.prod(shape)
        if page is None and planes == 1:
            return 0
        if page is None:
            named = ", ".join(f"{name} {length}" for name, length in zip(axes, shape, strict=False) if length > 1)
            advice = "choose one with page=0, or #page=0 in a table"
            raise UnreadableImageError(self.where, f"a stack of {planes} planes (axes {named}); {advice}")
        if not 0 <= page < planes:
            raise UnreadableImageError(self.where, f"there is no page {page}: it has {planes}, counted from 0")
        return page

    def refuse(self, reason: str) -> UnreadableImageError:
        """Return the error for this file with a reason."""
        return UnreadableImageError(self.where, reason)


def read_plain(
    file: IO[bytes], start: int, shape: tuple[int, int], dtype: np.dtype[Any], limits: Limits
) -> NDArray[Any]:
    """Read a plane whose samples are stored uncompressed from byte `start`."""
    size = shape[0] * shape[1] * dtype.itemsize
    end = file.seek(0, os.SEEK_END)
    if end < start + size:
        raise limits.refuse(f"truncated: {end:,} bytes, its pixels end at {start + size:,}")
    file.seek(start)
    return np.frombuffer(file.read(size), dtype).reshape(shape)


def read_bounded(file: IO[bytes], limits: Limits) -> bytes:
    """Return the rest of a file; raise an error if it has more than `MAX_FILE_BYTES` bytes."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise TooLargeError(limits.where, f"more than {MAX_FILE_BYTES:,} bytes for one plane")
    return data


TIFF_SIGNATURES = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_TYPE_BYTES = np.zeros(2**16, np.int64)  # by type of a tag's values; unknown types are skipped by every reader
_TYPE_BYTES[1:14] = (1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4)
_TYPE_BYTES[16:19] = 8
_RING_SEEN_BY_TIFFFILE = 100  # pages; it looks for a ring once, at this page
_STRIP_TAGS = (273, 279, 324, 325)  # offsets and sizes of strips, offsets and sizes of tiles


def check_directories(file: IO[bytes], limits: Limits) -> None:
    """Raise an error for a TIFF with too many pages or tags, or whose directories form a ring or overlap.

    tifffile follows the chain of directories to its end, and reads the tags of each. A damaged end of the chain is no
    error here: tifffile ignores what follows it.

    Parameters
    ----------
    file : file
        Open for reading.
    limits : Limits
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(16)
    if head[:4] not in TIFF_SIGNATURES:
        raise limits.refuse("not a TIFF")
    order, big = ("<" if head[:2] == b"II" else ">"), 43 in head[2:4]
    counts, pointer = struct.Struct(order + "HQ"[big]), struct.Struct(order + "IQ"[big])
    width = pointer.size
    tag = np.dtype(
        [("code", f"{order}u2"), ("type", f"{order}u2"), ("count", f"{order}u{width}"), ("at", f"{order}u{width}")]
    )
    start = 8 if big else 4
    if len(head) < start + width:
        return
    (at,) = pointer.unpack_from(head, start)
    seen: set[int] = set()
    last = directories = 0
    blocks: list[bytes] = []
    while 0 < at < end:
        if at in seen:
            if len(seen) < _RING_SEEN_BY_TIFFFILE and at == last:
                break  # a common slip of writers: the last page is followed by itself
            raise limits.refuse("its directories form a ring")
        if len(seen) == MAX_PAGES:
            raise limits.refuse(f"more than {MAX_PAGES:,} pages")
        seen.add(at)
        last = at
        file.seek(at)
        packed = file.read(counts.size)
        number = counts.unpack(packed)[0] if len(packed) == counts.size else MAX_TAGS + 1
        block = file.read(number * tag.itemsize + width) if number <= MAX_TAGS else b""
        if len(block) != number * tag.itemsize + width:
            break
        directories += len(packed) + len(block)
        if directories > end:
            raise limits.refuse("its directories overlap")
        blocks.append(block[:-width])
        (at,) = pointer.unpack_from(block, len(block) - width)
    _check_tags(np.frombuffer(b"".join(blocks), tag), width, end, limits)


def _check_tags(tags: NDArray[Any], width: int, end: int, limits: Limits) -> None:
    """Raise an error if the tags of all directories have too many values; `width` bytes fit into a tag itself."""
    count = np.minimum(tags["count"], end + 1).astype(np.int64)  # a value of more bytes than the file is never read
    if (count[np.isin(tags["code"], _STRIP_TAGS)] > MAX_STRIPS).any():
        raise limits.refuse(f"more than {MAX_STRIPS:,} strips or tiles")
    size = count * _TYPE_BYTES[tags["type"]]
    total = int(size[(size > width) & (size <= end)].sum())
    if total > max(end, MAX_TAG_BYTES):
        raise limits.refuse(f"the values of its tags have {total:,} bytes, more than the file")


def check_segments(
    offsets: tuple[int, ...], sizes: tuple[int, ...], end: int, pixel_bytes: int, limits: Limits
) -> None:
    """Raise an error if strips or tiles end beyond the end of the file, or share their bytes too often.

    Parameters
    ----------
    offsets, sizes : tuple of int
        First byte and number of bytes of each strip or tile.
    end : int
        Size of the file in bytes.
    pixel_bytes : int
        Size of the decompressed page in bytes. Empty tiles may share their bytes, but not more than this in all.
    limits : Limits
    """
    if any(size == 0 or offset + size > end for offset, size in zip(offsets, sizes, strict=True)):
        raise limits.refuse("truncated: a strip or tile lies beyond the end of the file")
    if sum(sizes) > max(end, pixel_bytes):
        raise limits.refuse(f"its strips or tiles overlap: they have {sum(sizes):,} bytes, the file {end:,}")


def ome_axes(xml: str, limits: Limits) -> tuple[str, tuple[int, ...]] | None:
    """Return names and lengths of the axes of the planes of an OME-TIFF, slowest first, without X and Y.

    Nothing is allocated for the planes, however many the XML claims.

    Parameters
    ----------
    xml : str
        The description of the first page.
    limits : Limits

    Returns
    -------
    (str, tuple of int) or None
        None if the XML does not describe the planes of this file alone: a set of several files, or damage.

    Examples
    --------
    >>> pixels = '<Pixels DimensionOrder="XYZCT" SizeT="1" SizeC="2" SizeZ="9"><TiffData IFD="0"/></Pixels>'
    >>> ome_axes(f"<OME><Image>{pixels}</Image></OME>", Limits("a.tif"))
    ('TCZ', (1, 2, 9))
    """
    from xml.etree import ElementTree

    if len(xml) > MAX_XML_BYTES:
        raise limits.refuse(f"OME-XML of {len(xml):,} bytes, at most {MAX_XML_BYTES:,} allowed")
    try:
        # expat, which parses this, limits what entities may grow to
        root = ElementTree.fromstring(xml)  # noqa: S314
        pixels = next(root.iterfind("{*}Image/{*}Pixels"))
        order = pixels.attrib["DimensionOrder"][::-1].removesuffix("YX")
        lengths = {axis: int(pixels.attrib[f"Size{axis}"]) for axis in order}
        samples = int(next((c.get("SamplesPerPixel", "1") for c in pixels.iterfind("{*}Channel")), "1"))
    except (ElementTree.ParseError, StopIteration, KeyError, ValueError):
        return None
    own = root.get("UUID")
    files = {uuid.text for uuid in pixels.iterfind("{*}TiffData/{*}UUID")}
    if pixels.find("{*}TiffData") is None or not files <= {own} or min(lengths.values(), default=0) < 1 or samples < 1:
        return None
    if "C" in lengths:
        lengths["C"] = max(lengths["C"] // samples, 1)
    return order, tuple(lengths.values())


def check_jpeg(data: bytes, limits: Limits, width: int | None = None, height: int | None = None) -> None:
    """Raise an error for a JPEG whose own header, which decoders use, gives more pixels or work than is allowed.

    Parameters
    ----------
    data : bytes
        The JPEG.
    limits : Limits
    width, height : int, optional
        Of the strip or tile that contains it, in pixels.
    """
    frame = _jpeg_frame(data)
    if frame is None:
        raise limits.refuse("a JPEG without a frame header where it must be")
    limits.check(*frame)
    if width is not None and height is not None and (frame[0] >= width + JPEG_BLOCK or frame[1] >= height + JPEG_BLOCK):
        raise limits.refuse(f"a JPEG of {frame[0]} x {frame[1]} pixels in a strip or tile of {width} x {height}")
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise limits.refuse(f"a JPEG of more than {MAX_SCANS} scans")


def has_jpeg_frame(data: bytes) -> bool:
    """Return whether a JPEG stream has a frame header; one of tables alone has none."""
    return _jpeg_frame(data) is not None


def _jpeg_frame(data: bytes) -> tuple[int, int] | None:
    """Return width and height from the first frame header; None if there is none before the first scan.

    Markers are found as libjpeg finds them: it skips fill bytes, and bytes that belong to no marker.
    """
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">2H", data, at + 5)
            return width, height
        if marker in (0xD9, 0xDA):  # the end, or pixels
            return None
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker <= 0x01 or 0xD0 <= marker <= 0xD8:  # no marker, or one without a length
            at += 2
        else:
            at += 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
    return None


def png_chunks(data: bytes | memoryview, limits: Limits) -> list[tuple[bytes, int, int]]:
    """Return kind, first byte and end of the content of each chunk of a PNG, up to its end chunk.

    Parameters
    ----------
    data : bytes or memoryview
        A PNG, from its signature on.
    limits : Limits

    Raises
    ------
    UnreadableImageError
        If a chunk ends beyond the data. OpenCV would allocate what its header says before it looks.
    """
    chunks = []
    at, end = 8, len(data)
    while at + 12 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > end:
            raise limits.refuse("corrupt PNG data")
        chunks.append((kind, at + 8, at + 8 + size))
        if kind == b"IEND":
            break
        at += 12 + size
    return chunks
