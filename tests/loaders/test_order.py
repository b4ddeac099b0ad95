"""The order of an epoch and its batches, by hand-made numbers and pinned results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders import order
from cytoimagenet.loaders.index import Index
from cytoimagenet.loaders.order import Part
from hypothesis import given
from hypothesis import strategies as st

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


def test_the_first_images_of_an_epoch_are_pinned():
    """Also against a change of numpy's generators, which numpy allows itself."""
    index = replace(INDEX, label=np.arange(1000) % 7, class_names=tuple("abcdefg"))
    window = np.arange(1000) // 60
    assert order.random_access(index, 0, 0)[:8].tolist() == [983, 377, 180, 357, 320, 544, 879, 585]
    assert order.random_access(index, 3, 11)[:8].tolist() == [783, 799, 794, 800, 687, 274, 642, 170]
    assert order.random_access(index, 3, 11, balance=True)[:8].tolist() == [962, 944, 204, 518, 293, 736, 403, 440]
    assert order.by_window(window, 0, 0)[:8].tolist() == [907, 906, 910, 941, 940, 958, 953, 905]
    assert order.by_window(window, 3, 11)[:8].tolist() == [898, 887, 899, 859, 884, 882, 862, 840]
    # and as the batches of the second of two processes
    first, *_ = order.batches(order.random_access(index, 3, 11), 4, rank=1, world=2, accumulation=2)
    assert first.tolist() == [953, 224, 740, 660]


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


def test_an_epoch_has_full_steps():
    # 11 images in steps of 2 x 2: 2 steps; 3 images in steps of 4: one step of one batch
    assert batches(11, 2, accumulation=2) == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert order.count(11, 2, accumulation=2) == 4
    assert batches(3, 2, accumulation=2) == [[0, 1]]
    assert order.count(3, 2, accumulation=2) == 1


def test_images_left_by_two_processes():
    # process 0 gets 0-3, process 1 gets 4-7; 8 and 9 are left out
    assert order.left(np.arange(10), [Part(2, 2, 1, 1)]).tolist() == [2, 3, 6, 7, 8, 9]
    # then 4 images per step: one process continues in two batches per step
    assert order.left(np.arange(10), [Part(2, 2, 1, 1), Part(1, 2, 2, 2)]).tolist() == [8, 9]


DIVISORS = {24: [(w, b, 24 // (w * b)) for w in (1, 2, 3, 4, 6) for b in (1, 2, 3, 4, 6, 8) if 24 % (w * b) == 0]}


@given(
    images=st.integers(24, 300),
    divisions=st.lists(st.tuples(st.sampled_from(DIVISORS[24]), st.integers(0, 4)), max_size=4),
    last=st.sampled_from(DIVISORS[24]),
)
def test_an_epoch_divided_again_and_again_has_every_image_once(images, divisions, last):
    everything = np.random.default_rng(0).permutation(images)
    steps_left, parts, seen = images // 24, [], []

    def share(world, batch_size, accumulation):
        left = order.left(everything, parts)
        options = {"world": world, "accumulation": accumulation}
        return [order.batches(left, batch_size, rank=rank, **options) for rank in range(world)]

    for (world, batch_size, accumulation), steps in divisions:
        steps = min(steps, steps_left - 1)
        if steps < 1:
            continue
        plans = share(world, batch_size, accumulation)
        assert {len(plan) for plan in plans} == {steps_left * accumulation}
        seen += [image for plan in plans for ids in plan[: steps * accumulation] for image in ids]
        parts.append(order.Part(world, batch_size, accumulation, steps * accumulation))
        assert parts[-1].images_per_step == 24
        steps_left -= steps
    plans = share(*last)
    assert {len(plan) for plan in plans} == {steps_left * last[2]}
    seen += [image for plan in plans for ids in plan for image in ids]
    assert len(seen) == len(set(seen)) == images // 24 * 24


@given(images=st.integers(24, 300), division=st.sampled_from(DIVISORS[24]), steps=st.integers(1, 12))
def test_the_same_processes_continue_with_the_same_batches(images, division, steps):
    world, batch_size, accumulation = division
    steps = min(steps, images // 24 - 1)
    everything = np.random.default_rng(0).permutation(images)
    left = order.left(everything, [Part(world, batch_size, accumulation, steps * accumulation)])
    for rank in range(world):
        options = {"rank": rank, "world": world, "accumulation": accumulation}
        whole = order.batches(everything, batch_size, **options)
        rest = order.batches(left, batch_size, **options)
        assert [ids.tolist() for ids in whole[steps * accumulation :]] == [ids.tolist() for ids in rest]


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
