"""Exact nearest neighbours, in blocks: memory is bounded whatever the number of rows.

A block is compared with all candidates in float32, which only nominates: the nominees' similarities are then taken
afresh in float64 by plain differences (or products), and a bound on float32's rounding says whether any query might
have lost a neighbour before nomination. For such queries, usually none, everyone within the bound is nominated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean"]

BLOCK_BYTES = 64 << 20  # of scores, or of nominees, at once
SPARE = 8  # nominees beyond k
GROUP = 64  # candidates per group in the first pass of the selection
THREADS = min(8, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 2  # numpy lets go of the lock
UNIT = 2.0**-24  # rounding of one float32 operation


def nearest(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int,
    metric: Metric,
    *,
    itself: bool = False,
    differ: tuple[tuple[NDArray[np.integer], NDArray[np.integer]], ...] = (),
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find each query's `k` nearest candidates.

    Parameters
    ----------
    queries : array, shape (n, features)
    candidates : array, shape (m, features)
    k : int
        How many neighbours, at least 1.
    metric : "cosine" or "euclidean"
        A row of zeros has cosine similarity 0 to everything.
    itself : bool
        The queries are the candidates, in the same order: leave each one out by its index (not by its distance, which
        a duplicate shares).
    differ : tuple of pairs of int arrays
        For each pair (query codes, candidate codes): a candidate with the query's code is no candidate. -inf stands in
        its place, so it can't win, however unlike the others are.

    Returns
    -------
    index : array, shape (n, k), int64
        Candidates by falling similarity; equal ones by index; -1 where there are fewer than k.
    similarity : array, shape (n, k), float64
        Cosine, or minus the squared Euclidean distance; -inf where there is no candidate.

    Examples
    --------
    >>> points = np.array([[0.0], [1.0], [1.5], [9.0]])
    >>> nearest(points, points, 1, "euclidean", itself=True)[0].ravel()
    array([1, 2, 1, 2])
    """
    if k < 1:
        raise ValueError("k must be at least 1")
    n, m = len(queries), len(candidates)
    index = np.full((n, k), -1, np.int64)
    similarity = np.full((n, k), -np.inf)
    if m == 0:
        return index, similarity
    centre = candidates.mean(axis=0, dtype=np.float64).astype(candidates.dtype) if metric == "euclidean" else None
    prepared, length = _prepare(candidates, centre)
    half = (length**2 / 2).astype(np.float32) if metric == "euclidean" else None
    count = min(k + SPARE, m)
    if itself:
        nominees, values = _nominate_each_other(prepared, half, count, differ)
    else:
        nominees, values = _nominate(queries, prepared, centre, half, count, differ)
    rows = max(1, BLOCK_BYTES // (8 * count * queries.shape[1] * THREADS))

    def decide(start: int) -> None:
        block = slice(start, min(start + rows, n))
        exact = _similarity(queries[block], candidates, nominees[block], metric)
        exact[np.isneginf(values[block])] = -np.inf
        order = np.lexsort((nominees[block], -exact), axis=1)[:, :k]
        index[block, : order.shape[1]] = np.take_along_axis(nominees[block], order, axis=1)
        similarity[block, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decide, range(0, n, rows)))
    lowest = values.min(axis=1)
    unsure = np.flatnonzero(lowest >= _bar(queries, centre, length, similarity[:, k - 1])) if count < m else ()
    for row in unsure:
        one = slice(row, row + 1)
        scores = _scores(_prepare(queries[one], centre)[0], prepared, half)
        _exclude(scores, [(codes[one], others) for codes, others in differ])
        if itself:
            scores[0, row] = -np.inf
        bar = _bar(queries[one], centre, length, similarity[one, k - 1])
        every = np.flatnonzero((scores[0] >= bar) & ~np.isneginf(scores[0]))
        exact = _similarity(queries[one], candidates, every[None, :], metric)[0]
        best = np.lexsort((every, -exact))[:k]
        index[row, : len(best)], similarity[row, : len(best)] = every[best], exact[best]
    index[np.isneginf(similarity)] = -1
    return index, similarity


def _bar(
    queries: NDArray[np.floating],
    centre: NDArray[np.floating] | None,
    length: NDArray[np.float64],
    worst: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the float32 score that a candidate as similar as `worst` reaches for certain, query by query."""
    features, longest = queries.shape[1], float(length.max())
    if centre is None:
        return worst - UNIT * (features + 16)
    # rows are moved one block at a time: a moved copy of all would take as much memory as they do
    own = np.concatenate([_prepare(queries[i : i + 1024], centre)[1] for i in range(0, len(queries), 1024)])
    error = UNIT * ((features + 8) * own * longest + 2 * (own**2 + longest**2))
    return (worst + own**2) / 2 - error


def _scores(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], half: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return what ranks candidates: products, or for Euclid xy - yy/2, half of minus the squared distance plus xx/2."""
    scores = queries @ candidates.T
    if half is not None:
        scores -= half
    return scores


def _exclude(scores: NDArray[np.float32], differ: Sequence[tuple[NDArray, NDArray]]) -> None:
    for codes, others in differ:
        scores[codes[:, None] == others[None, :]] = -np.inf


def _nominate(
    queries: NDArray[np.floating],
    prepared: NDArray[np.float32],
    centre: NDArray[np.floating] | None,
    half: NDArray[np.float32] | None,
    count: int,
    differ: Sequence[tuple[NDArray, NDArray]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each query's `count` highest candidates in float32, and their scores."""
    n, m = len(queries), len(prepared)
    nominees, values = np.zeros((n, count), np.int64), np.full((n, count), -np.inf, np.float32)
    rows = max(1, BLOCK_BYTES // (4 * m))
    for block in (slice(start, start + rows) for start in range(0, n, rows)):
        scores = _scores(_prepare(queries[block], centre)[0], prepared, half)
        _exclude(scores, [(codes[block], others) for codes, others in differ])
        nominees[block], values[block] = _top(scores, count)
    return nominees, values


def _nominate_each_other(
    prepared: NDArray[np.float32],
    half: NDArray[np.float32] | None,
    count: int,
    differ: Sequence[tuple[NDArray, NDArray]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Do the same where queries and candidates are the same rows: a product serves both of its rows, half the work."""
    n = len(prepared)
    nominees, values = np.zeros((n, count), np.int64), np.full((n, count), -np.inf, np.float32)
    side = max(1, isqrt(BLOCK_BYTES // 4))
    tiles = [slice(start, min(start + side, n)) for start in range(0, n, side)]
    for number, rows in enumerate(tiles):
        for columns in tiles[number:]:
            products = prepared[rows] @ prepared[columns].T
            sides = [(rows, columns, products)]
            if rows != columns:
                sides.insert(0, (columns, rows, np.ascontiguousarray(products.T)))
            for here, there, scores in sides:
                if half is not None:
                    scores -= half[there]
                if here == there:
                    np.fill_diagonal(scores, -np.inf)
                _exclude(scores, [(codes[here], others[there]) for codes, others in differ])
                found, high = _top(scores, min(count, scores.shape[1]))
                both = np.concatenate([values[here], high], axis=1)
                named = np.concatenate([nominees[here], found + there.start], axis=1)
                kept = np.argpartition(both, both.shape[1] - count, axis=1)[:, both.shape[1] - count :]
                values[here] = np.take_along_axis(both, kept, axis=1)
                nominees[here] = np.take_along_axis(named, kept, axis=1)
    return nominees, values


def _prepare(
    rows: NDArray[np.floating], centre: NDArray[np.floating] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return rows as float32, moved to `centre` (or, without one, scaled to unit length), and their lengths.

    Moving all points alike changes no distance and keeps float32's digits for what differs.
    """
    if centre is not None:
        moved = np.subtract(rows, centre, dtype=rows.dtype).astype(np.float32, copy=False)
        return moved, np.sqrt(np.einsum("ij,ij->i", moved, moved, dtype=np.float64))
    length = _length(rows)
    return (rows / length[:, None].astype(rows.dtype)).astype(np.float32, copy=False), np.ones(len(rows))


def _length(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    length[length == 0] = 1.0  # a row of zeros points nowhere: its products are 0
    return length


def _top(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the columns of the `count` largest scores of each row, in no order, and those scores."""
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(partial(_top_rows, count=count), np.array_split(scores, THREADS)))
    return np.concatenate([found for found, _ in parts]), np.concatenate([high for _, high in parts])


def _top_rows(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Do it for some of the rows.

    The largest `count` of a row lie in the `count` groups of columns with the largest maxima, so only those are
    looked into: a fraction of the work of partitioning whole rows. A group is every so-many-th column, so that the
    maxima are taken of whole stretches of memory.
    """
    n, m = scores.shape
    groups = m // GROUP
    if groups > 2 * count:
        highest = scores[:, : groups * GROUP].reshape(n, GROUP, groups).max(axis=1)
        picked = np.argpartition(highest, groups - count, axis=1)[:, groups - count :]
        columns = (picked[:, :, None] + groups * np.arange(GROUP)).reshape(n, count * GROUP)
        tail = np.broadcast_to(np.arange(groups * GROUP, m), (n, m - groups * GROUP))
        columns = np.concatenate([columns, tail], axis=1)
        values = np.take_along_axis(scores, columns, axis=1)
    else:
        columns, values = np.broadcast_to(np.arange(m), (n, m)), scores
    top = np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
    return np.take_along_axis(columns, top, axis=1), np.take_along_axis(values, top, axis=1)


def _similarity(
    queries: NDArray[np.floating], candidates: NDArray[np.floating], columns: NDArray[np.integer], metric: Metric
) -> NDArray[np.float64]:
    """Return float64 similarities of each query with the candidates in its row of `columns`."""
    found = np.empty(columns.shape)
    width, features = columns.shape[1], queries.shape[1]
    rows = max(1, BLOCK_BYTES // (8 * max(width * features, 1)))
    wide = max(1, BLOCK_BYTES // (8 * features))  # a single query may have more nominees than memory should hold
    for i in range(0, len(queries), rows):
        for j in range(0, width, wide):
            query, some = queries[i : i + rows, None], candidates[columns[i : i + rows, j : j + wide]]
            if metric == "euclidean":
                apart = np.subtract(some, query, dtype=np.float64)
                found[i : i + rows, j : j + wide] = -np.einsum("ijk,ijk->ij", apart, apart)
            else:
                query, some = query.astype(np.float64), some.astype(np.float64)
                product = np.einsum("ijk,ilk->ij", some, query)
                lengths = _length(some.reshape(-1, features)).reshape(some.shape[:2])
                found[i : i + rows, j : j + wide] = product / lengths / _length(query[:, 0])[:, None]
    return found
