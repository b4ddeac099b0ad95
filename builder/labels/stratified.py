"""Stratified sampling: every stratum its share, by largest remainders."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Allocation = Literal["proportional", "sqrt"]


def sample(strata: NDArray[np.integer[Any]], target: int, allocation: Allocation = "proportional") -> NDArray[np.intp]:
    """Draw `target` of the rows so that every stratum is represented.

    Parameters
    ----------
    strata : array, shape (rows,), integers >= 0
        The stratum of each row. Rows come in random order: of each stratum the first are taken, and which stratum
        wins a tie depends on whose first row comes earlier. So the draw is a function of the order alone.
    target : int
        How many rows to draw, at most as many as there are.
    allocation : "proportional" or "sqrt"
        See `allocate`.

    Returns
    -------
    array, shape (target,), int
        Positions of the drawn rows, ascending.

    Examples
    --------
    >>> import numpy as np
    >>> sample(np.array([0, 0, 0, 0, 1, 1]), 3)
    array([0, 1, 4])
    """
    sizes = np.bincount(strata)
    # numbers of 16 bits are sorted by counting
    order = np.argsort(strata.astype(np.uint16) if len(sizes) <= 2**16 else strata, kind="stable")
    sizes = sizes[sizes > 0]
    starts = np.cumsum(sizes) - sizes
    shares = allocate(sizes, target, order[starts], allocation)
    rank = np.arange(len(strata)) - np.repeat(starts, sizes)
    return np.sort(order[rank < np.repeat(shares, sizes)])


def allocate(
    sizes: NDArray[np.int64], target: int, first: NDArray[np.intp], allocation: Allocation = "proportional"
) -> NDArray[np.int64]:
    """Share `target` among strata.

    Parameters
    ----------
    sizes : array, shape (strata,), int > 0
        Rows in each stratum.
    target : int
        The sum to reach exactly; at most `sizes.sum()`.
    first : array, shape (strata,), distinct ints
        Breaks ties: the lower wins.
    allocation : "proportional" or "sqrt"
        Shares in proportion to the size, or to its square root, which favours small strata (none gets more than it
        has; what it can't use goes to the others).

    Returns
    -------
    array, shape (strata,), int64
        Sums to `target`; each differs from its exact share by less than one.
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
    # a stratum is used up where its share would exceed it; sorted by size over weight, these come first
    by_need = np.argsort(sizes / weights, kind="stable")
    used = np.concatenate([[0], np.cumsum(sizes[by_need])[:-1]])
    weight_left = np.cumsum(weights[by_need][::-1])[::-1]
    level = (target - used) / weight_left  # what one unit of weight gets if all before are used up
    open_from = int(np.argmax(level * weights[by_need] < sizes[by_need])) if target < sizes.sum() else len(sizes)
    shares = sizes.astype(np.float64)
    open_ = by_need[open_from:]
    if len(open_):
        shares[open_] = weights[open_] * level[open_from]
    return shares
