"""Normalising is bit-identical to the definition by percentiles; merging rounds once."""

import numpy as np
import pytest
from cytoimagenet.builder.errors import ConstantImageError, CytoImageNetError, NotFiniteImageError
from cytoimagenet.builder.images.normalise import add_normalised, merge_channels, merge_float, normalise, to_grey8
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

INTEGERS = ["u1", "i1", "u2", "i2", ">u2", "u4", "i4", ">i4", "u8", "i8"]
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)


def by_definition(channel, low=0.1, high=99.9):
    """Clip at numpy's percentiles, subtract, divide: singles as they are, all else in double precision."""
    kind = np.float32 if channel.dtype == np.float32 else np.float64
    bottom, top = np.percentile(channel.astype(kind), (low, high))  # of int16, some versions of numpy overflow
    bottom, top = kind(bottom), kind(top)
    return ((np.clip(channel.astype(kind), bottom, top) - bottom) / (top - bottom)).astype(np.float32)


def narrow(dtype):
    """Integers of any type within 16 bits of each other, at either end of the type or about 0."""
    info = np.iinfo(dtype)
    lowest = st.sampled_from(sorted({info.min, max(info.min, -30000), max(info.min, info.max - 65535)}))
    return lowest.flatmap(
        lambda start: hnp.arrays(dtype, SHAPES, elements=st.integers(start, min(info.max, start + 65535)))
    )


def same_as_defined(channel, **percentiles):
    bottom, top = np.percentile(channel, tuple(percentiles.values()) or (0.1, 99.9))
    if top == bottom:
        with pytest.raises(ConstantImageError):
            normalise(channel, **percentiles)
        return
    got = normalise(channel, **percentiles)
    assert got.dtype == np.float32
    assert np.array_equal(got, by_definition(channel, *percentiles.values()))
    assert got.min() >= 0 and got.max() <= 1


@given(st.sampled_from(["u1", "i2", "u2", ">u2"]).flatmap(narrow))
def test_integers_of_up_to_16_bits_equal_the_definition(channel):
    same_as_defined(channel)


@given(st.sampled_from(["i4", "u4", ">i4"]).flatmap(narrow))
def test_wide_integer_types_of_narrow_range_equal_the_definition(channel):
    same_as_defined(channel)


def test_a_difference_that_is_too_large_for_the_type_of_the_pixels():
    channel = np.array([[-(2**31), 0, 2**31 - 1]], np.int32)
    np.testing.assert_allclose(normalise(channel), [[0, 0.5, 1]], atol=1e-6)


@given(hnp.arrays("i4", SHAPES), hnp.arrays("f4", SHAPES, elements=st.floats(-1e6, 1e6, width=32)))
def test_channels_that_are_not_counted_equal_the_definition(wide, real):
    same_as_defined(wide)
    same_as_defined(real)


@given(narrow("u2"), st.floats(0, 40), st.floats(60, 100))
def test_any_percentiles(channel, low, high):
    same_as_defined(channel, low=low, high=high)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_type_on_a_large_channel(dtype, rng):
    channel = rng.integers(0, 120, (211, 307)).astype(dtype)
    same_as_defined(channel)
    same_as_defined(channel[::2, ::-3])  # not contiguous


def test_a_mask_is_two_values():
    mask = np.zeros((10, 10), bool)
    mask[2:5] = True
    assert np.array_equal(normalise(mask), mask.astype(np.float32))


def test_floats_of_any_size_stay_in_range():
    channel = np.linspace(-3.4e38, 3.4e38, 100, dtype=np.float32).reshape(10, 10)
    got = normalise(channel, 0, 100)
    assert got.min() == 0 and got.max() == 1 and np.isfinite(got).all()


def test_the_channel_is_not_changed(rng):
    for channel in (rng.integers(0, 4095, (64, 64)).astype(np.uint16), rng.random((64, 64), np.float32)):
        before = channel.copy()
        merge_float([channel])
        assert np.array_equal(channel, before)


@pytest.mark.parametrize("channel", [np.zeros((5, 5), np.uint8), np.full((4, 4), 7.5), np.zeros((0, 3), np.uint16)])
def test_a_channel_without_contrast_is_an_error(channel):
    with pytest.raises(ConstantImageError):
        normalise(channel)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    channel = np.arange(16, dtype=np.float32).reshape(4, 4)
    channel[2, 2] = bad
    with pytest.raises(NotFiniteImageError):
        normalise(channel)
    with pytest.raises(NotFiniteImageError, match="Channel 2 of 2"):
        merge_channels([np.arange(16).reshape(4, 4), channel])


def test_merging_averages_normalised_channels_and_rounds_once(rng):
    channels = [
        rng.integers(0, top, (90, 110)).astype(dtype) for top, dtype in ((255, "u1"), (4095, "u2"), (60000, "u2"))
    ]
    mean = np.mean([by_definition(channel) for channel in channels], axis=0, dtype=np.float64)
    merged = merge_float(channels)
    assert merged.dtype == np.float32
    assert np.abs(merged - mean).max() < 1e-6
    assert np.array_equal(merge_channels(channels), to_grey8(merged))
    # the published procedure works on 8-bit channels and cuts off: within one grey level
    published = (mean * 255).astype(np.uint8)
    assert np.abs(merge_channels(channels).astype(int) - published).max() <= 1


def test_rounding_is_to_nearest():
    assert to_grey8(np.array([[0, 0.4999 / 255, 0.5001 / 255, 1]], np.float32)).tolist() == [[0, 0, 1, 255]]


def test_channels_must_have_one_shape(rng):
    with pytest.raises(CytoImageNetError, match="4 x 4, 4 x 5"):
        merge_float([np.eye(4), np.zeros((4, 5))])
    with pytest.raises(CytoImageNetError, match="none"):
        merge_float([])


def test_eight_bits_in_one_pass_equal_rounding_in_three():
    every = np.arange(0, 0x3F800001, 4099, dtype=np.uint32).view(np.float32)  # floats from 0 to 1, bit by bit
    halves = ((np.arange(255) + 0.5) / 255).astype(np.float32)
    for values in (every.reshape(-1, 1), halves.reshape(5, 51), halves.reshape(5, 51)[:, ::2], every[:0].reshape(0, 3)):
        expected = np.rint(values * np.float32(255)).astype(np.uint8)
        assert np.array_equal(to_grey8(values), expected)
        assert to_grey8(values).shape == values.shape
        assert np.array_equal(to_grey8(values.astype(np.float64)), np.rint(values.astype(np.float64) * 255))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", ">u2", "int16", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 7), (32, 5), (33, 5), (100, 41)])
def test_adding_by_rows_equals_adding_the_normalised_channel(dtype, shape):
    rng = np.random.default_rng(7)
    channels = [rng.integers(0, 2 if dtype == "bool" else 200, shape).astype(dtype) for _ in range(3)]
    for channel in channels:
        channel.flat[:2] = 0, 1
    total = normalise(channels[0])
    for channel in channels[1:]:
        total = total + normalise(channel)
    assert np.array_equal(merge_float(channels), total / np.float32(3))


def test_a_channel_that_cannot_be_added_leaves_the_sum_unchanged():
    total = np.ones((3, 3), np.float32)
    for channel, error in [
        (np.zeros((3, 3), np.uint8), ConstantImageError),
        (np.full((3, 3), np.nan), NotFiniteImageError),
    ]:
        with pytest.raises(error):
            add_normalised(channel, total)
    assert (total == 1).all()
