"""The fast reader of simple TIFFs gives the same pixels and errors as the general reader."""

import io

import numpy as np
import pytest
import tifffile
from cytoimagenet.builder.errors import UnreadableImageError
from cytoimagenet.builder.formats import tiff, tiff_plain
from cytoimagenet.builder.formats.limits import Limits
from hypothesis import given
from hypothesis import strategies as st

LIMITS = Limits("here.tif", 4096)


def written(shape=(5, 7), dtype="uint16", *, seed=0, **how):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
    tifffile.imwrite(file, pixels, **{"photometric": "minisblack", **how})
    return file.getvalue()


def outcome(read, data, page):
    try:
        plane = read(io.BytesIO(data), page, LIMITS)
    except UnreadableImageError as error:
        return str(error)
    except Exception as error:  # `readers.read_channel` makes one reason of whatever a hostile file raises
        return type(error).__name__
    return plane.dtype.newbyteorder("="), plane.tolist()


def both(data, page, monkeypatch):
    short = outcome(tiff.read, data, page)
    with monkeypatch.context() as only:
        only.setattr(tiff_plain, "read", lambda *_: None)
        return short, outcome(tiff.read, data, page)


PLAIN = {
    "8 bits": {"dtype": "uint8"},
    "big-endian": {"byteorder": ">"},
    "strips": {"rowsperstrip": 2},
    "no description": {"metadata": None},
    "a microscope's": {"metadata": None, "description": "Exposure: 25 ms\r\nBinning: 2 x 2", "software": "MetaSeries"},
    "ImageJ's": {"metadata": None, "description": "ImageJ=1.53c\nmin=0.0\nmax=255.0\n"},
    "with a date": {"datetime": "2010:11:22 00:00:00", "resolution": (1, 1)},
}
NOT_PLAIN = {
    "two pages": {"shape": (2, 5, 7)},
    "ImageJ's stack in one page": {"shape": (3, 5, 7), "imagej": True},
    "OME": {"ome": True},
    "described as more": {"metadata": None, "description": '{"shape": [2, 5, 7]}'},
    "compressed": {"compression": "zlib"},
    "tiled": {"tile": (16, 16)},
    "32 bits": {"dtype": "uint32"},
    "signed": {"dtype": "int16"},
    "colours": {"shape": (5, 7, 3), "photometric": "rgb"},
    "white is zero": {"photometric": "miniswhite"},
    "a reduced copy": {"subfiletype": 1},
    "a stack by a tag": {"extratags": [(33628, 4, 1, 0, True)]},
    "BigTIFF": {"bigtiff": True},
}


@pytest.mark.parametrize("how", PLAIN.values(), ids=PLAIN)
def test_the_fast_reader_is_used(how, monkeypatch):
    data = written(**how)
    assert tiff_plain.read(io.BytesIO(data), None, LIMITS) is not None
    for page in (None, 0, 1):
        short, long = both(data, page, monkeypatch)
        assert short == long


@pytest.mark.parametrize("how", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_other_files_are_left_to_the_general_reader(how):
    data = written(**how)
    assert tiff_plain.read(io.BytesIO(data), None, LIMITS) is None


def test_the_limit_is_checked_before_anything_is_read():
    with pytest.raises(UnreadableImageError, match="65 x 64 pixels"):
        tiff_plain.read(io.BytesIO(written((64, 65))[:-4000]), None, LIMITS)


@given(
    how=st.sampled_from(list(PLAIN.values())),
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    page=st.sampled_from([None, 0, 1]),
    spoil=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=2),
    cut=st.integers(0, 40),
)
def test_damaged_files_give_the_same_result(how, shape, seed, page, spoil, cut):
    data = bytearray(written(shape, **{"seed": seed, **how}))
    for place, value in spoil:
        data[place % len(data)] = value
    with pytest.MonkeyPatch.context() as monkeypatch:
        short, long = both(bytes(data[: len(data) - (cut if cut > 20 else 0)]), page, monkeypatch)
    assert short == long
