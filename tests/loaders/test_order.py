"""The order of an epoch and its batches, by hand-made numbers and pinned results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders import order
from cytoimagenet.loaders.index import Index

EMPTY = np.empty(0, np.int64)
INDEX = replace(
    Index("", "", "train", ("a", "b"), ("x", "x"), (), EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, 0),
    label=np.array([0, 0, 0, 0, 0, 0, 1, 1]),
)


def batches(images, batch_size, **options):
    return [batch.tolist() for batch in order.batches(np.arange(images), batch_size, **options)]


def test_the_order_for_random_access_is_pinned():
    """A change of these numbers would change every training run."""
    assert (
        order.random_access(INDEX, 0, 0).tolist() == np.random.default_rng([0, 0, 0x6379746F]).permutation(8).tolist()
    )
    assert order.random_access(INDEX, 0, 0).tolist() == [1, 7, 4, 2, 6, 0, 5, 3]
    assert order.random_access(INDEX, 0, 0, balance=True).tolist() == [1, 7, 1, 0, 0, 6, 1, 7]


def test_balance_samples_both_classes_equally_often():
    label = np.array([0] * 900 + [1] * 100)
    index = replace(INDEX, label=label)
    sampled = label[order.random_access(index, 1, 0, balance=True)]
    assert len(sampled) == 1000
    assert 450 < sampled.sum() < 550  # standard deviation 16


def test_windows_stay_together():
    window = np.array([2, 0, 1, 0, 2, 1, 1])
    for epoch in range(20):
        seen = window[order.by_window(window, 5, epoch)]
        assert sorted(seen.tolist()) == [0, 0, 1, 1, 1, 2, 2]
        assert len(np.flatnonzero(np.diff(seen))) == 2


def test_batches_in_training_are_full_and_equally_many():
    # 11 images, 2 processes with batches of 2: 2 batches each, 3 images left out
    assert batches(11, 2, rank=0, world=2) == [[0, 1], [2, 3]]
    assert batches(11, 2, rank=1, world=2) == [[4, 5], [6, 7]]
    assert order.count(11, 2, world=2) == 2


def test_too_few_images_for_a_full_batch_give_one_smaller_batch():
    assert batches(5, 8, rank=0, world=2) == [[0, 1]]
    assert batches(5, 8, rank=1, world=2) == [[2, 3]]
    assert order.count(5, 8, rank=1, world=2) == 1
    with pytest.raises(UsageError, match="1 images can't be divided among 2 processes"):
        batches(1, 8, rank=0, world=2)


def test_batches_in_evaluation_contain_every_image_once():
    # 4 batches for 3 processes: 1, 1 and 2
    assert [batches(7, 2, rank=rank, world=3, training=False) for rank in range(3)] == [
        [[0, 1]],
        [[2, 3]],
        [[4, 5], [6]],
    ]
    assert [order.count(7, 2, rank=rank, world=3, training=False) for rank in range(3)] == [1, 1, 2]
