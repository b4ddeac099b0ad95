"""Limits, planes of a stack, and colours to grey, with numbers made by hand."""

import io
from fractions import Fraction

import numpy as np
import pytest
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.builder.formats.colours import mean_of_colours, through_palette
from cytoimagenet.builder.formats.limits import MAX_PIXELS, Limits, read_plain

LIMITS = Limits("a.tif", 100)


@pytest.mark.parametrize(("width", "height"), [(10, 10), (1, 100), (100, 1), (1, 1)])
def test_a_plane_of_the_limit_is_allowed(width, height):
    LIMITS.check(width, height)


@pytest.mark.parametrize(("width", "height"), [(10, 11), (101, 1), (2**31, 2**31)])
def test_a_plane_over_the_limit_is_refused_with_its_size(width, height):
    with pytest.raises(TooLargeError, match=f"{width} x {height} pixels, at most 100 allowed") as caught:
        LIMITS.check(width, height)
    assert caught.value.where == "a.tif"


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (-1, 5), (5, -1), (-5, -5)])
def test_an_empty_plane_is_refused(width, height):
    with pytest.raises(UnreadableImageError, match=f"{width} x {height} pixels"):
        LIMITS.check(width, height)


def test_the_default_limit():
    Limits("a").check(8192, 8192)
    assert MAX_PIXELS == 8192 * 8192
    with pytest.raises(TooLargeError):
        Limits("a").check(8192, 8193)


def test_the_plane_of_a_stack():
    assert LIMITS.choose(None, "I", (1,)) == 0
    assert LIMITS.choose(None, "TZC", (1, 1, 1)) == 0
    assert [LIMITS.choose(page, "TC", (3, 2)) for page in range(6)] == list(range(6))
    with pytest.raises(UnreadableImageError, match=r"a stack of 6 planes \(axes T 3, C 2\); choose one"):
        LIMITS.choose(None, "TZC", (3, 1, 2))
    for page in (6, -1):
        with pytest.raises(UnreadableImageError, match=f"no page {page}: it has 6, counted from 0"):
            LIMITS.choose(page, "TC", (3, 2))


def test_a_plane_stored_uncompressed():
    pixels = np.arange(6, dtype=">u2").reshape(2, 3)
    file = io.BytesIO(b"head" + pixels.tobytes() + b"rest")
    assert np.array_equal(read_plain(file, 4, (2, 3), np.dtype(">u2"), LIMITS), pixels)
    with pytest.raises(UnreadableImageError, match="truncated: 20 bytes, its pixels end at 21"):
        read_plain(file, 9, (2, 3), np.dtype(">u2"), LIMITS)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f4", "f8"])
def test_the_mean_of_colours_is_rounded_once(dtype, rng):
    top = 1 if dtype[0] == "f" else np.iinfo(dtype).max
    samples = (rng.random((50, 4)) * top).astype(dtype)
    means = mean_of_colours(samples)
    assert means.dtype == np.float32
    for mean, (red, green, blue, _) in zip(means.tolist(), samples.tolist(), strict=True):
        exact = sum(map(Fraction, (red, green, blue))) / 3
        assert mean == pytest.approx(float(exact), rel=1e-7)
        if dtype[:2] in ("u1", "u2", "i2"):
            assert mean == np.float32(float(exact))


def test_a_palette():
    codes = np.array([[0, 2], [1, 3]], np.uint8)
    greys = np.array([[5, 5, 5], [7, 7, 7], [200, 200, 200]], np.uint8)
    found = through_palette(codes, greys)
    assert found.dtype == np.uint8 and found.tolist() == [[5, 200], [7, 0]]
    coloured = np.array([[1, 2, 4], [7, 7, 7]], np.uint16)
    found = through_palette(np.array([[0, 1]]), coloured)
    assert found.dtype == np.float32 and found.tolist() == [[np.float32(7 / 3), 7]]
    assert through_palette(np.zeros((0, 3), np.uint8), greys).shape == (0, 3)
