"""A zip like the published archive, of any number of tiny images, written in seconds, without one object per entry."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

LABELS = 894
_COLUMNS = (
    "label,category,database,name,dir_name,path,filename,idx,microscopy,channels,organism,cell_type,cell_visible,"
    "phenotype,compound,gene,sirna,crop,scaling,x_min,x_max,y_min,y_max\n"
)
_STAINS = "nucleus|endoplasmic reticulum|actin|nucleoli"


def write_archive(place: Path, images: int, other: Mapping[int, bytes | None] | None = None) -> Path:
    """Write `images` different PNGs, in `LABELS` classes, two crops of each source, and a row for each.

    `other` gives the content of some files; None for those that are absent.
    """
    other = other or {}
    names = [f"cytoimagenet/compound {n % LABELS}/compound {n % LABELS}-{n:020b}.png".encode() for n in range(images)]
    directory = bytearray()
    with open(place, "wb") as file:
        at = count = 0

        def add(name: bytes, content: bytes) -> None:
            nonlocal at, count
            about = (20, 0, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0)
            file.write(struct.pack("<4s5H3I2H", b"PK\3\4", *about) + name + content)
            directory.extend(struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, *about, 0, 0, 0, 0o644 << 16, at) + name)
            at += 30 + len(name) + len(content)
            count += 1

        for number, name in enumerate(names):
            content = other.get(number, b"")
            if content is not None:
                add(name, content or tiny_png(number))
        add(b"cytoimagenet/metadata.csv", (_COLUMNS + "".join(map(_line, range(images)))).encode())
        end_64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at)
        locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + len(directory), 1)
        end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *2 * [min(count, 0xFFFF)], len(directory), at, 0)
        file.write(bytes(directory) + end_64 + locator + end)
    return place


def tiny_png(number: int) -> bytes:
    """Return a PNG of 8 grey pixels that spell a number; its data is stored, not deflated."""
    spelt = number.to_bytes(8, "big")
    lines = b"\0" + spelt[:4] + b"\0" + spelt[4:]
    data = b"\x78\x01\x01\x0a\x00\xf5\xff" + lines + zlib.adler32(lines).to_bytes(4, "big")
    return _START + _chunk(b"IDAT", data) + _END


def _chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


_START = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">2I5B", 4, 2, 8, 0, 0, 0, 0))
_END = _chunk(b"IEND", b"")


def _line(n: int) -> str:
    label = f"compound {n % LABELS}"
    return (
        f"{label},compound,Recursion,RxRx19a,rec_rxrx19a,/ferrero/stanley.hua/cytoimagenet/{label},{label}-{n:020b}.png,"
        f"rec_rxrx19a-{n // 2},fluorescence,{_STAINS},human,vero,{_STAINS},,{label},,,True,0.5,0,245,245,490\n"
    )
