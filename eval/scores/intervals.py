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
MIN_GROUPS = 5
"""With fewer groups a bootstrap over them says next to nothing: of one group it is an interval of width zero."""


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


def paired_interval(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray[Any] | None = None, *, seed: int = 0
) -> tuple[float, float] | None:
    """Return a 95 % percentile interval of the difference in accuracy of two models on the same samples.

    Parameters
    ----------
    first, second : bool array, shape (n,)
        Whether each model is right, sample by sample.
    groups : array, shape (n,), optional
        Complete groups are resampled; without them, single samples.
    seed : int
        Random seed of the resampling.

    Returns
    -------
    (low, high), or None with fewer than `MIN_GROUPS` groups

    Examples
    --------
    >>> right, wrong = np.array([True] * 6), np.array([False] * 6)
    >>> paired_interval(right, wrong), paired_interval(right, wrong, np.array(list("aaabbb")))
    ((1.0, 1.0), None)
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    if groups is not None:
        low, high, n_groups = grouped_bootstrap(difference, groups, seed=seed)
        return (low, high) if n_groups >= MIN_GROUPS else None
    # resampling n values that are 1, -1 or 0 is sampling how often each of the three occurs
    share = [float(np.mean(difference == value)) for value in (1, -1)]
    times = np.random.default_rng(seed).multinomial(len(difference), [*share, max(0.0, 1 - sum(share))], RESAMPLES)
    low, high = np.quantile((times[:, 0] - times[:, 1]) / len(difference), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    return float(low), float(high)
