"""Readers: every format at native depth, by content, within the limit; every failure has a path and a reason."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cytoimagenet import read_channel
from cytoimagenet.builder.errors import MissingImageError, TooLargeError, UnreadableImageError
from cytoimagenet.builder.formats import png_jpeg_bmp
from cytoimagenet.builder.formats import read as readers
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

GREY16 = (np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) * 31) % 4096
GREY8 = (GREY16 >> 4).astype(np.uint8)
RGB = np.stack([GREY8, GREY8[::-1], 255 - GREY8], -1)


def same(path, expected, **more):
    got = read_channel(path, **more)
    assert got.dtype == expected.dtype and got.dtype.isnative
    assert np.array_equal(got, expected)
    got[0, 0] = 1  # the caller's own


def mean(rgb):
    return (rgb[..., :3].astype(np.float64).sum(-1) / 3).astype(np.float32)


def refused(path, reason, kind=UnreadableImageError, **more):
    with pytest.raises(kind, match=reason) as caught:
        read_channel(path, **more)
    assert caught.value.path == str(path)
    assert caught.value.reason


# --- TIFF


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8", "f2", "u8"])
def test_tiff_of_every_type(tmp_path, dtype, byteorder):
    image = (GREY16 % 120).astype(dtype)
    tifffile.imwrite("x.tif", image, byteorder=byteorder)
    same("x.tif", image)


@pytest.mark.parametrize(
    "how",
    [
        {"compression": "lzw"},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True},
        {"compression": "packbits"},
        {"compression": "lzma"},
        {"compression": "zstd"},
        {"tile": (16, 32)},
        {"tile": (16, 16), "compression": "lzw", "predictor": True},
        {"rowsperstrip": 7},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_tiff_of_every_layout(how):
    tifffile.imwrite("x.tif", GREY16, **how)
    same("x.tif", GREY16)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_tiff_colour_is_the_mean_of_three(planar, dtype):
    colours = RGB.astype(dtype) * np.dtype(dtype).type(3)
    samples = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    tifffile.imwrite("rgb.tif", samples, photometric="rgb", planarconfig=planar)
    same("rgb.tif", mean(colours))
    alpha = np.concatenate([colours, np.full_like(colours[..., :1], 7)], -1)
    tifffile.imwrite("rgba.tif", alpha, photometric="rgb", extrasamples=["unassalpha"])
    same("rgba.tif", mean(colours))


def test_tiff_jpeg():
    tifffile.imwrite("x.tif", GREY8, compression="jpeg")
    same("x.tif", tifffile.imread("x.tif"))


@pytest.mark.parametrize("bits", [1, 2, 4, 12])
def test_tiff_of_odd_depths_keeps_its_range(bits):
    top = 2**bits - 1
    image = (GREY16 % (top + 1)).astype(np.uint16 if bits > 8 else np.uint8)
    _write_packed("x.tif", image, bits)
    same("x.tif", image)


def _write_packed(path, image, bits, photometric=1):
    """Write a TIFF of `bits` bits a pixel, row by row, by hand."""
    flags = (image[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(flags.reshape(len(image), -1).astype(np.uint8), axis=1).tobytes()
    _write_tags(path, {256: image.shape[1], 257: image.shape[0], 258: bits, 262: photometric}, data)


def _write_tags(path, tags, data, more=()):
    """Write a little-endian TIFF of one strip with these tags (tag: value, or tag: (type, values))."""
    whole = {259: 1, 273: 8, 277: 1, 278: tags[257], 279: (4, [len(data)]), **tags}
    body = struct.pack("<H", len(whole))
    tail_at = 8 + len(data) + 2 + 12 * len(whole) + 4
    tail = b""
    for tag, value in sorted(whole.items()):
        kind, values = value if isinstance(value, tuple) else (4, [value])
        packed = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            packed, tail = struct.pack("<I", tail_at + len(tail)), tail + packed
        body += struct.pack("<HHI", tag, kind, len(values)) + packed.ljust(4, b"\0")
    Path(path).write_bytes(b"II*\0" + struct.pack("<I", 8 + len(data)) + data + body + b"\0\0\0\0" + tail)


def test_white_is_zero_is_turned_round():
    tifffile.imwrite("w.tif", GREY8, photometric="miniswhite")
    same("w.tif", 255 - GREY8)
    _write_packed("w4.tif", GREY8 % 16, 4, photometric=0)
    same("w4.tif", 15 - GREY8 % 16)
    tifffile.imwrite("w16.tif", GREY16, photometric="miniswhite")
    same("w16.tif", 65535 - GREY16)


@pytest.mark.parametrize("unit", [256, 257])
def test_a_palette_of_greys_gives_its_greys(unit):
    ramp = np.arange(256, dtype=np.uint16)[::-1] * unit
    tifffile.imwrite("p.tif", GREY8, photometric="palette", colormap=np.stack([ramp] * 3))
    same("p.tif", 255 - GREY8)
    green = np.stack([ramp * 0, ramp, ramp * 0])
    tifffile.imwrite("g.tif", GREY8, photometric="palette", colormap=green)
    same("g.tif", ((255 - GREY8) / 3).astype(np.float32))


@pytest.mark.parametrize("kind", ["plain", "imagej", "ome", "lzw", "flex", "one page"])
def test_a_stack_is_never_silently_its_first_page(kind):
    stack = np.stack([GREY16, GREY16 + 1, GREY16 + 2])
    name = {"flex": "001001000.flex", "ome": "x.ome.tif"}.get(kind, "x.tif")
    options = {
        "imagej": {"imagej": True, "metadata": {"axes": "CYX"}},
        "ome": {"metadata": {"axes": "CYX"}},
        "lzw": {"compression": "lzw", "photometric": "minisblack"},
        "one page": {"photometric": "minisblack"},
        "plain": {"photometric": "minisblack"},
    }.get(kind, {})
    with tifffile.TiffWriter(name, imagej=options.pop("imagej", False)) as tif:
        if kind == "flex":
            for plane in stack:
                tif.write(plane, contiguous=False, metadata=None)
        else:
            tif.write(stack, **options)
    if kind == "one page":  # as ImageJ writes what is larger than 4 GB: planes without pages
        tifffile.imwrite(name, stack, imagej=True, metadata={"axes": "CYX"})
        whole = bytearray(Path(name).read_bytes())
        with tifffile.TiffFile(name) as tif:
            second = struct.pack("<I", tif.pages[1].offset)
        whole[whole.index(second) : whole.index(second) + 4] = bytes(4)
        Path(name).write_bytes(whole)
    axis = "C" if kind in ("imagej", "ome", "one page") else "[IQ]"
    refused(name, rf"a stack of 3 planes \(axes {axis} 3\); choose one")
    for page, plane in enumerate(stack):
        same(name, plane, page=page)
    for page in (3, -1):
        refused(name, f"no page {page}: it has 3", page=page)


def test_a_hyperstack_counts_its_planes_in_the_order_of_the_file():
    stack = np.arange(2 * 3 * 4, dtype=np.uint8)[:, None, None] + np.zeros((20, 20), np.uint8)
    tifffile.imwrite("x.tif", stack.reshape(2, 3, 4, 20, 20), imagej=True, metadata={"axes": "TZCYX"})
    refused("x.tif", r"24 planes \(axes T 2, Z 3, C 4\)")
    assert [int(read_channel("x.tif", page=k)[0, 0]) for k in range(24)] == list(range(24))


def test_reduced_copies_are_no_pages():
    with tifffile.TiffWriter("pyramid.tif") as tif:
        tif.write(GREY16, subifds=0)
        tif.write(GREY16[::2, ::2], subfiletype=1, metadata=None)
    same("pyramid.tif", GREY16)


def test_samples_that_are_no_colours_are_planes():
    two = np.stack([GREY16, GREY16[::-1]])
    tifffile.imwrite("x.tif", two, photometric="minisblack", planarconfig="separate")
    refused("x.tif", "a stack of 2 planes")
    same("x.tif", two[1], page=1)


def test_an_ome_tiff_opens_no_other_file(tmp_path):
    tifffile.imwrite("secret.ome.tif", GREY16 + 1)
    tifffile.imwrite("x.ome.tif", GREY16)
    with tifffile.TiffFile("x.ome.tif") as tif:
        xml = tif.ome_metadata
    other = xml.replace("<TiffData ", '<TiffData FileName="secret.ome.tif" ').replace('SizeC="1"', 'SizeC="1"')
    tifffile.imwrite("y.tif", GREY16, description=other, metadata=None)
    same("y.tif", GREY16)


@pytest.mark.parametrize(("photometric", "samples"), [("cielab", 3), ("separated", 4)])
def test_print_colours_are_refused(photometric, samples):
    tifffile.imwrite("x.tif", np.stack([GREY8] * samples, -1), photometric=photometric)
    refused("x.tif", f"{photometric.upper()} is not a colour space of a microscope image")


def test_absent_and_truncated_strips_are_refused():
    for layout in ({"rowsperstrip": 8}, {"tile": (16, 16)}, {"compression": "lzw"}, {}):
        tifffile.imwrite("x.tif", GREY16, **layout)
        whole = Path("x.tif").read_bytes()
        Path("y.tif").write_bytes(whole[:-100])
        refused("y.tif", "truncated")
    _write_tags("sparse.tif", {256: 50, 257: 40, 258: 16, 262: 1, 279: 0}, b"")
    refused("sparse.tif", "truncated")


def test_other_compressions_are_refused():
    _write_tags("x.tif", {256: 50, 257: 40, 258: 8, 262: 1, 259: 34712}, b"\0" * 2000)
    refused("x.tif", "compression")


# --- PNG, JPEG, BMP


def test_png_at_its_depth(tmp_path):
    import imagecodecs

    Image.fromarray(GREY16).save("16.png")
    same("16.png", GREY16)
    Image.fromarray(GREY8).save("8.png")
    same("8.png", GREY8)
    Image.fromarray(GREY8 > 99).save("1.png")
    same("1.png", (GREY8 > 99).astype(np.uint8))
    Image.fromarray(np.stack([GREY8, 255 - GREY8], -1)).save("la.png")
    same("la.png", GREY8)
    Image.fromarray(RGB).save("rgb.png")
    same("rgb.png", mean(RGB))
    Path("rgb16.png").write_bytes(imagecodecs.png_encode(RGB.astype(np.uint16) * 200))
    same("rgb16.png", mean(RGB.astype(np.uint16) * 200))
    Path("la16.png").write_bytes(imagecodecs.png_encode(np.stack([GREY16, GREY16], -1)))
    same("la16.png", GREY16)


def as_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_plain_grey_png_ends_the_same_by_libpng_and_by_pillow(monkeypatch):
    quick, taken = png_jpeg_bmp._plain_png, []

    def outcome(data, page, plain):
        monkeypatch.setattr(png_jpeg_bmp, "_plain_png", plain)
        try:
            plane = readers.read_file(io.BytesIO(data), "x.png", page=page)
        except UnreadableImageError as error:
            return str(error)
        return plane.dtype, plane.tolist()

    def counted(file, limits):
        found = quick(file, limits)
        taken.append(found is not None)
        return found

    rng = np.random.default_rng(0)
    for k in range(300):
        data = bytearray(as_png(rng.integers(0, 256, rng.integers(1, 20, 2), np.uint8)))
        for at in rng.integers(0, len(data), k % 3):
            data[at] = rng.integers(256)
        for at in [data.find(b"IDAT")] * (k % 5 == 4):  # damage that the checksum does not show
            size = int.from_bytes(data[at - 4 : at], "big") if at > 0 else len(data)
            if 0 < at + size + 8 <= len(data):
                data[at + size + 4 : at + size + 8] = zlib.crc32(data[at : at + 4 + size]).to_bytes(4, "big")
        data = bytes(data[: rng.integers(1, len(data))] if k % 7 == 6 else data) + b"more" * (k % 11 == 10)
        page = (None, 0, 1)[k % 3]
        assert outcome(data, page, counted) == outcome(data, page, lambda *_: None)
    assert sum(taken) > 60


def test_a_reason_does_not_depend_on_the_folder_of_the_file(tmp_path):
    broken = as_png(GREY8)[:30] + bytes(40)
    reasons = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "x.png").write_bytes(broken)
        with pytest.raises(UnreadableImageError) as raised:
            read_channel(tmp_path / place / "x.png")
        reasons.add(raised.value.reason)
    with pytest.raises(UnreadableImageError) as raised:
        readers.read_file(io.BytesIO(broken), "x.png")
    assert reasons == {raised.value.reason}


def test_palettes_of_png_and_bmp():
    image = Image.fromarray(GREY8).convert("P")
    image.putpalette([value for i in range(256) for value in (255 - i,) * 3])
    coloured = image.copy()
    coloured.putpalette([value for i in range(256) for value in (i, 0, 0)])
    for kind in ("png", "bmp"):
        image.save(f"grey.{kind}")
        same(f"grey.{kind}", 255 - GREY8)
        coloured.save(f"red.{kind}")
        same(f"red.{kind}", (GREY8 / 3).astype(np.float32))


def test_jpeg_and_content_over_extension():
    Image.fromarray(GREY8).save("x.jpg")
    expected = np.asarray(Image.open("x.jpg"))
    Path("really-a-jpeg.png").write_bytes(Path("x.jpg").read_bytes())
    same("really-a-jpeg.png", expected)
    Image.fromarray(GREY8).save("x.png")
    Path("really-a-png.JPG").write_bytes(Path("x.png").read_bytes())
    same("really-a-png.JPG", GREY8)
    tifffile.imwrite("x.tif", GREY16)
    Path("really-a-tiff.bmp").write_bytes(Path("x.tif").read_bytes())
    same("really-a-tiff.bmp", GREY16)
    Image.fromarray(RGB).convert("CMYK").save("print.jpg")
    refused("print.jpg", "CMYK")


def test_an_animated_png_is_a_stack():
    first = Image.fromarray(GREY8)
    first.save("x.png", save_all=True, append_images=[Image.fromarray(GREY8[::-1].copy())])
    refused("x.png", r"a stack of 2 planes \(axes T 2\)")
    same("x.png", GREY8[::-1], page=1)


# --- Cellomics and DeltaVision


def dib(image, **fields):
    header = {"size": 40, "width": image.shape[1], "height": image.shape[0], "planes": 1, "bits": 16, "compression": 0}
    header |= fields
    return struct.pack("<IIIHHI", *header.values()).ljust(52, b"\0") + image.astype("<u2").tobytes()


def test_cellomics_dib():
    Path("AS_09125_050116000001_A01f00d0.DIB").write_bytes(dib(GREY16))
    same("AS_09125_050116000001_A01f00d0.DIB", GREY16)
    same("AS_09125_050116000001_A01f00d0.DIB", GREY16, page=0)
    Path("short.DIB").write_bytes(dib(GREY16)[:-1])
    refused("short.DIB", "truncated")
    Path("eight.DIB").write_bytes(dib(GREY16, bits=8))
    refused("eight.DIB", "8 bits")
    Path("huge.DIB").write_bytes(dib(GREY16, width=10**6, height=10**6))
    refused("huge.DIB", "1000000 x 1000000", TooLargeError)


def deltavision(stack, order="<", kind=6, sequence=0, waves=1, times=1, extended=0):
    header = bytearray(1024)
    planes, height, width = stack.shape
    struct.pack_into(f"{order}4i", header, 0, width, height, planes, kind)
    struct.pack_into(f"{order}i", header, 92, extended)
    struct.pack_into(f"{order}h", header, 96, -16224)
    struct.pack_into(f"{order}2h", header, 180, times, sequence)
    struct.pack_into(f"{order}h", header, 196, waves)
    return bytes(header) + bytes(extended) + stack.astype(stack.dtype.newbyteorder(order)).tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "dtype"), [(0, "u1"), (1, "i2"), (2, "f4"), (6, "u2"), (7, "i4")])
def test_deltavision_of_every_type(order, kind, dtype):
    stack = np.stack([GREY8, GREY8 + 1]).astype(dtype)
    Path("x.dv").write_bytes(deltavision(stack, order, kind, waves=2, extended=512))
    refused("x.dv", r"a stack of 2 planes \(axes W 2\)")
    same("x.dv", stack[0], page=0)
    same("x.dv", stack[1], page=1)
    Path("one.dv").write_bytes(deltavision(stack[:1], order, kind))
    same("one.dv", stack[0])


def test_deltavision_names_its_axes_or_reports_the_problem():
    stack = np.zeros((12, 8, 8), np.uint16)
    for sequence, axes in ((0, "W 2, T 3, Z 2"), (1, "T 3, Z 2, W 2"), (2, "T 3, W 2, Z 2"), (9, "I 12")):
        Path("x.dv").write_bytes(deltavision(stack, sequence=sequence, waves=2, times=3))
        refused("x.dv", rf"\(axes {axes}\)")
    Path("x.dv").write_bytes(deltavision(stack, kind=4))
    refused("x.dv", "pixel type 4", page=0)
    Path("x.dv").write_bytes(deltavision(stack)[:-1])
    refused("x.dv", "truncated", page=11)
    Path("x.dv").write_bytes(deltavision(stack)[:500])
    refused("x.dv", "truncated")


# --- the bound, and what is no image


def png_of(width, height, data=b""):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_too_large_by_the_header():
    Path("x.png").write_bytes(png_of(60_000, 60_000))
    refused("x.png", "60000 x 60000 pixels", TooLargeError)
    _write_tags("x.tif", {256: 60_000, 257: 60_000, 258: 8, 262: 1}, b"\0" * 99)
    refused("x.tif", "60000 x 60000 pixels", TooLargeError)
    held = io.BytesIO()
    Image.fromarray(GREY8).save(held, "JPEG")
    jpeg = bytearray(held.getvalue())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    Path("x.jpg").write_bytes(jpeg)
    refused("x.jpg", "4225000000 pixels", TooLargeError)
    tifffile.imwrite("fine.tif", GREY16)
    refused("fine.tif", "50 x 40 pixels, at most 1,999 allowed", TooLargeError, max_pixels=1999)
    same("fine.tif", GREY16, max_pixels=2000)


def test_a_strip_can_not_blow_up():
    bomb = zlib.compress(bytes(50_000_000), 9)
    _write_tags("x.tif", {256: 50, 257: 40, 258: 8, 262: 1, 259: 8}, bomb)
    import tracemalloc

    tracemalloc.start()
    refused("x.tif", "INSUFFICIENT_SPACE")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    held = io.BytesIO()
    Image.fromarray(GREY8).save(held, "JPEG")
    jpeg = bytearray(held.getvalue())
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    _write_tags("j.tif", {256: 50, 257: 40, 258: 8, 262: 1, 259: 7}, bytes(jpeg))
    refused("j.tif", "65000 x 65000", TooLargeError)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"GIF89a" + bytes(50), "GIF"),
        (b"<html>not found</html>", "XML or HTML"),
        (b"PK\x03\x04" + bytes(50), "a zip archive"),
        (b"hello", "it starts with 68 65 6c 6c 6f"),
        (b"II*\0", "error|Error"),
        (b"BM" + bytes(60), "Error"),
        (b"\x89PNG\r\n\x1a\n", "without a header"),
        (png_of(0, 5), "0 x 5"),
    ],
)
def test_files_that_are_no_image(data, reason):
    Path("x.tif").write_bytes(data)
    refused("x.tif", reason)


def test_paths_that_are_no_file(tmp_path):
    refused(tmp_path / "absent.tif", "no such file", MissingImageError)
    refused(tmp_path, "a folder")
    os.mkfifo("pipe.tif")
    refused("pipe.tif", "not a regular file")  # and does not wait for a writer
    Path("x.tif").symlink_to("x.tif")
    refused("x.tif", "symbolic links")


def test_other_storage():
    held = io.BytesIO()
    tifffile.imwrite(held, GREY16, compression="lzw")
    files = MemoryFileSystem()
    files.pipe("/readers/x.tif", held.getvalue())
    same("memory://readers/x.tif", GREY16)
    refused("memory://readers/y.tif", "no such file", MissingImageError)
    files.store.clear()


def test_damaged_files_of_every_format_are_read_or_refused(tmp_path):
    """A seeded corpus of mutations, read in a child of bounded memory and time."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    stack = np.stack([GREY16, GREY16])
    for name, how in {
        "lzw": {"compression": "lzw"},
        "tile": {"tile": (16, 16)},
        "jpeg": {"compression": "jpeg"},
    }.items():
        tifffile.imwrite(f"{name}.tif", GREY8, **how)
    tifffile.imwrite("stack.tif", stack, imagej=True)
    tifffile.imwrite("ome.ome.tif", stack)
    tifffile.imwrite("palette.tif", GREY8, photometric="palette", colormap=np.zeros((3, 256), np.uint16))
    for kind in ("png", "jpg", "bmp"):
        Image.fromarray(RGB).save(f"x.{kind}")
    Image.fromarray(GREY8).convert("P").save("p.bmp")
    Image.fromarray(GREY16).save("y.png")
    Path("x.DIB").write_bytes(dib(GREY16))
    Path("x.dv").write_bytes(deltavision(stack[:1]))
    rng = np.random.default_rng(0)
    seeds = [path for path in sorted(tmp_path.iterdir()) if path.is_file()]
    for path in seeds:
        whole = path.read_bytes()
        for k in range(40):
            data = bytearray(whole)
            head = len(data) if k % 2 else min(len(data), 300)  # half of them in the header
            for at in rng.integers(0, head, rng.integers(1, 5)):
                data[at] = rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))])
            if k % 5 == 0:
                del data[int(rng.integers(len(data))) :]
            (folder / f"{path.stem}-{k}{path.suffix}").write_bytes(data)
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("read_many.py")), str(folder), "--no-agree"],
        capture_output=True,
        text=True,
    )
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, (len(lines), ran.stderr[-2000:])
    assert len(lines) == 40 * len(seeds)
    assert '"named": false' not in ran.stdout
    assert sum("reason" in line for line in lines) > len(lines) // 4
