"""Is one model better than another on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRAWS = 10_000


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare two lists of right and wrong answers by McNemar's exact test.

    Only the samples on which they differ speak: under the null each is a fair coin.

    Parameters
    ----------
    first, second : bool array, shape (n,)
        Whether each model is right, sample by sample.

    Returns
    -------
    dict
        `only_first`, `only_second` (right alone), `both`, `neither`, `p` (two-sided).

    Examples
    --------
    >>> a = np.array([True] * 89 + [False] * 14)
    >>> b = np.array([True] * 86 + [False] * 17)
    >>> mcnemar(a, b)["p"]
    0.25
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError("the two lists are not of the same samples")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing = only_first + only_second
    return {
        "only_first": only_first,
        "only_second": only_second,
        "both": int((first & second).sum()),
        "neither": int((~first & ~second).sum()),
        "p": float(binomtest(only_first, differing).pvalue) if differing else 1.0,
    }


def grouped_permutation(
    first: NDArray[np.bool_], second: NDArray[np.bool_], groups: NDArray, *, draws: int = DRAWS, seed: int = 0
) -> float:
    """Return the two-sided p of the difference when whole groups swap their models at random.

    McNemar's test takes samples as independent; cells of a well and doses of a compound are not. With up to 12 groups
    every swap is tried, else `draws` random ones.
    """
    _, code = np.unique(groups, return_inverse=True)
    difference = np.bincount(code, weights=np.asarray(first, float) - np.asarray(second, float))
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0
    observed = abs(difference.sum())
    if len(difference) <= 12:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(difference))[:, None] >> np.arange(len(difference))) & 1)
        return float(np.mean(np.abs(signs @ difference) >= observed))
    drawn = np.random.default_rng(seed).integers(0, 2, (draws, len(difference)), dtype=np.int8)
    return float((1 + np.sum(np.abs((drawn * np.int8(2) - np.int8(1)) @ difference) >= observed)) / (1 + draws))
