"""One image for every reason of rejection; the numbers of a histogram are numpy's."""

from pathlib import Path

import numpy as np
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.images.quality import Levels, judge, judge_crop
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def _noise(shape=(64, 64), low=0, high=256):
    return np.random.default_rng(0).integers(low, high, shape).astype(np.uint8)


def _mostly(value, other, share=0.2):
    image = np.full((100, 100), value, np.uint8)
    image[: int(100 * share)] = other
    return image


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((0, 5), np.uint8), "empty"),
        (np.zeros((9, 9), np.uint8), "empty"),
        (np.full((9, 9), 7, np.uint8), "constant"),
        (_mostly(0, 255, 0.5), "binary_mask"),
        (np.where(_noise((100, 100)) < 250, 0, _noise((100, 100))), "dim"),
        (_noise((80, 80), 254, 256), "binary_mask"),
        (np.where(_noise((100, 100)) < 250, 255, _noise((100, 100))), "saturated"),
        (_noise(), None),
        (_mostly(1, 200, 0.5) + (np.arange(100) % 3).astype(np.uint8), None),
    ],
)
def test_planted_defects(image, reason):
    verdict = judge(Levels(image))
    assert (verdict and verdict.reason) == reason


def test_a_few_odd_pixels_do_not_hide_a_constant_image():
    image = np.full((100, 100), 5, np.uint8)
    image[0, :5] = [0, 9, 200, 255, 100]  # 0.05 %
    assert judge(Levels(image)).reason == "constant"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((10, 10), np.uint8), "empty"),
        (np.ones((10, 10), np.uint8), "dim"),
        (np.full((10, 10), 2, np.uint8), None),
        (np.full((10, 10), 254, np.uint8), "saturated"),
        (np.full((10, 10), 253, np.uint8), None),
        (_mostly(0, 255, 0.24), "dim"),
        (_mostly(0, 255, 0.26), None),
    ],
)
def test_crops_are_judged_before_they_are_normalised(image, reason):
    verdict = judge_crop(Levels(image))
    assert (verdict and verdict.reason) == reason


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.sampled_from([0.1, 75, 99.9, 33.3]))
def test_mean_entropy_and_percentiles_are_numpys(image, q):
    levels = Levels(image)
    assert levels.percentile(q) == pytest.approx(np.percentile(image, q), abs=1e-9)
    assert levels.mean == pytest.approx(image.mean())
    assert levels.used == len(np.unique(image))
    share = np.unique(image, return_counts=True)[1] / image.size
    assert levels.entropy == pytest.approx(-(share * np.log2(share)).sum(), abs=1e-9)


def test_every_reason_is_given_somewhere():
    package = Path(schema.__file__).parent
    files = (path for path in package.rglob("*.py") if path.name != "schema.py" and path.parent.name != "simulate")
    code = "".join(path.read_text() for path in files)
    assert [reason for reason in schema.REASONS if f'"{reason}"' not in code] == []
