"""Stratified sampling: how many rows each stratum gives to a sample, and which."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Allocation = Literal["proportional", "sqrt"]


def sample(strata: NDArray[np.integer[Any]], target: int, allocation: Allocation = "proportional") -> NDArray[np.intp]:
    """Sample `target` rows so that every stratum has its share.

    Parameters
    ----------
    strata : array, shape (rows,), integers >= 0
        The stratum of each row. Rows are in random order: the first rows of each stratum are taken, and a tie between
        strata goes to the one whose first row is earlier. So the sample depends on this order only.
    target : int
        Number of rows to sample; at most the number of rows.
    allocation : "proportional" or "sqrt"
        See `allocate`.

    Returns
    -------
    array, shape (target,), int
        Positions of the sampled rows, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> sample(np.array([0, 0, 0, 0, 1, 1]), 3)
    array([0, 1, 4])
    """
    sizes = np.bincount(strata)
    # numpy sorts numbers of 16 bits by radix sort
    order = np.argsort(strata.astype(np.uint16) if len(sizes) <= 2**16 else strata, kind="stable")
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    shares = allocate(sizes, target, order[starts], allocation)
    rank = np.arange(len(strata)) - np.repeat(starts, sizes)
    return np.sort(order[rank < np.repeat(shares, sizes)])


def allocate(
    sizes: NDArray[np.int64], target: int, first: NDArray[np.intp], allocation: Allocation = "proportional"
) -> NDArray[np.int64]:
    """Share `target` among strata, by largest remainders.

    Parameters
    ----------
    sizes : array, shape (strata,), int > 0
        Rows in each stratum.
    target : int
        Sum of the shares; at most `sizes.sum()`.
    first : array, shape (strata,), distinct ints
        Position of the first row of each stratum. Of two equal remainders the lower position is rounded up.
    allocation : "proportional" or "sqrt"
        Shares in proportion to the sizes, or to the square roots of the sizes, which favours small strata. No stratum
        gets more than its size; the rest is shared among the others.

    Returns
    -------
    array, shape (strata,), int64
        Sums to `target`; each differs from its exact share by less than one.

    Examples
    --------
    >>> import numpy as np
    >>> sizes = np.array([900, 100])
    >>> allocate(sizes, 40, first=np.array([0, 1])), allocate(sizes, 40, np.array([0, 1]), "sqrt")
    (array([36,  4]), array([30, 10]))
    """
    if allocation == "proportional":
        whole, rest = np.divmod(sizes.astype(np.int64) * target, sizes.sum())
    else:
        exact = _by_square_root(sizes, target)
        whole = np.floor(exact).astype(np.int64)
        rest = exact - whole
    left = target - int(whole.sum())
    whole[np.lexsort((first, -rest))[:left]] += 1
    return whole


def _by_square_root(sizes: NDArray[np.int64], target: int) -> NDArray[np.float64]:
    """Return exact shares in proportion to the square root of the size, capped at the size."""
    weights = np.sqrt(sizes)
    # strata whose share would exceed their size give all rows; sorted by size / weight, these come first
    by_need = np.argsort(sizes / weights, kind="stable")
    used = np.concatenate([[0], np.cumsum(sizes[by_need])[:-1]])
    weight_left = np.cumsum(weights[by_need][::-1])[::-1]
    level = (target - used) / weight_left  # rows per unit of weight if all strata before give all rows
    open_from = int(np.argmax(level * weights[by_need] < sizes[by_need])) if target < sizes.sum() else len(sizes)
    shares = sizes.astype(np.float64)
    open_ = by_need[open_from:]
    if len(open_):
        shares[open_] = weights[open_] * level[open_from]
    return shares
