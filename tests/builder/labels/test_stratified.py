"""Stratified samples: exact sums, shares within one row, ties by the order of the rows."""

import numpy as np
import pytest
from cytoimagenet.builder.labels.stratified import allocate, sample
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.lists(st.integers(1, 200), min_size=1, max_size=30).map(np.array)


@given(SIZES, st.floats(0, 1), st.sampled_from(["proportional", "sqrt"]))
def test_sums_are_exact_and_no_stratum_gives_more_than_it_has(sizes, part, allocation):
    target = int(part * sizes.sum())
    shares = allocate(sizes, target, np.arange(len(sizes)), allocation)
    assert shares.sum() == target
    assert (shares >= 0).all() and (shares <= sizes).all()
    if allocation == "proportional":
        assert (np.abs(shares - sizes * target / sizes.sum()) < 1).all()


@given(SIZES, st.floats(0, 1))
def test_square_root_shares_equal_filling_step_by_step(sizes, part):
    target = int(part * sizes.sum())
    exact, left, open_ = np.zeros(len(sizes)), float(target), np.ones(len(sizes), bool)
    while open_.any():  # the obvious way: cap whoever has too much, share the rest again
        give = left * np.sqrt(sizes) * open_ / np.sqrt(sizes)[open_].sum()
        full = open_ & (give >= sizes)
        if not full.any():
            exact[open_] = give[open_]
            break
        exact[full], left, open_ = sizes[full], left - sizes[full].sum(), open_ & ~full
    shares = allocate(sizes, target, np.arange(len(sizes)), "sqrt")
    assert (np.abs(shares - exact) < 1 + 1e-6).all()


def test_largest_remainders_then_the_earlier_row():
    assert allocate(np.array([5, 3, 2]), 5, np.arange(3)).tolist() == [3, 1, 1]  # 2.5, 1.5, 1
    assert allocate(np.array([5, 3, 2]), 5, np.array([2, 1, 0])).tolist() == [2, 2, 1]
    assert allocate(np.array([900, 100]), 100, np.arange(2), "sqrt").tolist() == [75, 25]
    assert allocate(np.array([900, 4]), 100, np.arange(2), "sqrt").tolist() == [96, 4]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80).map(np.array), st.floats(0, 1))
def test_the_first_rows_of_each_stratum_are_taken(strata, part):
    target = int(part * len(strata))
    sampled = sample(strata, target)
    assert len(sampled) == len(set(sampled)) == target
    assert (np.diff(sampled) > 0).all()
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        mine = [row for row in sampled if strata[row] == stratum]
        assert mine == rows[: len(mine)].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_every_row_has_the_same_chance(seed):
    rng = np.random.default_rng(seed)
    strata = np.repeat([0, 1, 2], [50, 30, 20])
    hits = np.zeros(100)
    for _ in range(2000):
        order = rng.permutation(100)
        hits[order[sample(strata[order], 25)]] += 1
    assert np.abs(hits / 2000 - 0.25).max() < 0.05
