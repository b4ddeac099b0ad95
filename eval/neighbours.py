"""Exact nearest neighbours, in blocks: memory is bounded whatever the number of rows.

A block is compared with all candidates in float32, which only nominates: the nominees' similarities are then taken
afresh in float64 by plain differences (or products), and a bound on float32's rounding says whether any query might
have lost a neighbour before nomination. For such queries, usually none, everyone within the bound is nominated.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Metric = Literal["cosine", "euclidean"]

BLOCK_BYTES = 64 << 20  # of scores, or of nominees, at once
SPARE = 8  # nominees beyond k
GROUP = 64  # candidates per group in the first pass of the selection
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
    # what a float32 score leaves out of the similarity: nothing for cosine, the query's own square for Euclid
    square = (length**2).astype(np.float32) if metric == "euclidean" else None
    count = min(k + SPARE, m)
    if itself:
        nominees, values = _nominate_each_other(prepared, square, count, differ)
    else:
        nominees, values = _nominate(queries, prepared, centre, square, count, differ)
    rows = max(1, BLOCK_BYTES // (8 * count * queries.shape[1]))
    for block in (slice(start, start + rows) for start in range(0, n, rows)):
        exact = _similarity(queries[block], candidates, nominees[block], metric)
        exact[np.isneginf(values[block])] = -np.inf
        order = np.lexsort((nominees[block], -exact), axis=1)[:, :k]
        index[block, : order.shape[1]] = np.take_along_axis(nominees[block], order, axis=1)
        similarity[block, : order.shape[1]] = np.take_along_axis(exact, order, axis=1)
        if count == m:
            continue
        part, own = _prepare(queries[block], centre)
        error = _rounding(own, float(length.max()), queries.shape[1])
        bar = similarity[block, k - 1] + (own**2 if square is not None else 0.0) - error
        for i in np.flatnonzero(values[block].min(axis=1) >= bar):
            row = block.start + int(i)
            scores = _scores(part[i : i + 1], prepared, square)
            _exclude(scores, [(codes[row : row + 1], others) for codes, others in differ])
            if itself:
                scores[0, row] = -np.inf
            every = np.flatnonzero((scores[0] >= bar[i] - error[i]) & ~np.isneginf(scores[0]))
            exact_row = _similarity(queries[row : row + 1], candidates, every[None, :], metric)[0]
            best = np.lexsort((every, -exact_row))[:k]
            index[row, : len(best)], similarity[row, : len(best)] = every[best], exact_row[best]
    index[np.isneginf(similarity)] = -1
    return index, similarity


def _rounding(own: NDArray[np.float64], longest: float, features: int) -> NDArray[np.float64]:
    """Bound how far a float32 score may lie from the truth, by the lengths of the query and the longest candidate."""
    return UNIT * (2 * (features + 8) * own * longest + 4 * (own**2 + longest**2))


def _scores(
    queries: NDArray[np.float32], candidates: NDArray[np.float32], square: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return products, or what of minus the squared distance differs between candidates (2xy - yy)."""
    scores = queries @ candidates.T
    if square is not None:
        scores *= 2.0
        scores -= square
    return scores


def _exclude(scores: NDArray[np.float32], differ: Sequence[tuple[NDArray, NDArray]]) -> None:
    for codes, others in differ:
        scores[codes[:, None] == others[None, :]] = -np.inf


def _nominate(
    queries: NDArray[np.floating],
    prepared: NDArray[np.float32],
    centre: NDArray[np.floating] | None,
    square: NDArray[np.float32] | None,
    count: int,
    differ: Sequence[tuple[NDArray, NDArray]],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return each query's `count` highest candidates in float32, and their scores."""
    n, m = len(queries), len(prepared)
    nominees, values = np.zeros((n, count), np.int64), np.full((n, count), -np.inf, np.float32)
    rows = max(1, BLOCK_BYTES // (4 * m))
    for block in (slice(start, start + rows) for start in range(0, n, rows)):
        scores = _scores(_prepare(queries[block], centre)[0], prepared, square)
        _exclude(scores, [(codes[block], others) for codes, others in differ])
        nominees[block], values[block] = _top(scores, count)
    return nominees, values


def _nominate_each_other(
    prepared: NDArray[np.float32],
    square: NDArray[np.float32] | None,
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
                sides.append((columns, rows, np.ascontiguousarray(products.T)))
            for here, there, scores in sides:
                if square is not None:
                    scores *= 2.0
                    scores -= square[there]
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
    """Return the columns of the `count` largest scores of each row, in no order, and those scores.

    The largest `count` of a row lie in the `count` groups of columns with the largest maxima, so only those are
    looked into: a fraction of the work of partitioning whole rows.
    """
    n, m = scores.shape
    groups = m // GROUP
    if groups > 2 * count:
        head = scores[:, : groups * GROUP].reshape(n, groups, GROUP)
        picked = np.argpartition(head.max(axis=2), groups - count, axis=1)[:, groups - count :]
        columns = (picked[:, :, None] * GROUP + np.arange(GROUP)).reshape(n, -1)
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
            query = queries[i : i + rows, None].astype(np.float64)
            some = candidates[columns[i : i + rows, j : j + wide]].astype(np.float64)
            if metric == "euclidean":
                some -= query
                found[i : i + rows, j : j + wide] = -np.einsum("ijk,ijk->ij", some, some)
            else:
                product = np.einsum("ijk,ilk->ij", some, query)
                lengths = _length(some.reshape(-1, features)).reshape(some.shape[:2])
                found[i : i + rows, j : j + wide] = product / lengths / _length(query[:, 0])[:, None]
    return found
