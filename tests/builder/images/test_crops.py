"""Crops are inside their quadrants, and the same in every run."""

import numpy as np
import pytest
from cytoimagenet.builder.images.crops import MAX_CROPS, MIN_SIDE, SCALES, crop_boxes, crops_per_image
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("images", "crops"),
    [(1, 4), (287, 4), (399, 4), (400, 3), (549, 3), (550, 2), (999, 2), (1000, 1), (10_000, 1)],
)
def test_small_classes_get_more_crops(images, crops):
    assert crops_per_image(images) == crops


@given(st.text(max_size=20), st.integers(0, 2**63), st.integers(1, 3000), st.integers(1, 3000))
def test_every_crop_is_in_another_quadrant_and_has_the_size_of_its_scale(idx, seed, height, width):
    boxes = crop_boxes(idx, seed, height, width)
    if min(height, width) < 140:
        assert boxes == []
        return
    assert len(boxes) == MAX_CROPS
    windows = set()
    for box in boxes:
        assert 0 <= box.x_min < box.x_max <= width
        assert 0 <= box.y_min < box.y_max <= height
        assert box.x_max - box.x_min == int(width * box.scaling) >= MIN_SIDE
        assert box.y_max - box.y_min == int(height * box.scaling) >= MIN_SIDE
        right, below = box.x_min >= width - width // 2, box.y_min >= height - height // 2
        assert right or box.x_max <= width // 2
        assert below or box.y_max <= height // 2
        windows.add((right, below))
    assert len(windows) == MAX_CROPS
    scales = [box.scaling for box in boxes]
    possible = [s for s in SCALES if min(int(height * s), int(width * s)) >= MIN_SIDE]
    assert set(scales[: len(possible)]) == set(possible[:MAX_CROPS])
    assert crop_boxes(idx, seed, height, width) == boxes


def test_at_half_scale_a_crop_is_its_quadrant():
    boxes = crop_boxes("a", 0, 200, 301)
    assert {(b.x_min, b.y_min, b.x_max, b.y_max) for b in boxes} == {
        (0, 0, 150, 100), (151, 0, 301, 100), (0, 100, 150, 200), (151, 100, 301, 200),
    }  # fmt: skip


def test_the_crops_of_a_row_never_change():
    # a change of numpy, or of this module, that moves crops would change every dataset
    assert [tuple(b) for b in crop_boxes("bbbc006-7", 0, 520, 696)] == [
        (0, 348, 260, 520, 0.5), (453, 627, 40, 170, 0.25), (348, 696, 260, 520, 0.5), (38, 212, 12, 142, 0.25),
    ]  # fmt: skip


def test_rows_and_seeds_differ_and_positions_are_uniform():
    def places(seed):
        return [
            (b.x_min, b.y_min)
            for n in range(400)
            for b in crop_boxes(f"r-{n}", seed, 1120, 1120)
            if b.scaling == 1 / 16
        ]

    first, second = places(0), places(1)
    assert first != second
    # 1/16 of 1120 is 70; a window of 560 leaves 491 positions on each side, in both halves
    x = np.array(first)[:, 0]
    inside = np.where(x >= 560, x - 560, x)
    assert inside.min() >= 0
    assert inside.max() <= 490
    assert abs(inside.mean() - 245) < 4 * 142 / np.sqrt(len(inside))
    assert 0.4 < (x >= 560).mean() < 0.6
