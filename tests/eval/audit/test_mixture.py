"""The share of wrong items: the interval contains it, right items only raise it, and flags are mostly right."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.audit.mixture import Estimate, by_part, compare


def simulated(true, seed, items=2000, distance=4.0):
    rng = np.random.default_rng(seed)
    wrong = rng.random(items) < true
    given = rng.normal(0, 1, items) + distance * wrong
    return given, rng.normal(distance, 1, items), wrong


@pytest.mark.parametrize("true", [0.0, 0.01, 0.05, 0.2])
def test_the_interval_contains_the_truth(true):
    inside, shares = 0, []
    for seed in range(100):
        given, made, wrong = simulated(true, seed)
        estimate = compare(given, made, np.arange(len(given))).estimate
        assert 0 <= estimate.low <= estimate.share <= estimate.high <= 1
        inside += estimate.low <= wrong.mean() <= estimate.high
        shares.append(estimate.share)
    assert inside >= 90
    assert np.mean(shares) == pytest.approx(true, abs=0.004)


def test_classes_that_look_the_same_are_not_wrong():
    # of half of the classes, labels that are wrong on purpose look right
    rng = np.random.default_rng(0)
    made = rng.normal(4 * rng.integers(0, 2, 2000), 1)
    estimate = compare(rng.normal(0, 1, 2000), made, np.arange(2000)).estimate
    assert estimate.low == 0
    assert estimate.high < 0.01


def test_the_lower_end_allows_for_right_items_that_look_wrong():
    # the two overlap, so that some right items are among the most suspicious: the estimate is too high, the end is not
    too_high = 0
    for seed in range(50):
        given, made, wrong = simulated(0.01, seed, distance=2.5)
        too_high += compare(given, made, np.arange(len(given))).estimate.low > wrong.mean()
    assert too_high <= 2


def test_items_of_one_group_count_once():
    given, made, _ = simulated(0.05, 0)
    alone = compare(given, made, np.arange(len(given))).estimate
    repeated = compare(np.repeat(given, 4), made, np.repeat(np.arange(len(given)), 4)).estimate
    assert repeated.share == pytest.approx(alone.share, abs=1e-9)
    assert repeated.high - repeated.low == pytest.approx(alone.high - alone.low, rel=0.02)


def test_the_estimate_of_a_part_allows_for_what_is_detected_there():
    # part 0: 10 of 100 are above the threshold, where every wrong label would be; part 1: the same, but half would be
    given, region = np.repeat([0, 1], 100), np.tile(np.arange(100) < 10, 2)
    made = np.repeat([0, 1], 1000)
    caught = np.where(made == 0, True, np.arange(2000) % 2 == 0)
    share, low, high = by_part(given, region, made, caught, 0.75, 3)
    assert share[:2] == pytest.approx([0.1, 0.2], rel=0.02)
    assert (low < share)[:2].all()
    assert (share < high).all()
    assert share[2] == low[2] == 0  # nothing was seen of part 2


def test_without_items_nothing_is_known():
    none = np.zeros(0)
    for given, made in ((none, none), (np.ones(3), none), (none, np.ones(3))):
        result = compare(given, made, np.arange(len(given)))
        assert result.estimate == Estimate(0, 0, 1)
        assert result.threshold == np.inf
