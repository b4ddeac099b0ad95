"""Near duplicates are found whatever was done to the copy, and images that only look alike are not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from cytoimagenet.eval.audit.duplicates import connected, find_duplicates, groups_of
from cytoimagenet.eval.audit.pixels import measure
from cytoimagenet.eval.audit.registration import similarity
from hypothesis import given
from hypothesis import strategies as st


def textured(seed, side=96):
    """Return an image of blobs and details that no other seed has."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 1.2)
    wide = cv2.GaussianBlur(rng.normal(0, 1, (side, side)).astype(np.float32), (0, 0), 6)
    plane = 2 * wide / wide.std() + fine / fine.std()
    return np.clip(128 + 32 * plane, 0, 255).astype(np.uint8)


def moved(image, down, right):
    height, width = image.shape
    motion = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(image, motion, (width, height), borderMode=cv2.BORDER_REPLICATE)


ALTERED = {
    "rotated": lambda image: np.rot90(image).copy(),
    "mirrored": lambda image: image[:, ::-1].copy(),
    "contrast": lambda image: (40 + 0.5 * image).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 2).astype(np.uint8),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "twice the size": lambda image: cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "jpeg": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 0),
    "shifted": lambda image: moved(image, 7, -8),
    "cropped": lambda image: image[8:, 9:].copy(),
    "several": lambda image: (30 + 0.6 * moved(np.rot90(image)[::-1].copy(), -5, 6)).astype(np.uint8),
}


@pytest.mark.parametrize("how", ALTERED)
def test_copies_are_found_and_nothing_else(how):
    images = [textured(seed) for seed in range(40)]
    images += [ALTERED[how](textured(seed)) for seed in range(10)]
    found = find_duplicates(measure(images))
    assert sorted(map(tuple, found.pairs.tolist())) == [(seed, 40 + seed) for seed in range(10)]
    assert found.group.tolist() == [*range(10), *[-1] * 30, *range(10)]


def test_cells_that_look_alike_are_no_copies():
    y, x = np.mgrid[:64, :64]
    cells = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        row, column, tall, wide = *rng.uniform(26, 38, 2), *rng.uniform(12, 18, 2)
        round_cell = 1 / (1 + np.exp(12 * (np.hypot((y - row) / tall, (x - column) / wide) - 1)))
        inside = cv2.GaussianBlur(rng.normal(0, 1, (64, 64)).astype(np.float32), (0, 0), 3)
        plane = 40 + round_cell * (120 + 15 * inside / inside.std()) + rng.normal(0, 2, (64, 64))
        cells.append(np.clip(plane, 0, 255).astype(np.uint8))
    assert not len(find_duplicates(measure(cells)).pairs)


def test_the_result_depends_on_neither_threads_nor_constant_images():
    images = [textured(seed) for seed in range(30)] + [np.zeros((40, 50), np.uint8)] * 3 + [textured(3)[::-1].copy()]
    one, two = (find_duplicates(measure(images), workers=workers) for workers in (1, 3))
    assert one.pairs.tolist() == two.pairs.tolist() == [[3, 33]]
    assert np.array_equal(one.similarity, two.similarity)


def test_similarity_is_high_for_a_copy_and_low_for_another_image():
    pixels = measure([textured(0), moved(textured(0)[::-1].copy(), 6, -4), textured(1)])
    copy, other = similarity(pixels.copies, np.array([[0, 1], [0, 2]]))
    assert copy.min() > 0.95
    assert other.max() < 0.5


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12))
def test_groups_are_the_connected_components(links):
    group = {i: {i} for i in range(12)}
    for a, b in links:
        union = group[a] | group[b]
        for i in union:
            group[i] = union
    pairs = np.array(links, np.int64).reshape(-1, 2)
    component, number = connected(pairs, 12), groups_of(pairs, 12)
    for i in range(12):
        assert set(np.flatnonzero(component == component[i]).tolist()) == group[i]
        assert (number[i] >= 0) == (len(group[i]) > 1)
        if number[i] >= 0:
            assert set(np.flatnonzero(number == number[i]).tolist()) == group[i]
    used = [n for i, n in enumerate(number.tolist()) if n >= 0 and n not in number[:i].tolist()]
    assert used == list(range(len(used)))  # numbered in the order of their first images
