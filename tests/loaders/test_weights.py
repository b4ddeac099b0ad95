"""Weights of classes and images, by hand-made numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cytoimagenet.loaders.index import Index
from cytoimagenet.loaders.weights import class_weights, sample_weights

EMPTY = np.empty(0, np.int64)
INDEX = Index("", "", "train", ("a", "b", "c", "d"), ("x",) * 4, (), EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, 0)


def index_of(*counts: int) -> Index:
    """Return an index with this many images of each class."""
    return replace(INDEX, label=np.repeat(np.arange(len(counts)), counts))


def test_a_class_weighs_the_inverse_of_its_images():
    # 45 images of 3 classes that have images: 45 / (3 x 30), 45 / (3 x 10), 0 without images, 45 / (3 x 5)
    assert class_weights(index_of(30, 10, 0, 5)).tolist() == [0.5, 1.5, 0.0, 3.0]


def test_classes_of_equal_size_weigh_1():
    assert class_weights(index_of(7, 7, 7, 7)).tolist() == [1.0] * 4


def test_an_image_has_the_weight_of_its_class():
    index = replace(INDEX, label=np.array([3, 0, 0, 1, 0, 1]))
    # 6 images of 3 classes: a has 3, b has 2, d has 1
    assert sample_weights(index).tolist() == pytest.approx([2, 2 / 3, 2 / 3, 1, 2 / 3, 1])


def test_every_class_has_the_same_total_weight():
    index = index_of(1, 20, 300, 4)
    totals = np.bincount(index.label, sample_weights(index))
    assert totals.tolist() == pytest.approx([325 / 4] * 4)


def test_a_folder_is_read_and_its_split_counted(small_dataset):
    assert class_weights(small_dataset).tolist() == pytest.approx([1] * 5)
    assert sample_weights(small_dataset, "validation").shape == (30,)
