"""What is drawn into an image raises the measurement that is meant for it, and blur and noise do not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cytoimagenet.eval.audit.pixels import STATISTICS, measure, statistics
from cytoimagenet.eval.audit.shapes import drawn, extreme, thin


@pytest.fixture
def cells():
    rng = np.random.default_rng(0)
    plane = cv2.GaussianBlur(rng.normal(0, 1, (96, 128)).astype(np.float32), (0, 0), 5)
    return np.clip(100 + 30 * plane / plane.std(), 20, 200).astype(np.uint8)


def test_letters_are_thin_lines_close_together(cells):
    written = cells.copy()
    cv2.putText(written, "DMSO 24h", (5, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    bright, dark, densest = thin(cells)
    assert bright == dark == np.float64(np.log(1e-3))
    assert densest == 0
    bright, _, densest = thin(written)
    assert bright > np.log(0.01)
    assert densest > 0.1


@pytest.mark.parametrize("level", [255, 0])
def test_bars_and_marks_are_measured_and_counted(level):
    image = np.full((96, 128), 120, np.uint8)
    assert drawn(image) == (0, 0, 0)
    image[85:88, 70:110] = level  # a bar of 40 of 128 pixels
    for left in (10, 20, 30):  # three marks, and one pixel that is too small for a mark
        image[20:26, left : left + 4] = level
    image[40, 60] = level
    assert drawn(image) == (40 / 128, 40 / 128, pytest.approx(np.log(4)))
    # what has soft edges was not drawn
    step = 60 if level else -60
    image[84:89, 69:111] = level - step
    image[85:88, 70:110] = level
    assert drawn(image) == (40 / 128, 0, pytest.approx(np.log(4)))


@pytest.mark.parametrize("level", [250, 5])
def test_an_even_blob_is_large_and_flat(cells, level):
    covered = cells.copy()
    cv2.ellipse(covered, (60, 48), (30, 20), 0, 0, 360, level, -1)
    plane = covered.astype(np.float32)
    length, area, flatness = extreme(covered, plane, bright=level > 128)
    assert length == pytest.approx(61 / 128, abs=0.03)
    assert area == pytest.approx(np.pi * 30 * 20 / cells.size, rel=0.05)
    assert flatness > 0.85
    assert extreme(covered, plane, bright=level < 128) == (0, 0, 0)


def test_a_background_is_no_object():
    image = np.zeros((50, 50), np.uint8)
    image[:20] = 100
    assert extreme(image, image.astype(np.float32), bright=False) == (0, 0, 0)


def test_every_statistic_has_a_name(cells):
    assert statistics(cells).shape == (len(STATISTICS),)
    assert measure([cells, cells[:40]]).statistics.shape == (2, len(STATISTICS))
    assert np.isfinite(statistics(np.zeros((8, 8), np.uint8))).all()
