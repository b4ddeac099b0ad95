"""How sure a score is: Wilson's interval, and a bootstrap over groups where samples are not independent."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95


def wilson(correct: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927).

    Unlike Wald's (value ± 1.96 standard errors, as published) it stays inside [0, 1] and holds its level for few
    samples.

    Examples
    --------
    >>> low, high = wilson(84, 103)
    >>> round(low, 4), round(high, 4)
    (0.7298, 0.8788)
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is no proportion")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = correct / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at 0 and 1 the ends are exact; rounding must not push them inside
    return (0.0 if correct == 0 else middle - half), (1.0 if correct == n else middle + half)


def wald(correct: int, n: int, level: float = LEVEL) -> float:
    """Return half the width of Wald's interval, which the publication printed after ±."""
    share = correct / n
    return NormalDist().inv_cdf(0.5 + level / 2) * sqrt(share * (1 - share) / n)


def grouped_bootstrap(
    correct: NDArray[np.bool_], groups: NDArray, *, draws: int = 2000, seed: int = 0, level: float = LEVEL
) -> tuple[float, float, int]:
    """Return a percentile interval of accuracy from resampling whole groups.

    Cells of one well, and doses of one compound, are right or wrong together: resampling them one by one would
    promise too much.

    Parameters
    ----------
    correct : bool array, shape (n,)
    groups : array, shape (n,)
        Compound, plate or well of each sample.

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
