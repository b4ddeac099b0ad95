"""Intervals fulfil their definition."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest
from cytoimagenet.eval.scores.intervals import grouped_bootstrap, paired_interval, wilson
from cytoimagenet.eval.tasks.registry import TASKS
from hypothesis import given
from hypothesis import strategies as st


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_the_observed_share_is_z_standard_errors_from_the_ends_of_wilson(n, share):
    correct = round(share * n)
    for end in wilson(correct, n):
        assert 0 <= end <= 1
        # by definition the observed share is z standard errors from the end, computed at the end
        distance, error = abs(correct / n - end), sqrt(end * (1 - end) / n)
        assert distance == pytest.approx(1.959963985 * error, abs=1e-7)
    assert wilson(correct, n)[0] <= correct / n <= wilson(correct, n)[1]


def test_wilson_refuses_what_is_not_a_proportion():
    for correct, n in ((0, 0), (3, 2), (-1, 5)):
        with pytest.raises(ValueError, match="not a proportion"):
            wilson(correct, n)


def test_the_published_intervals_are_walds():
    """The half widths in the tasks are those of Wald's interval, 1.96 standard errors, for 86 and 89 of 103."""
    for kind, correct in (("imagenet", 86), ("fusion", 89)):
        share = correct / 103
        half_width = 100 * 1.959963985 * sqrt(share * (1 - share) / 103)
        assert TASKS["bbbc021"].published["", kind].half_width == pytest.approx(half_width, abs=0.005)


def test_grouped_bootstrap_agrees_with_every_resample():
    correct, groups = np.array([1, 1, 0, 0, 1, 0, 1], bool), np.array(list("aabbbcc"))
    shares = []
    for drawn in product("abc", repeat=3):
        rows = np.concatenate([np.flatnonzero(groups == g) for g in drawn])
        shares.append(correct[rows].mean())
    low, high, n = grouped_bootstrap(correct, groups, draws=20_000)
    assert n == 3
    expected = np.quantile(shares, [0.025, 0.975], method="inverted_cdf")
    assert (low, high) == pytest.approx(expected)


def test_grouped_bootstrap_is_wider_when_groups_are_right_or_wrong_together(rng):
    groups = np.repeat(np.arange(20), 50)
    together = np.repeat(rng.random(20) < 0.7, 50)
    low, high, _ = grouped_bootstrap(together, groups)
    plain_low, plain_high = wilson(int(together.sum()), len(together))
    assert high - low > 4 * (plain_high - plain_low)
    assert grouped_bootstrap(together, groups) == grouped_bootstrap(together, groups)


def test_the_interval_of_a_difference_agrees_with_a_plain_bootstrap(rng):
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.6
    difference = first.astype(float) - second
    plain = [difference[rng.integers(0, 200, 200)].mean() for _ in range(20_000)]
    found = paired_interval(first, second)
    assert found == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.011)  # two steps of 1 / 200
    groups = np.repeat(np.arange(40), 5)
    sums = difference.reshape(40, 5).sum(axis=1)
    plain = [sums[rng.integers(0, 40, 40)].sum() / 200 for _ in range(20_000)]
    found = paired_interval(first, second, groups)
    assert found == pytest.approx(np.quantile(plain, [0.025, 0.975]), abs=0.011)


def test_there_is_no_interval_over_few_groups():
    right, groups = np.ones(10, bool), np.arange(10) % 4
    assert paired_interval(right, ~right, groups) is None
    assert paired_interval(right, ~right, np.arange(10) % 5) == (1.0, 1.0)
