"""Exact nearest neighbours, in blocks: memory is bounded whatever the number of rows.

A block is compared with all candidates in float32, which only nominates: the nominees' similarities are then taken
afresh in float64 by plain differences (or products), and a bound on float32's rounding says whether any query might
have lost a neighbour before nomination. For such queries, usually none, everyone within the bound is nominated.
"""

from __future__ import annotations

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
    block = max(1, min(n, BLOCK_BYTES // (4 * m)))
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n))
        part, part_length = _prepare(queries[rows], centre)
        scores = part @ prepared.T
        if metric == "euclidean":
            scores *= 2.0
            scores -= (length**2).astype(np.float32)
        for codes, others in differ:
            scores[codes[rows][:, None] == others[None, :]] = -np.inf
        if itself:
            scores[np.arange(len(rows)), rows] = -np.inf
        nominees, lowest = _top(scores, min(k + SPARE, m))
        exact = _similarity(queries[rows], candidates, nominees, metric)
        exact[np.isneginf(np.take_along_axis(scores, nominees, axis=1))] = -np.inf
        order = np.lexsort((nominees, -exact), axis=1)[:, :k]
        kept = order.shape[1]
        index[rows, :kept] = np.take_along_axis(nominees, order, axis=1)
        similarity[rows, :kept] = np.take_along_axis(exact, order, axis=1)
        if nominees.shape[1] == m:
            continue
        longest, features = float(length.max()), queries.shape[1]
        error = UNIT * (2 * (features + 8) * part_length * longest + 4 * (part_length**2 + longest**2))
        offset = part_length**2 if metric == "euclidean" else 0.0  # what the scores leave out: equal for all candidates
        bar = similarity[rows, k - 1] + offset - error
        for row in np.flatnonzero(lowest >= bar):
            every = np.flatnonzero((scores[row] >= bar[row]) & ~np.isneginf(scores[row]))
            exact_row = _similarity(queries[rows[row : row + 1]], candidates, every[None, :], metric)[0]
            best = np.lexsort((every, -exact_row))[:k]
            index[rows[row], : len(best)], similarity[rows[row], : len(best)] = every[best], exact_row[best]
    index[np.isneginf(similarity)] = -1
    return index, similarity


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
    """Return the columns of the `count` largest scores of each row, in no order, and the lowest of those scores.

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
    else:
        columns = np.broadcast_to(np.arange(m), (n, m))
    values = np.take_along_axis(scores, columns, axis=1)
    top = np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :]
    return np.take_along_axis(columns, top, axis=1), np.take_along_axis(values, top, axis=1).min(axis=1)


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
