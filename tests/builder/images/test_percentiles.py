"""The fast percentiles are bit-identical to numpy's."""

import numpy as np
import pytest
from cytoimagenet.builder.images import percentiles
from cytoimagenet.builder.images.percentiles import MIN_PIXELS_TO_SAMPLE, tail_percentiles
from hypothesis import given
from hypothesis import strategies as st

SHAPES = ("uniform", "normal", "skewed", "ties", "mostly zero", "sorted", "two values", "steps of the sample")


def _values(shape: str, n: int, seed: int, dtype) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = {
        "uniform": lambda: rng.random(n),
        "normal": lambda: rng.normal(0, 1e3, n),
        "skewed": lambda: rng.gamma(0.1, 1, n),
        "ties": lambda: rng.integers(0, 9, n) / 7,
        "mostly zero": lambda: np.where(rng.random(n) < 0.9995, 0, rng.random(n)),
        "sorted": lambda: np.sort(rng.random(n)),
        "two values": lambda: (rng.random(n) < 0.001).astype(float),
        # the sample sees none of the small values: the tail is too short and all is sorted instead
        "steps of the sample": lambda: np.where(
            np.arange(n) % max(1, n // percentiles.SAMPLE) == 0, 5.0, rng.random(n)
        ),
    }
    return values[shape]().astype(dtype)


@given(
    st.sampled_from(SHAPES),
    st.one_of(st.integers(1, 300), st.integers(MIN_PIXELS_TO_SAMPLE, MIN_PIXELS_TO_SAMPLE + 50_000)),
    st.integers(0, 99),
    st.sampled_from([np.float32, np.float64, np.int64, np.uint32]),
    st.sampled_from([(0.1, 99.9), (0, 100), (2.5, 50.1), (33.3, 66.7)]),
)
def test_both_percentiles_are_bit_identical_to_numpys(shape, n, seed, dtype, bounds):
    values = _values(shape, n, seed, np.float64)
    values = (values * 1e5 + 1e6).astype(dtype) if np.dtype(dtype).kind in "ui" else values.astype(dtype)
    assert tail_percentiles(values, *bounds) == tuple(np.percentile(values, bounds))


@pytest.mark.parametrize("shape", ["uniform", "skewed"])
def test_only_the_tails_are_sorted(shape, monkeypatch):
    monkeypatch.setattr(np, "percentile", lambda *_: pytest.fail("everything was sorted"))
    values = _values(shape, 300 * 300, 0, np.float32).reshape(300, 300)
    low, high = tail_percentiles(values, 0.1, 99.9)
    assert (values < low).sum() == 90
    assert (values > high).sum() == 90
