"""TIFF of every kind that microscopes write: tiled, big-endian, 1 to 64 bits, palette, stacks, OME, `.flex`, `.stk`."""

from __future__ import annotations

import logging
import math
import os
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from ..errors import UnreadableImageError
from . import tiff_plain
from .colours import mean_of_colours, through_palette
from .limits import Limits, check_directories, check_jpeg, check_segments, has_jpeg_frame, ome_axes, read_plain

# the decoders of these know the size of the output in advance, or it is checked here: no strip can become huge
_COMPRESSIONS = {
    *("NONE", "CCITTRLE", "CCITT_T4", "CCITTFAX3", "CCITT_T6", "CCITTFAX4", "LZW", "OJPEG", "JPEG"),
    *("ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "LZMA", "ZSTD"),
}
_JPEGS = (COMPRESSION.OJPEG, COMPRESSION.JPEG)
_COLOURS = (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)
_GREYS = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
# tifffile reads stacks of many vendors by what their metadata claim, some of them without a limit; of these only
# ImageJ, MetaMorph and its own are left to it. `limits.ome_axes` reads OME.
_NOT_LEFT_TO_TIFFFILE: dict[str, Any] = {
    f"is_{kind}": False
    for kind in (
        *("avs", "bif", "eer", "fluoview", "lsm", "mdgel", "mmstack", "ndpi", "ndtiff", "nih", "ome", "philips"),
        *("qpi", "scanimage", "scn", "sis", "svs"),
    )
}

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # files it warns about are refused or harmless


def read(file: IO[bytes], page: int | None, limits: Limits) -> NDArray[Any]:
    """Read one plane; see `read.read_channel`.

    Planes are counted in the order of the file. Reduced copies (thumbnails, pyramid levels) do not count. If a page
    contains several planes (large stacks of ImageJ, MetaMorph, samples that are not colours), each counts.
    """
    plain = tiff_plain.read(file, page, limits)
    if plain is not None:
        return plain
    with opened(file, limits) as tif:
        first = tif.pages.first
        limits.check(first.imagewidth, first.imagelength)
        _check_colours(first, limits)
        pages = _full_size(tif)
        inside = _planes_inside(first)
        beyond = _planes_beyond(tif, inside, limits)
        if beyond is not None:
            axes, shape, offset = beyond
            chosen = limits.choose(page, axes, shape)
            return _contiguous(file, first, offset, chosen, limits)
        axes, shape = _axes(tif, len(pages), inside, limits)
        chosen = limits.choose(page, axes, shape)
        own = _page(tif, pages[chosen // inside])
        _check_colours(own, limits)
        if _planes_inside(own) != inside:
            raise limits.refuse("its pages are of different kinds")
        _check(own, file, limits)
        return _plane(own, chosen % inside, limits)


def opened(file: IO[bytes], limits: Limits) -> TiffFile:
    """Return a TIFF opened by tifffile, after a check of its directories; use it as a context manager."""
    check_directories(file, limits)
    file.seek(0)
    return TiffFile(file, _multifile=False, **_NOT_LEFT_TO_TIFFFILE)


def _full_size(tif: TiffFile) -> list[int]:
    """Return the numbers of the pages that are not a reduced copy of another page."""
    if len(tif.pages) == 1:
        return [0]
    return [i for i in range(len(tif.pages)) if i == 0 or not _page(tif, i).is_reduced]


def _page(tif: TiffFile, index: int) -> TiffPage:
    page = tif.pages.get(index, aspage=True, validate=False)
    assert isinstance(page, TiffPage)
    return page


def _planes_inside(page: TiffPage) -> int:
    """Return the number of planes in one page: depth times samples, unless the samples are a colour or have alpha."""
    samples = page.samplesperpixel
    colour = page.photometric in _COLOURS and samples in (3, 4)
    alpha = page.photometric in _GREYS and samples == 2 and page.extrasamples[:1] in ((1,), (2,))
    if colour or alpha:
        samples = 1
    return max(page.imagedepth, 1) * max(samples, 1)


def _planes_beyond(tif: TiffFile, inside: int, limits: Limits) -> tuple[str, tuple[int, ...], int] | None:
    """Return axes, lengths and first byte of planes that follow the only page without pages of their own, or None."""
    if len(tif.pages) > 1:
        return None
    first = tif.pages.first
    if first.is_ome:
        names, lengths = ome_axes(first.description, limits) or ("", ())
        if math.prod(lengths) > inside:
            raise _in_one_page(names, lengths, limits)
        return None
    series = tif.series[0]
    if math.prod(series.shape) <= math.prod(first.shape):
        return None
    names = "".join(axis for axis in series.axes if axis not in "YX")
    lengths = tuple(n for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YX")
    plain = first.dtype is not None and first.bitspersample == first.dtype.itemsize * 8 and first.compression == 1
    if not plain or inside > 1 or "S" in names or first.photometric not in _GREYS or series.dataoffset is None:
        raise _in_one_page(names, lengths, limits)
    return names, lengths, series.dataoffset


def _in_one_page(names: str, lengths: tuple[int, ...], limits: Limits) -> UnreadableImageError:
    shown = [(name, length) for name, length in zip(names, lengths, strict=True) if length > 1]
    names, lengths = "".join(name for name, _ in shown), tuple(length for _, length in shown)
    return limits.refuse(f"a stack (axes {names}, {lengths}) in one page, of compressed or coloured pixels")


def _contiguous(file: IO[bytes], first: TiffPage, offset: int, chosen: int, limits: Limits) -> NDArray[Any]:
    """Read plane `chosen` of uncompressed planes that are stored one after the other from byte `offset`."""
    assert first.dtype is not None
    dtype = first.dtype.newbyteorder(first.parent.byteorder)
    size = first.imagewidth * first.imagelength * dtype.itemsize
    plane = read_plain(file, offset + chosen * size, (first.imagelength, first.imagewidth), dtype, limits)
    return _invert_if_white_is_zero(plane, first, limits)


def _axes(tif: TiffFile, pages: int, inside: int, limits: Limits) -> tuple[str, tuple[int, ...]]:
    """Return names and lengths of the axes of the planes; their number is that of pages times planes in a page."""
    first = tif.pages.first
    if pages * inside == 1:
        return "IS", (1, 1)
    if first.is_ome:
        found = ome_axes(first.description, limits)
    elif first.is_imagej or first.is_stk or first.is_shaped:
        series = tif.series[0]
        kept = [(axis, n) for axis, n in zip(series.axes, series.shape, strict=True) if axis not in "YX"]
        found = "".join(axis for axis, _ in kept), tuple(n for _, n in kept)
    else:
        kept = [(axis, n) for axis, n in zip(first.axes, first.shape, strict=True) if axis not in "YX"]
        found = "I" + "".join(axis for axis, _ in kept), (pages, *(n for _, n in kept))
    if found is not None and math.prod(found[1]) == pages * inside:
        return found
    return "IS", (pages, inside)


def _check_colours(page: TiffPage, limits: Limits) -> None:
    if page.photometric not in (*_GREYS, *_COLOURS, PHOTOMETRIC.PALETTE):
        raise limits.refuse(f"{PHOTOMETRIC(page.photometric).name} is not a colour space of a microscope image")


def _check(page: TiffPage, file: IO[bytes], limits: Limits) -> None:
    """Raise an error for a page that would be decoded wrongly or without a limit on memory."""
    depth, samples = max(page.imagedepth, 1), max(page.samplesperpixel, 1)
    limits.check(page.imagewidth, page.imagelength)
    limits.check(page.imagewidth, page.imagelength * depth * -(-samples // 4))
    if page.is_tiled:
        limits.check(page.tilewidth, page.tilelength * max(page.tiledepth, 1))
    if COMPRESSION(page.compression).name not in _COMPRESSIONS:
        raise limits.refuse(f"compression {COMPRESSION(page.compression).name} is not read")
    if page.dtype is None or page.dtype.kind not in "buif":
        raise limits.refuse(f"pixels of {page.bitspersample} bits and sample format {page.sampleformat}")
    needed = math.prod(page.chunked)
    present = min(len(page.dataoffsets), len(page.databytecounts))
    if present < needed:
        raise limits.refuse(f"{needed - present} of its {needed} strips or tiles are absent")
    offsets, sizes = page.dataoffsets[:needed], page.databytecounts[:needed]
    pixel_bytes = page.imagewidth * page.imagelength * depth * samples * page.dtype.itemsize
    check_segments(offsets, sizes, file.seek(0, os.SEEK_END), pixel_bytes, limits)
    if page.compression in _JPEGS:
        if page.jpegtables and has_jpeg_frame(page.jpegtables):
            raise limits.refuse("the tables of its JPEGs contain a frame header")
        width, height = (page.tilewidth, page.tilelength) if page.is_tiled else (page.imagewidth, page.rowsperstrip)
        for offset, size in zip(offsets, sizes, strict=True):
            file.seek(offset)
            check_jpeg(file.read(size), limits, width, height)


def _plane(page: TiffPage, index: int, limits: Limits) -> NDArray[Any]:
    """Decode a page and return one of its planes as grey."""
    pixels = page.asarray(maxworkers=1)
    if pixels.dtype == np.bool_:
        pixels = pixels.view(np.uint8)
    height, width = page.imagelength, page.imagewidth
    depth, samples = max(page.imagedepth, 1), max(page.samplesperpixel, 1)
    if page.planarconfig == 2:
        pixels = np.moveaxis(pixels.reshape(samples, depth, height, width), 0, -1)
    else:
        pixels = pixels.reshape(depth, height, width, samples)
    inside = _planes_inside(page) // depth
    plane = pixels[index // inside]
    if page.photometric in _COLOURS and samples in (3, 4):
        return mean_of_colours(plane)
    if page.photometric == PHOTOMETRIC.PALETTE:
        return _through_colormap(plane[..., 0], page, limits)
    return _invert_if_white_is_zero(np.ascontiguousarray(plane[..., index % inside]), page, limits)


def _through_colormap(codes: NDArray[Any], page: TiffPage, limits: Limits) -> NDArray[Any]:
    colormap = page.colormap
    if colormap is None or colormap.ndim != 2 or colormap.shape[0] != 3:
        raise limits.refuse("a palette image without a palette")
    # entries have 16 bits; for pixels of up to 8 bits they are 8-bit colours, multiplied by 256 or 257
    return through_palette(codes, (colormap >> 8).astype(np.uint8).T if page.bitspersample <= 8 else colormap.T)


def _invert_if_white_is_zero(plane: NDArray[Any], page: TiffPage, limits: Limits) -> NDArray[Any]:
    """Invert WhiteIsZero images, so that larger values are brighter."""
    if page.photometric != PHOTOMETRIC.MINISWHITE:
        return plane
    if plane.dtype.kind != "u":
        raise limits.refuse("white is zero, but pixels may be negative")
    return np.asarray((1 << page.bitspersample) - 1 - plane.astype(np.int64), plane.dtype)
