"""Exact nearest neighbours, computed in blocks so that memory is bounded for any number of rows.

A block of queries is compared with all candidates in float32, which gives a short list per query. The similarities of
the short list are then computed in float64, by plain differences (or products). A bound on the rounding of float32
shows for which queries a neighbour may be missing from the short list; for these, usually none, all candidates within
the bound are computed in float64.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...builder.errors import CheckFailedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean"]

BLOCK_BYTES = 64 << 20  # of scores, or of short lists, in memory at once
EXTRA_NEIGHBOURS = 8  # candidates kept beyond k, which exact distances then put in order
GROUP = 64  # candidates per group in the first pass of the selection
THREADS = min(8, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 2  # numpy releases the lock
SMALLEST_USUAL, LARGEST_USUAL = 2.0**-20, 2.0**40
"""Between these, products and squares of numbers of the largest size fit into float32 with much to spare."""
FLOAT32_ROUNDING = 2.0**-24  # largest relative error of one operation


def nearest(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int,
    metric: Metric,
    *,
    itself: bool = False,
    differ: tuple[tuple[NDArray[np.integer], NDArray[np.integer]], ...] = (),
    order: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Find each query's `k` nearest candidates.

    Parameters
    ----------
    queries : array, shape (n, features)
    candidates : array, shape (m, features)
    k : int
        Number of neighbours, at least 1.
    metric : "cosine" or "euclidean"
        A row of zeros has cosine similarity 0 to every row.
    itself : bool
        The queries are the candidates, in the same order. Each query is excluded from its own candidates by its index
        (not by distance 0, which duplicates share).
    differ : tuple of pairs of int arrays
        For each pair (codes of queries, codes of candidates): candidates with the code of the query are excluded. They
        never win, however dissimilar the other candidates are.
    order : int array, shape (m,), optional
        Equally similar candidates are taken in this order, by default in that of their rows.

    Returns
    -------
    index : array, shape (n, k), int64
        Candidates in order of decreasing similarity, equal ones by `order`; -1 where there are fewer than k.
    similarity : array, shape (n, k), float64
        Cosine, or minus the squared Euclidean distance; -inf where there is no candidate, or where it is larger than
        any float64.

    Raises
    ------
    ValueError
        If k is less than 1.
    CheckFailedError
        If a number is not finite.

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
    rank = np.arange(m) if order is None else np.asarray(order)
    shift = _shift(queries, candidates)
    if shift:
        # a power of two changes no digit; distances are scaled back at the end
        index, similarity = nearest(
            np.ldexp(queries.astype(np.float64), shift),
            np.ldexp(candidates.astype(np.float64), shift),
            k, metric, itself=itself, differ=differ, order=order,
        )  # fmt: skip
        if metric == "euclidean":
            with np.errstate(over="ignore", under="ignore"):
                similarity = np.ldexp(similarity, -2 * shift)
        return index, similarity
    centre = candidates.mean(axis=0, dtype=np.float64).astype(candidates.dtype) if metric == "euclidean" else None
    prepared, length = _prepare(candidates, centre)
    half = (length**2 / 2).astype(np.float32) if metric == "euclidean" else None
    count = min(k + EXTRA_NEIGHBOURS, m)
    if itself:
        listed, values = _short_lists_of_each_other(prepared, half, count, differ)
    else:
        listed, values = _short_lists(queries, prepared, centre, half, count, differ)
    rows = max(1, BLOCK_BYTES // (8 * count * queries.shape[1] * THREADS))

    def decide_block(start: int) -> None:
        block = slice(start, min(start + rows, n))
        exact = _similarity(queries[block], candidates, listed[block], metric)
        exact[np.isneginf(values[block])] = -np.inf
        best = np.lexsort((rank[listed[block]], -exact), axis=1)[:, :k]
        index[block, : best.shape[1]] = np.take_along_axis(listed[block], best, axis=1)
        similarity[block, : best.shape[1]] = np.take_along_axis(exact, best, axis=1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(decide_block, range(0, n, rows)))
    lowest = values.min(axis=1)
    uncertain = (
        np.flatnonzero(lowest >= _certain_score(queries, centre, length, similarity[:, k - 1])) if count < m else ()
    )
    for row in uncertain:  # a neighbour may be missing from the short list
        one = slice(row, row + 1)
        scores = _scores(_prepare(queries[one], centre)[0], prepared, half)
        _exclude(scores, [(codes[one], others) for codes, others in differ])
        if itself:
            scores[0, row] = -np.inf
        threshold = _certain_score(queries[one], centre, length, similarity[one, k - 1])
        every = np.flatnonzero((scores[0] >= threshold) & ~np.isneginf(scores[0]))
        exact = _similarity(queries[one], candidates, every[None, :], metric)[0]
        best = np.lexsort((rank[every], -exact))[:k]
        index[row, : len(best)], similarity[row, : len(best)] = every[best], exact[best]
    index[np.isneginf(similarity)] = -1
    return index, similarity


def _shift(queries: NDArray[np.floating], candidates: NDArray[np.floating]) -> int:
    """Return the power of two by which all numbers are multiplied so that the float32 products neither overflow nor
    underflow; 0 for usual numbers.
    """
    # without np.abs, which would copy a table that may take half of the memory
    ends = [float(end) for rows in (queries, candidates) if rows.size for end in (rows.min(), rows.max())]
    largest = max(map(abs, ends), default=0.0) if np.isfinite(ends).all() else np.nan
    if not np.isfinite(largest):
        raise CheckFailedError("A feature is not finite (NaN or infinity): rows can't be compared")
    usual = largest == 0 or SMALLEST_USUAL < largest < LARGEST_USUAL
    return 0 if usual else -int(np.frexp(largest)[1])


def _certain_score(
    queries: NDArray[np.floating],
    centre: NDArray[np.floating] | None,
    length: NDArray[np.float64],
    worst: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return, for each query, a float32 score that a candidate as similar as `worst` is certain to reach."""
    features, longest = queries.shape[1], float(length.max())
    certain: NDArray[np.float64]
    if centre is None:
        certain = worst - FLOAT32_ROUNDING * (features + 16)
        return certain
    # rows are centred one block at a time: a centred copy of all would double the memory
    own = np.concatenate([_prepare(queries[i : i + 1024], centre)[1] for i in range(0, len(queries), 1024)])
    error = FLOAT32_ROUNDING * ((features + 8) * own * longest + 2 * (own**2 + longest**2))
    certain = (worst + own**2) / 2 - error
    return certain


def _scores(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], half: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return scores that rank candidates: xy, or for Euclidean distance xy - yy/2 = (xx - |x - y|^2) / 2."""
    scores = queries @ candidates.T
    if half is not None:
        scores -= half
    return scores


def _exclude(scores: NDArray[np.float32], differ: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
    for codes, others in differ:
        scores[codes[:, None] == others[None, :]] = -np.inf


def _short_lists(
    queries: NDArray[np.floating],
    prepared: NDArray[np.float32],
    centre: NDArray[np.floating] | None,
    half: NDArray[np.float32] | None,
    count: int,
    differ: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the `count` candidates of each query with the highest float32 scores, and these scores."""
    n, m = len(queries), len(prepared)
    listed, values = np.zeros((n, count), np.int64), np.full((n, count), -np.inf, np.float32)
    rows = max(1, BLOCK_BYTES // (4 * m))
    for block in (slice(start, start + rows) for start in range(0, n, rows)):
        scores = _scores(_prepare(queries[block], centre)[0], prepared, half)
        _exclude(scores, [(codes[block], others) for codes, others in differ])
        listed[block], values[block] = _top(scores, count)
    return listed, values


def _short_lists_of_each_other(
    prepared: NDArray[np.float32],
    half: NDArray[np.float32] | None,
    count: int,
    differ: Sequence[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return short lists if queries and candidates are the same rows: each product is used twice, half the work."""
    n = len(prepared)
    listed, values = np.zeros((n, count), np.int64), np.full((n, count), -np.inf, np.float32)
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
                merged = np.concatenate([values[here], high], axis=1)
                columns_of = np.concatenate([listed[here], found + there.start], axis=1)
                kept = np.argpartition(merged, merged.shape[1] - count, axis=1)[:, merged.shape[1] - count :]
                values[here] = np.take_along_axis(merged, kept, axis=1)
                listed[here] = np.take_along_axis(columns_of, kept, axis=1)
    return listed, values


def _prepare(
    rows: NDArray[np.floating], centre: NDArray[np.floating] | None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return rows as float32, relative to `centre` (or, without one, scaled to unit length), and their lengths.

    Subtracting the same point from all rows changes no distance and makes the rounding of float32 smaller.
    """
    if centre is not None:
        moved = np.subtract(rows, centre, dtype=rows.dtype).astype(np.float32, copy=False)
        return moved, np.sqrt(np.einsum("ij,ij->i", moved, moved, dtype=np.float64))
    length = _length(rows)
    return (rows / length[:, None].astype(rows.dtype)).astype(np.float32, copy=False), np.ones(len(rows))


def _length(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    length: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    length[length == 0] = 1.0  # the products of a row of zeros are 0
    return length


def _top(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the columns of the `count` largest scores of each row, in any order, and these scores."""
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(partial(_top_rows, count=count), np.array_split(scores, THREADS)))
    return np.concatenate([found for found, _ in parts]), np.concatenate([high for _, high in parts])


def _top_rows(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the same as `_top`, in one thread.

    The `count` largest scores of a row are in the `count` groups of columns with the largest maxima, so only these are
    partitioned, which is a fraction of the work. With g groups, a group consists of every g-th column, so that the
    maxima are computed over contiguous memory.
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
    wide = max(1, BLOCK_BYTES // (8 * features))  # one query may list more candidates than fit in a block
    for i in range(0, len(queries), rows):
        for j in range(0, width, wide):
            query, some = queries[i : i + rows, None], candidates[columns[i : i + rows, j : j + wide]]
            if metric == "euclidean":
                difference = np.subtract(some, query, dtype=np.float64)
                found[i : i + rows, j : j + wide] = -np.einsum("ijk,ijk->ij", difference, difference)
            else:
                query, some = query.astype(np.float64), some.astype(np.float64)
                product = np.einsum("ijk,ilk->ij", some, query)
                lengths = _length(some.reshape(-1, features)).reshape(some.shape[:2])
                found[i : i + rows, j : j + wide] = product / lengths / _length(query[:, 0])[:, None]
    return found
