"""The fast search agrees with a slow, obvious one."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.builder.errors import CheckFailedError
from cytoimagenet.eval.scores import neighbours
from cytoimagenet.eval.scores.neighbours import nearest
from hypothesis import given
from hypothesis import strategies as st


def slow(queries, candidates, k, metric, itself=False, differ=()):
    index, similarity = [], []
    for i, query in enumerate(queries.astype(np.float64)):
        found = []
        for j, candidate in enumerate(candidates.astype(np.float64)):
            if (itself and i == j) or any(a[i] == b[j] for a, b in differ):
                continue
            if metric == "euclidean":
                value = -np.sum((query - candidate) ** 2)
            else:
                lengths = np.linalg.norm(query) * np.linalg.norm(candidate)
                value = query @ candidate / lengths if lengths else 0.0
            found.append((-value, j))
        found = sorted(found)[:k] + [(np.inf, -1)] * (k - len(found))
        index.append([j for _, j in found])
        similarity.append([-value for value, _ in found])
    return np.array(index), np.array(similarity)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 40),
    m=st.integers(1, 200),
    d=st.integers(1, 9),
    k=st.integers(1, 12),
    metric=st.sampled_from(["cosine", "euclidean"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    group=st.sampled_from([2, 5, 64]),
    block=st.sampled_from([4096, 1 << 20]),
)
def test_agrees_with_the_slow_search(seed, n, m, d, k, metric, dtype, group, block):
    rng = np.random.default_rng(seed)
    queries, candidates = rng.normal(3, 1, (n, d)).astype(dtype), rng.normal(3, 1, (m, d)).astype(dtype)
    differ = ((rng.integers(0, 3, n), rng.integers(0, 3, m)),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "GROUP", group)
        patch.setattr(neighbours, "BLOCK_BYTES", block)
        index, similarity = nearest(queries, candidates, k, metric, differ=differ)
    expected, value = slow(queries, candidates, k, metric, differ=differ)
    np.testing.assert_allclose(similarity, value, rtol=1e-9, atol=1e-9)
    if d > 1 or metric == "euclidean":  # in one dimension all cosines are 1 or -1, up to the last bit
        np.testing.assert_array_equal(index, expected)


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 150),
    k=st.integers(1, 11),
    metric=st.sampled_from(["cosine", "euclidean"]),
    block=st.sampled_from([400, 10_000, 1 << 20]),
)
def test_all_against_all_agrees_with_the_slow_search(seed, n, k, metric, block):
    rng = np.random.default_rng(seed)
    points = rng.normal(3, 1, (n, 5)).astype(np.float32)
    codes = rng.integers(0, 30, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "GROUP", 4)
        patch.setattr(neighbours, "BLOCK_BYTES", block)  # tiles of 10, 50 or all points
        index, similarity = nearest(points, points, k, metric, itself=True, differ=((codes, codes),))
    expected, value = slow(points, points, k, metric, itself=True, differ=((codes, codes),))
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(similarity, value, rtol=1e-9, atol=1e-9)


@given(seed=st.integers(0, 10_000), n=st.integers(2, 120), k=st.integers(1, 11))
def test_equal_candidates_come_by_index_however_many_there_are(seed, n, k):
    points = np.random.default_rng(seed).integers(0, 2, (n, 2)).astype(np.float32)  # four places for all points
    index, similarity = nearest(points, points, k, "euclidean", itself=True)
    expected, value = slow(points, points, k, "euclidean", itself=True)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(similarity, value)


def test_a_large_offset_does_not_reduce_precision(rng):
    points = (1e6 + rng.normal(0, 1, (300, 5))).astype(np.float64)
    expected, _ = slow(points, points, 11, "euclidean", itself=True)
    np.testing.assert_array_equal(nearest(points, points, 11, "euclidean", itself=True)[0], expected)


def test_float32_alone_would_have_lost_a_neighbour():
    # a hundred candidates whose distances differ less than float32 can tell at this length
    points = np.zeros((101, 2))
    points[1:, 0] = 1.0 + np.arange(100, 0, -1) * 1e-12
    points = np.vstack([points, [[-1.0, 0.0]] * 20])
    index, _ = nearest(points[:1], points, 3, "euclidean", differ=((np.array([7]), np.r_[7, np.zeros(120, int)]),))
    assert index.tolist() == [[101, 102, 103]]
    index, _ = nearest(points[:101], points[:101], 3, "euclidean", itself=True)
    assert index[0].tolist() == [100, 99, 98]


def test_self_is_left_out_by_index_not_by_distance():
    points = np.array([[1.0, 2.0]] * 3)
    assert nearest(points, points, 2, "cosine", itself=True)[0].tolist() == [[1, 2], [0, 2], [0, 1]]


def test_an_excluded_candidate_never_wins_over_an_opposite_one():
    queries, candidates = np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [-1e30, 0.0]])
    differ = ((np.array([0]), np.array([0, 1])),)
    assert nearest(queries, candidates, 1, "cosine", differ=differ)[0].tolist() == [[1]]


def test_an_empty_pool_gives_minus_one():
    queries = np.ones((1, 2))
    index, similarity = nearest(queries, queries, 2, "cosine", itself=True)
    assert index.tolist() == [[-1, -1]]
    assert np.isneginf(similarity).all()
    assert nearest(queries, np.empty((0, 2)), 1, "cosine")[0].tolist() == [[-1]]


def test_a_row_of_zeros_has_similarity_0():
    queries, candidates = np.zeros((1, 2)), np.array([[1.0, 0.0], [-1.0, 0.0]])
    index, similarity = nearest(queries, candidates, 2, "cosine")
    assert index.tolist() == [[0, 1]]
    assert similarity.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("exponent", [-1000, -120, -60, -21, 0, 41, 60, 120, 500])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("itself", [True, False])
def test_neighbours_do_not_depend_on_the_unit(rng, exponent, metric, itself):
    points = rng.normal(size=(300, 40))
    others = points if itself else rng.normal(size=(200, 40))
    expected, similarity = nearest(others, points, 5, metric, itself=itself)
    found, scaled = nearest(np.ldexp(others, exponent), np.ldexp(points, exponent), 5, metric, itself=itself)
    np.testing.assert_array_equal(found, expected)
    if metric == "cosine" or abs(exponent) < 200:
        unit = 0 if metric == "cosine" else 2 * exponent
        np.testing.assert_allclose(np.ldexp(scaled, -unit), similarity, rtol=1e-12)


@pytest.mark.parametrize("size", [1e18, 1e19, 1e30])
def test_large_float32_numbers_agree_with_the_slow_search(rng, size):
    points = (size * rng.normal(size=(80, 20))).astype(np.float32)
    found, _ = nearest(points, points, 11, "euclidean", itself=True)
    np.testing.assert_array_equal(found, slow(points, points, 11, "euclidean", itself=True)[0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["queries", "candidates"])
def test_numbers_that_are_not_finite_are_refused(value, where):
    points = {"queries": np.eye(3), "candidates": np.eye(3)}
    points[where][1, 1] = value
    with pytest.raises(CheckFailedError, match="not finite"):
        nearest(points["queries"], points["candidates"], 1, "euclidean")


@given(seed=st.integers(0, 10_000), metric=st.sampled_from(["cosine", "euclidean"]), k=st.integers(1, 12))
def test_equal_neighbours_are_taken_in_the_order_given_whatever_their_rows(seed, metric, k):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 2, (60, 3)).astype(float)  # many are equal
    rank = rng.permutation(60)
    index, _ = nearest(points, points, k, metric, itself=True, order=rank)
    shuffled = rng.permutation(60)
    moved, _ = nearest(points[shuffled], points[shuffled], k, metric, itself=True, order=rank[shuffled])
    np.testing.assert_array_equal(shuffled[moved], index[shuffled])
