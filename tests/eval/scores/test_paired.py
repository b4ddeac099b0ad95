"""Paired tests equal an enumeration of all cases."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from cytoimagenet.eval.scores.paired import grouped_permutation, holm, mcnemar
from hypothesis import given
from hypothesis import strategies as st


@given(both=st.integers(0, 30), first=st.integers(0, 20), second=st.integers(0, 20))
def test_mcnemar_is_a_binomial_test_of_the_samples_that_differ(both, first, second):
    a = np.array([True] * (both + first) + [False] * second + [False] * 3)
    b = np.array([True] * both + [False] * first + [True] * second + [False] * 3)
    found = mcnemar(a, b)
    n = first + second
    weights = [comb(n, i) for i in range(n + 1)]
    expected = Fraction(sum(w for w in weights if w <= weights[first]), 2**n)
    assert found["p"] == pytest.approx(float(expected))
    assert (found["both"], found["only_first"], found["only_second"], found["neither"]) == (both, first, second, 3)


@given(seed=st.integers(0, 10_000), groups=st.integers(1, 6))
def test_grouped_permutation_tries_every_swap(seed, groups):
    rng = np.random.default_rng(seed)
    n = 20
    group, a, b = rng.integers(0, groups, n), rng.random(n) < 0.7, rng.random(n) < 0.5
    observed = abs(int(a.sum()) - int(b.sum()))
    as_large = 0
    swaps = list(product([False, True], repeat=groups))
    for swap in swaps:
        swapped = np.array(swap)[group]
        total = np.where(swapped, b, a).sum() - np.where(swapped, a, b).sum()
        as_large += abs(int(total)) >= observed
    assert grouped_permutation(a, b, group) == pytest.approx(as_large / len(swaps))


@given(seed=st.integers(0, 10_000), groups=st.integers(2, 7), parts=st.sampled_from([1, 3, 7, 10, 21]))
def test_grouped_permutation_counts_equal_sums_of_fractions(seed, groups, parts):
    """Sums of thirds or tenths that are equal as fractions often differ as floats; the oracle computes fractions."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, 12)
    a, b = ([Fraction(int(n), parts) for n in rng.integers(0, 2 * parts, 12)] for _ in range(2))
    by_group = [
        sum((x - y for x, y, of in zip(a, b, group, strict=True) if of == g), Fraction()) for g in range(groups)
    ]
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, by_group, strict=True)))
        for signs in product((1, -1), repeat=groups)
    ]
    expected = np.mean([one >= abs(sum(by_group)) for one in sums])
    assert grouped_permutation(np.array(a, float), np.array(b, float), group) == pytest.approx(expected)


def test_sums_of_thirds_with_many_groups_count_as_those_of_whole_numbers():
    rng = np.random.default_rng(3)
    a, b, group = rng.integers(0, 4, 60), rng.integers(0, 4, 60), np.arange(60) // 3
    assert grouped_permutation(a / 3, b / 3, group) == grouped_permutation(a, b, group)


def test_grouped_permutation_is_more_conservative_than_mcnemar():
    group = np.repeat(np.arange(20), 50)
    better = np.isin(group, np.arange(12))  # in 12 groups the first is always right alone, in 8 the second
    assert mcnemar(better, ~better)["p"] < 1e-9
    assert grouped_permutation(better, ~better, group) == pytest.approx(0.5, abs=0.03)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_step_down_procedure(p_values):
    """At every level, the corrected values reject what the procedure as Holm wrote it rejects."""
    corrected = holm(p_values)
    assert all(c >= p for c, p in zip(corrected, p_values, strict=True)) and all(0 <= c <= 1 for c in corrected)
    for level in (0.01, 0.05, 0.3, *[min(c, 0.999) for c in corrected]):
        rejected, left = set(), len(p_values)
        for i in sorted(range(len(p_values)), key=lambda i: p_values[i]):
            if left * p_values[i] > level:
                break
            rejected.add(i)
            left -= 1
        # ties of p are rejected together
        assert {i for i, c in enumerate(corrected) if c <= level} == rejected
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
