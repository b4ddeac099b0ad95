"""Write small simulated sources with the folders, file names and tables of the real ones."""

from __future__ import annotations

import csv
import gzip
import io
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..sources.folder import INVENTORY
from ..sources.registry import chosen
from ..storage import write_atomic

Info = dict[str, Any]
Draw = Callable[[Info, str, tuple[int, int]], NDArray[np.floating]]
MODULES = ("bbbc", "kaggle", "idr", "recursion")  # builder/simulate_<module>.py, each with LAYOUTS


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The files and tables of one source.

    Parameters
    ----------
    source : str
        Short name of the source.
    files : mapping of str to str
        Stain to the file's path below the source's folder, in writing order. The path is a template that is filled in
        with the field's facts; `{uuid}` is a new one for each file. If two files have the same stain, the second has a
        trailing `*`. Several stains with one path are the pages of a stack, with the channel as the fastest axis.
    field : callable
        `field(i, rng)` returns the facts of field number `i`: all values that the templates need, and its true labels
        under the names of the label columns, in the publisher's spelling.
    tables : callable, optional
        `tables(fields)` returns the publisher's tables: path below the source's folder to bytes.
    extras : tuple of str
        Templates of files that are not images of the set (masks, thumbnails); each is written once per field.
    shape : (int, int)
        Height and width of an image in pixels.
    depth : {8, 12, 16, "rgb"}
        Bits per pixel. JPEG and BMP have 8.
    planes : int
        Number of focal planes in a stack.
    """

    source: str
    files: Mapping[str, str]
    field: Callable[[int, np.random.Generator], Info]
    tables: Callable[[Sequence[Info]], Mapping[str, bytes]] | None = None
    extras: tuple[str, ...] = ()
    shape: tuple[int, int] = (96, 96)
    depth: int | str = 8
    planes: int = 1


@dataclass(frozen=True)
class Simulated:
    """The simulated source: the true facts of its fields, to compare with a catalogue, and its files."""

    source: str
    fields: pd.DataFrame
    files: tuple[str, ...] = field(repr=False)
    extras: int = 0


@cache
def layouts() -> Mapping[str, Layout]:
    """Return the layouts of all sources by name."""
    found = [import_module(f"{__package__}.{module}").LAYOUTS for module in MODULES]
    return {layout.source: layout for part in found for layout in part}


def simulate_source(
    name: str,
    raw: str | PathLike[str],
    *,
    seed: int,
    fields: int,
    draw: Draw | None = None,
    pixels: bool = True,
    layout: Layout | None = None,
) -> Simulated:
    """Write a small source in its publisher's layout, below `raw/<name>/`.

    Parameters
    ----------
    name : str
        Short name of a source.
    raw : path
        Folder of all sources.
    seed : int
        Equal seeds give equal bytes.
    fields : int
        Number of fields of view, each of one or more channel files.
    draw : callable, optional
        `draw(info, stain, shape)` returns an image as floats in [0, 1]. `info` has the field's facts and labels, and
        `source`, `index` and `seed`. Without it, images show a few bright discs.
    pixels : bool
        If false, write the inventory `files.txt` instead of images: for a source at its full size.
    layout : Layout, optional
        The layout to use, for a source that was published in two.

    Returns
    -------
    Simulated
        The facts of every field and the files written.
    """
    [record] = chosen([name])
    layout = layout or layouts()[record.dir_name]
    root = Path(raw) / name
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    infos: list[Info] = []
    written: list[str] = []
    extras = 0
    for index in range(fields):
        info = {"source": name, "index": index, "seed": int(rng.integers(2**31)), **layout.field(index, rng)}
        infos.append(info)
        for path, stains in _paths(layout, info, rng).items():
            written.append(path)
            if pixels:
                pictures = [(draw or blobs)(info, stain.rstrip("*"), layout.shape) for stain in stains]
                many = len(stains) * layout.planes > 1
                stack = np.stack(pictures * layout.planes) if many else np.asarray(pictures[0])
                write_atomic(root / path, encode(stack, path, layout.depth))
        for template in layout.extras:
            path = template.format(**info, uuid=_uuid(rng))
            extras += 1
            if pixels:
                write_atomic(root / path, encode(np.zeros((16, 16)), path, 8) if "." in path else b"")
            else:
                written.append(path)
    for path, data in (layout.tables(infos) if layout.tables else {}).items():
        write_atomic(root / path, data)
    if not pixels:
        write_atomic(root / INVENTORY, "".join(f"{path}\n" for path in written).encode())
    return Simulated(name, pd.DataFrame(infos), tuple(written), extras)


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    separator: str = ",",
    end: str = "\n",
    tail: str = "",
    encoding: str = "utf-8",
    packed: bool = False,
) -> bytes:
    r"""Return facts of fields as a publisher's table.

    Parameters
    ----------
    rows : sequence of mapping
        Facts.
    columns : mapping
        The publisher's column to the name of the fact; an absent fact gives an empty cell.
    separator : str
        Character between cells.
    end : str
        End of a line, such as `"\r"`.
    tail : str
        Text before `end` in each line but the first, such as `","` for an additional comma.
    encoding : str
        Of the text; `"utf-8-sig"` has a byte order mark.
    packed : bool
        Compress with gzip.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="")
    writer.writerow(list(columns))
    text.write(end)
    for row in rows:
        writer.writerow([row.get(fact, "") for fact in columns.values()])
        text.write(tail + end)
    data = text.getvalue().encode(encoding)
    return gzip.compress(data, mtime=0) if packed else data


def blobs(info: Info, stain: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image of a few bright discs with soft edges, different for each field and stain."""
    rng = np.random.default_rng([info["seed"], zlib.crc32(stain.encode())])
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    picture = rng.normal(0.08, 0.01, shape).astype(np.float32)
    for _ in range(int(rng.integers(4, 9))):
        cy, cx, size = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(4, 12)
        picture += np.float32(rng.uniform(0.3, 0.8)) * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / np.float32(size**2))
    return picture.clip(0, 1)


def encode(picture: NDArray[np.floating], path: str, depth: int | str) -> bytes:
    """Return floats in [0, 1], a plane or a stack of planes, in the file format of the ending of `path`."""
    from PIL import Image

    extension = path.rsplit(".", 1)[-1].lower()
    file = io.BytesIO()
    if extension in ("tif", "tiff", "flex"):
        import tifffile

        top, kind = (255, np.uint8) if depth in (8, "rgb") else (2 ** int(depth) - 1, np.uint16)
        tifffile.imwrite(file, (picture * top).round().astype(kind), photometric="minisblack", software=False)
    elif extension == "dib":
        # Cellomics: a bitmap header of 52 bytes, then little-endian 16-bit pixels
        header = struct.pack(
            "<IiiHHIIiiII", 40, picture.shape[1], picture.shape[0], 1, 16, 0, picture.size * 2, 0, 0, 0, 0
        )
        file.write(header.ljust(52, b"\0") + (picture * 4095).round().astype("<u2").tobytes())
    elif extension == "dv":
        file.write(_deltavision((picture * (2 ** int(depth) - 1)).round().astype("<u2")))
    else:
        grey = Image.fromarray((picture * 255).round().astype(np.uint8))
        pillow_format = {"jpg": "JPEG", "jpeg": "JPEG", "bmp": "BMP"}.get(extension, "PNG")
        (grey.convert("RGB") if depth == "rgb" else grey).save(file, pillow_format)
    return file.getvalue()


def _deltavision(planes: NDArray[np.uint16]) -> bytes:
    """Return a file with the wavelengths of one time point and depth; `formats.deltavision` describes the header."""
    stack = planes.reshape(-1, *planes.shape[-2:])
    header = bytearray(1024)
    struct.pack_into("<4i", header, 0, stack.shape[2], stack.shape[1], len(stack), 6)
    struct.pack_into("<h", header, 96, -16224)
    struct.pack_into("<2h", header, 180, 1, 1)
    struct.pack_into("<h", header, 196, len(stack))
    return bytes(header) + stack.tobytes()


def _paths(layout: Layout, info: Info, rng: np.random.Generator) -> dict[str, list[str]]:
    """Return the paths of a field's files, and the stains in each."""
    found: dict[str, list[str]] = {}
    for stain, template in layout.files.items():
        path = template.format(**info, uuid=_uuid(rng)) if "{uuid" in template else template.format(**info)
        found.setdefault(path, []).append(stain)
    return found


def _uuid(rng: np.random.Generator) -> str:
    text = rng.bytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
