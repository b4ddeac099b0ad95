"""Small image files that claim much: pages without end, planes by the billion, frames of gigabytes.

python hostile.py FOLDER    writes them, to be looked at or read by other software
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SHORT, LONG, BYTES = 3, 4, 7
GREY = (np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) % 251).astype(np.uint8)

Tags = dict[int, tuple[int, list[int] | bytes]]


def tiff(*pages: tuple[Tags, bytes], next_of_last: int | None = None) -> bytes:
    """Return a little-endian TIFF: for each page its tags, and its pixels in one strip unless the tags have strips."""
    out = bytearray(b"II*\0\0\0\0\0")
    link, directories = 4, []
    for tags, pixels in pages:
        start = len(out)
        out += pixels + b"\0" * (len(pixels) % 2)
        tags = {273: (LONG, [start]), 279: (LONG, [len(pixels)])} | tags if 322 not in tags else tags
        entries = b""
        for code, (kind, values) in sorted(tags.items()):
            packed = values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{'HI'[kind - 3]}", *values)
            if len(packed) > 4:
                packed, at = struct.pack("<I", len(out)), packed
                out += at + b"\0" * (len(at) % 2)
            entries += struct.pack("<HHI", code, kind, len(values)) + packed.ljust(4, b"\0")
        struct.pack_into("<I", out, link, len(out))
        directories.append(len(out))
        out += struct.pack("<H", len(tags)) + entries + bytes(4)
        link = len(out) - 4
    if next_of_last is not None:
        struct.pack_into("<I", out, link, directories[next_of_last])
    return bytes(out)


def tags_of(width: int, height: int, compression: int = 1, **more: tuple[int, list[int] | bytes]) -> Tags:
    """Return the tags of a grey 8-bit page; `more` are further ones as `t270=(2, b"text")`."""
    usual: Tags = {256: (LONG, [width]), 257: (LONG, [height]), 258: (SHORT, [8]), 259: (SHORT, [compression]),
                   262: (SHORT, [1]), 277: (SHORT, [1]), 278: (LONG, [height])}  # fmt: skip
    return usual | {int(name[1:]): value for name, value in more.items()}


def jpeg(width: int, height: int, kind: str = "JPEG", **options: object) -> bytes:
    """Return a grey JPEG."""
    out = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(out, kind, **options)
    return out.getvalue()


def claiming(data: bytes, width: int, height: int) -> bytes:
    """Return a JPEG whose frame header has another size."""
    at = next(data.find(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def many_scans(width: int, height: int, scans: int) -> bytes:
    """Return a progressive JPEG whose last scan is repeated."""
    data = jpeg(width, height, progressive=True)
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * scans + data[-2:]


def ome(sizes: str = 'SizeC="1" SizeZ="1" SizeT="1"', data: str = '<TiffData IFD="0" PlaneCount="1"/>', more: str = "",
        start: str = "") -> tuple[int, bytes]:  # fmt: skip
    """Return an ImageDescription of OME-XML."""
    pixels = f'<Pixels ID="P:0" DimensionOrder="XYCZT" Type="uint8" SizeX="50" SizeY="40" {sizes}>{data}</Pixels>'
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return 2, f'{start}<OME xmlns="{schema}"><Image ID="I:0">{pixels}</Image>{more}</OME>'.encode() + b"\0"


MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="A:0" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value>'
    '<Modulo><ModuloAlongT Type="other" Start="0" End="900000000" Step="1"/></Modulo></Value></XMLAnnotation>'
    "</StructuredAnnotations>"
)
ENTITIES = "<!DOCTYPE l [" + '<!ENTITY a0 "lol">' + "".join(
    f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12)
) + "]>"  # fmt: skip


def overlapping_directories(count: int = 700) -> bytes:
    """Return a chain of directories of 257 tags that start four bytes apart."""
    tags = 257
    out = bytearray(b"II*\0\x08\0\0\0") + b"\x01" * (2 + 12 * tags)
    for number in range(count):
        out += struct.pack("<I", 8 + 4 * (number + 1) if number + 1 < count else 0)
    return bytes(out)


def chunk(kind: bytes, content: bytes, claimed: int | None = None) -> bytes:
    """Return a chunk of a PNG; its header may claim another length than it has."""
    length = len(content) if claimed is None else claimed
    return struct.pack(">I", length) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(*between: bytes, bits: int = 8, colour: int = 0, width: int = 50, height: int = 40) -> bytes:
    """Return a PNG of zeros, with further chunks before its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(height * (1 + width * samples * bits // 8)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(between) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def animated_png() -> bytes:
    """Return a PNG with two frames, of which other software shows the first."""
    out = io.BytesIO()
    Image.fromarray(GREY).save(out, "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    return out.getvalue()


def images() -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes, and a pattern of the reason for which `read_channel` must refuse it ("" if it must not)."""
    plain = (tags_of(50, 40), GREY.tobytes())
    # one tag that `tiff_plain` does not know sends a page to the general reader
    page = (tags_of(50, 40, t37000=(SHORT, [1])), GREY.tobytes())
    yield "ring of 150.tif", tiff(*[page] * 150, next_of_last=0), "form a ring"
    yield "ring of 2.tif", tiff(page, page, next_of_last=0), "form a ring"
    yield "followed by itself.tif", tiff(page, next_of_last=0), ""
    yield "second followed by itself.tif", tiff(page, page, next_of_last=1), "a stack of 2 planes"
    bare = bytes(2)
    chain = b"".join(bare + struct.pack("<I", 8 + 6 * (number + 1)) for number in range(66_000))
    yield "66000 pages.tif", b"II*\0\x08\0\0\0" + chain, "more than 65,536 pages"
    yield "overlapping directories.tif", overlapping_directories(), "directories overlap"
    shared = b"II*\0" + struct.pack("<I", 2**18) + bytes(2**18 - 8) + struct.pack("<H", 4000)
    shared += b"".join(struct.pack("<HHII", 40000 + n, 1, 2**18, 8) for n in range(4000)) + bytes(4)
    yield "tags that share a value.tif", shared, "values of its tags have 1,048,576,000 bytes"
    many = tags_of(50, 40, t273=(LONG, [8] * (2**20 + 1)), t279=(LONG, [1]))
    yield "a million strips.tif", tiff((many, GREY.tobytes())), "more than 1,048,576 strips"

    for name, description in {
        "SizeT": ome('SizeC="1" SizeZ="1" SizeT="1000000000"'),
        "PlaneCount": ome('SizeC="1" SizeZ="1" SizeT="1000000000"', '<TiffData IFD="0" PlaneCount="1000000000"/>'),
        "Modulo": ome('SizeC="1" SizeZ="1" SizeT="2"', '<TiffData IFD="0" PlaneCount="2"/>', MODULO),
        "entities": ome(more="&a11;", start=ENTITIES),
        "SizeC of no number": ome('SizeC="x" SizeZ="1" SizeT="1"'),
        "SizeC of 5000 digits": ome(f'SizeC="{"9" * 5000}" SizeZ="1" SizeT="1"'),
        "negative": ome('SizeC="-1" SizeZ="1" SizeT="-2"'),
        "no samples": ome(data='<Channel SamplesPerPixel="0"/><TiffData IFD="0"/>'),
    }.items():
        stack = (tags_of(50, 40, t270=description), GREY.tobytes())
        yield f"OME {name}.ome.tif", tiff(stack, page), "a stack of 2 planes"
        refused = "a stack" if name in ("SizeT", "PlaneCount", "Modulo") else ""
        yield f"OME {name}, one page.ome.tif", tiff(stack), refused
    long = ome(data='<TiffData IFD="0"/>' * 900_000)
    yield "OME of many planes.ome.tif", tiff((tags_of(50, 40, t270=long), GREY.tobytes())), "OME-XML of 17"
    imagej = b"ImageJ=1.54\nimages=%d\nframes=%d\nhyperstack=true\n\0"
    for frames in (10**9, 10**30):
        stack = (tags_of(50, 40, t270=(2, imagej % (frames, frames))), GREY.tobytes())
        yield f"ImageJ of {frames} frames.tif", tiff(stack, page), "a stack of 2 planes"
        packed = (tags_of(50, 40, 8, t270=(2, imagej % (frames, frames))), zlib.compress(GREY.tobytes()))
        yield f"ImageJ of {frames} packed frames.tif", tiff(packed), "stack|ImageJ"
    for name, shape in {"billion": "[1000000000, 40, 50]", "deep": "[" * 100_000, "text": '"x"', "none": "[]"}.items():
        shaped = (tags_of(50, 40, t270=(2, b'{"shape": %s}\0' % shape.encode())), GREY.tobytes())
        yield f"tifffile's {name}.tif", tiff(shaped, page), "."
    uic = tags_of(50, 40, t33628=(LONG, [10] * 4000), t33629=(5, bytes(8)))
    stk = bytearray(tiff((uic, GREY.tobytes() + bytes(10**5))))
    at = stk.index(struct.pack("<HHI", 33629, 5, 8))
    struct.pack_into("<II", stk, at + 4, 12_000, 8)
    yield "MetaMorph of 12000 planes.stk", bytes(stk), "."

    small = jpeg(16, 16)
    huge = claiming(small, 65_000, 65_000)
    for name, data, reason in (
        ("plain", huge, "65000 x 65000"),
        ("fill byte", huge.replace(b"\xff\xc0", b"\xff\xff\xc0"), "65000 x 65000"),
        ("fill bytes first", b"\xff\xd8" + b"\xff" * 999 + huge[2:], "65000 x 65000"),
        ("junk first", b"\xff\xd8" + b"junk\xff\x00" * 9 + huge[2:], "65000 x 65000"),
        ("height after the pixels", claiming(small, 65_000, 0), "65000 x 0"),
        ("no frame", small.replace(b"\xff\xc0", b"\xff\xe5"), "without a frame header"),
        ("tables alone", small[: small.index(b"\xff\xc0")] + b"\xff\xd9", "without a frame header"),
        ("cut in its header", small[: small.index(b"\xff\xc0") + 6], "without a frame header"),
        ("larger than its strip", jpeg(48, 16), "48 x 16 pixels in a strip or tile of 16 x 16"),
        ("one block larger", jpeg(24, 24), ""),
        ("progressive", jpeg(16, 16, progressive=True), ""),
        ("many scans", many_scans(16, 16, 200), "more than 100 scans"),
    ):
        yield f"JPEG, {name}.tif", tiff((tags_of(16, 16, 7), data)), reason
    with_tables = tags_of(16, 16, 7, t347=(BYTES, huge[:-2] + b"\xff\xd9"))
    yield "JPEG, frame in its tables.tif", tiff((with_tables, small)), "tables of its JPEGs contain a frame"
    large = jpeg(8000, 800)
    strips: Tags = {273: (LONG, [8] * 200), 279: (LONG, [len(large)] * 200), 278: (LONG, [1])}
    yield "JPEG, 200 strips share one.tif", tiff((tags_of(16, 200, 7) | strips, large)), "strips or tiles overlap"
    strips[279] = (LONG, [64] * 200)
    yield "JPEG, 200 strips of one row.tif", tiff((tags_of(16, 200, 7) | strips, large)), "frame header|in a strip"

    deep = tags_of(50, 40, 8) | {322: (LONG, [16]), 323: (LONG, [16]), 32998: (LONG, [10**6]), 324: (LONG, [8]),
                                 325: (LONG, [20])}  # fmt: skip
    yield "deep tiles.tif", tiff((deep, zlib.compress(GREY.tobytes()))), "pixels, at most|absent"
    empty = zlib.compress(b"", 0) * 20_000
    shared_strips: Tags = {273: (LONG, [8] * 4000), 279: (LONG, [len(empty)] * 4000), 278: (LONG, [1])}
    yield "strips of nothing.tif", tiff((tags_of(50, 4000, 8) | shared_strips, empty)), "strips or tiles overlap"
    yield "plain.tif", tiff(plain), ""

    for name, bits, colour in (("grey", 8, 0), ("RGB", 16, 2)):
        for kind in (b"IDAT", b"tEXt", b"iCCP", b"acTL"):
            for length in (2 * 10**9, 4 * 10**9):
                data = png(chunk(kind, b"x", claimed=length), bits=bits, colour=colour)
                yield f"PNG, {name}, {kind.decode()} of {length}.png", data, "."
    bomb = zlib.compress(bytes(10**8), 9)
    yield "PNG, text bomb.png", png(chunk(b"zTXt", b"x\0\0" + bomb)), "."
    yield "PNG, profile bomb.png", png(chunk(b"iCCP", b"x\0\0" + bomb)), "."
    yield "many scans.jpg", many_scans(64, 64, 200), "more than 100 scans"


def dataset_pngs() -> Iterator[tuple[str, bytes, str]]:
    """Yield name, bytes and a pattern of the reason for which `decode_png` must refuse it."""
    for kind in (b"IDAT", b"tEXt", b"iCCP", b"PLTE", b"IEND"):
        for length in (2 * 10**9, 4 * 10**9, 2**32 - 1):
            yield f"{kind.decode()} of {length}", png(chunk(kind, b"x", claimed=length)), "corrupt PNG data"
    yield "animated", animated_png(), "an animated PNG"
    control = chunk(b"acTL", struct.pack(">II", 1, 0))
    yield "animation of one frame", png(control), "an animated PNG"
    yield "frame without an animation", png(chunk(b"fdAT", bytes(8))), "an animated PNG"


if __name__ == "__main__":
    for name, data, _ in images():
        Path(sys.argv[1], name).write_bytes(data)
