"""Confidence intervals of a score: Wilson's, and a bootstrap over groups for samples that are not independent."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000  # of the bootstrap


def wilson(correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927).

    Unlike Wald's interval (value ± 1.96 standard errors), which the publication printed, it stays inside [0, 1] and
    has the stated level even for few samples.

    Raises
    ------
    ValueError
        If `correct` is not between 0 and `n`, or `n` is 0.

    Examples
    --------
    >>> low, high = wilson(84, 103)
    >>> round(low, 4), round(high, 4)
    (0.7298, 0.8786)
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is not a proportion")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and 1 the ends are exact; rounding must not push them inside
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == n else middle + half)


def grouped_bootstrap(
    correct: NDArray[np.bool_], groups: NDArray[Any], *, draws: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, int]:
    """Return a percentile interval of accuracy from resampling complete groups.

    Cells of one well and doses of one compound tend to be right or wrong together. Resampling them independently would
    give an interval that is too narrow.

    Parameters
    ----------
    correct : bool array, shape (n,)
        Any numbers will do: the interval is that of their mean.
    groups : array, shape (n,)
        Compound, plate or well of each sample.
    draws : int
        Number of resamples.
    seed : int
        Random seed of the resampling.
    level : float
        Coverage of the interval.

    Returns
    -------
    low, high : float
    n_groups : int
    """
    _, code = np.unique(groups, return_inverse=True)
    n_groups = int(code.max()) + 1
    size = np.bincount(code)
    right = np.bincount(code, weights=correct)
    times = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
    shares = (times @ right) / (times @ size)
    low, high = np.quantile(shares, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high), n_groups
