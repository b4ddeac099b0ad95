"""The dataset's PNGs: exact, deterministic, bounded."""

import io
import struct
import zlib

import numpy as np
import pytest
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.builder.png import decode_png, encode_png
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image


@given(hnp.arrays("u1", hnp.array_shapes(min_dims=2, max_dims=2, max_side=50)))
def test_there_and_back(image):
    data = encode_png(image)
    assert np.array_equal(decode_png(data), image)
    assert data == encode_png(np.asfortranarray(image))
    seen = Image.open(io.BytesIO(data))
    assert seen.mode == "L" and np.array_equal(np.asarray(seen), image)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.zeros((3, 3, 3), np.uint8), np.zeros((0, 3), np.uint8)])
def test_only_grey_of_8_bits(wrong):
    with pytest.raises(ValueError, match="8-bit grey"):
        encode_png(wrong)


def test_a_colour_png_becomes_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    held = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3, -1)).save(held, "PNG")
    assert np.array_equal(decode_png(held.getvalue()), grey)


def test_size_is_read_before_anything_is_decompressed():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(TooLargeError, match="60000 x 60000"):
        decode_png(b"\x89PNG\r\n\x1a\n" + chunk)


def test_corrupt_bytes_are_never_pixels(rng):
    image = rng.integers(0, 255, (40, 40)).astype(np.uint8)
    whole = encode_png(image)
    for data in (b"", b"GIF89a", whole[:20], whole[:33], whole[: len(whole) // 2], whole[:-14]):
        with pytest.raises(UnreadableImageError):
            decode_png(data)
    for position in rng.integers(0, len(whole), 60):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        try:
            got = decode_png(bytes(flipped))
        except UnreadableImageError:
            continue
        assert np.array_equal(got, image)
