"""Files that claim much cost little: bounds are checked before anything is allocated, for every reader."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cytoimagenet import read_channel
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.builder.formats import limits
from cytoimagenet.builder.formats.grey_png import decode_png
from cytoimagenet.builder.formats.limits import Limits
from cytoimagenet.builder.formats.read import read_file
from cytoimagenet.eval.sets.tiff import read_plane, shape_of

from tests import memory
from tests.builder.formats import hostile

MEMORY = 400 * 2**20  # bytes; the largest of these files has 17 MB
IMAGES = {name: (data, reason) for name, data, reason in hostile.images()}
PNGS = {name: (data, reason) for name, data, reason in hostile.dataset_pngs()}


@pytest.mark.parametrize("name", IMAGES)
def test_a_hostile_image_is_refused_for_its_own_reason(name):
    data, reason = IMAGES[name]
    read_file(io.BytesIO(IMAGES["plain.tif"][0]), "plain.tif")  # imports are not counted
    with memory.at_most(MEMORY):
        if not reason:
            assert read_file(io.BytesIO(data), name).shape in ((40, 50), (16, 16))
            return
        with pytest.raises(UnreadableImageError, match=reason) as raised:
            read_file(io.BytesIO(data), name)
    assert "memory" not in raised.value.reason


@pytest.mark.parametrize("name", PNGS)
def test_a_hostile_png_of_the_dataset_is_refused(name):
    data, reason = PNGS[name]
    decode_png(hostile.png())
    with memory.at_most(MEMORY), pytest.raises(UnreadableImageError, match=reason):
        decode_png(data)


@pytest.mark.parametrize("inside", [False, True], ids=["on disk", "in a zip"])
@pytest.mark.parametrize("name", ["JPEG, plain.tif", "JPEG, fill byte.tif", "ring of 150.tif", "OME SizeT.ome.tif"])
def test_the_readers_of_the_evaluation_have_the_same_bounds(name, inside, tmp_path):
    data, reason = IMAGES[name]
    locator = str(tmp_path / "x.tif")
    Path(locator).write_bytes(data)
    if inside:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("x.tif", data)
        locator = f"{tmp_path / 'x.zip'}::x.tif"
    with memory.at_most(MEMORY):
        with pytest.raises(UnreadableImageError, match=reason):
            read_plane(locator)
        if name.startswith("ring"):
            with pytest.raises(UnreadableImageError, match=reason):
                shape_of(locator)


@pytest.mark.parametrize("kind", ["classic", "bigtiff"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_ordinary_stacks_pass(kind, byteorder):
    stack = np.arange(5 * 20 * 30, dtype=np.uint16).reshape(5, 20, 30)
    file = io.BytesIO()
    tifffile.imwrite(
        file, stack, byteorder=byteorder, bigtiff=kind == "bigtiff", photometric="minisblack", metadata=None
    )
    assert np.array_equal(read_file(file_at_start(file), "x.tif", page=4), stack[4])
    # cut in the middle of the last directory: what comes before is readable
    cut = io.BytesIO(file.getvalue()[:-1])
    limits.check_directories(cut, Limits("x.tif"))


def file_at_start(file):
    file.seek(0)
    return file


def test_a_16_bit_colour_png_with_a_huge_tail_is_not_read_to_its_end(tmp_path, monkeypatch):
    data = hostile.png(bits=16, colour=2)
    path = tmp_path / "tail.png"
    path.write_bytes(data)
    assert read_channel(path).shape == (40, 50)
    with open(path, "r+b") as file:
        file.truncate(20 * 2**30)  # sparse: takes no space on the disk
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 2**20)
    with memory.at_most(MEMORY), pytest.raises(TooLargeError, match="more than 1,048,576 bytes for one plane"):
        read_channel(path)


def test_empty_tiles_may_share_their_bytes():
    """Writers of large images store one empty tile and refer to it many times."""
    pixels = np.zeros((256, 256), np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, tile=(16, 16), compression="zlib")
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        offsets = tif.pages.first.tags[324]
    first = data[offsets.valueoffset : offsets.valueoffset + 4]
    data[offsets.valueoffset : offsets.valueoffset + 4 * offsets.count] = first * offsets.count
    assert np.array_equal(read_file(io.BytesIO(data), "x.tif"), pixels)


@pytest.mark.parametrize(
    ("sizes", "data", "expected"),
    [
        ('SizeC="2" SizeZ="3" SizeT="4"', '<TiffData IFD="0"/>', ("TZC", (4, 3, 2))),
        ('SizeC="6" SizeZ="1" SizeT="1"', '<Channel SamplesPerPixel="3"/><TiffData IFD="0"/>', ("TZC", (1, 1, 2))),
        ('SizeC="1" SizeZ="1" SizeT="1"', "", None),
        ('SizeC="2" SizeZ="1" SizeT="1"', "<TiffData><UUID>urn:uuid:other</UUID></TiffData>", None),
        ('SizeC="0" SizeZ="1" SizeT="1"', "<TiffData/>", None),
        ('SizeC="1" SizeZ="1"', "<TiffData/>", None),
    ],
)
def test_the_axes_of_ome_xml(sizes, data, expected):
    _, xml = hostile.ome(sizes, data)
    assert limits.ome_axes(xml.rstrip(b"\0").decode(), Limits("x.tif")) == expected


@pytest.mark.parametrize("axes", ["CZYX", "TCYX", "ZYX", "TZCYX"])
def test_the_axes_of_ome_xml_are_those_of_tifffile(axes):
    file = io.BytesIO()
    stack = np.zeros((*range(2, len(axes)), 20, 30), np.uint8)
    tifffile.imwrite(file, stack, ome=True, metadata={"axes": axes}, photometric="minisblack")
    with tifffile.TiffFile(io.BytesIO(file.getvalue())) as tif:
        names, lengths = limits.ome_axes(tif.ome_metadata, Limits("x.tif"))
        shown = [(name, length) for name, length in zip(names, lengths, strict=True) if length > 1]
        series = tif.series[0]
        assert shown == [(a, n) for a, n in zip(series.axes, series.shape, strict=True) if a not in "YX"]
