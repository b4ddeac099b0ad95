"""Tests of whether one model is better than another on the same samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

PERMUTATIONS = 10_000
TIE = 1e-9
"""Sums of a permutation that differ by less, relative to the sum of all absolute differences, are equal. Rounding of up
to millions of additions stays below 1e-10 of that sum; sums of real answers that are not equal differ by far more."""
MAX_GROUPS_FOR_ALL = 12  # every one of the 2**12 permutations is tried up to here


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> dict[str, Any]:
    """Compare two lists of right and wrong answers by McNemar's exact test.

    Only samples on which the two differ are informative: under the null hypothesis either is right with probability
    one half.

    Parameters
    ----------
    first, second : bool array, shape (n,)
        Whether each model is right, sample by sample.

    Returns
    -------
    dict
        `only_first`, `only_second` (samples that only one gets right), `both`, `neither`, `p` (two-sided).

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
        raise ValueError("the two lists differ in length")
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
    first: NDArray[Any],
    second: NDArray[Any],
    groups: NDArray[Any],
    *,
    draws: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Return the two-sided p-value of the difference when the models of complete groups are swapped at random.

    McNemar's test assumes independent samples; cells of a well and doses of a compound are not. With up to 12 groups
    that differ every permutation is tried, with more `draws` random ones. Permutations whose difference equals the
    observed one count, also where rounding makes the two sums of fractions differ.

    Examples
    --------
    >>> grouped_permutation(np.array([True] * 4), np.array([False] * 4), np.array(["a", "a", "b", "c"]))
    0.25
    """
    _, code = np.unique(groups, return_inverse=True)
    difference = np.bincount(code, weights=np.asarray(first, float) - np.asarray(second, float))
    scale = np.abs(np.asarray(first, float) - np.asarray(second, float)).sum()
    difference = difference[np.abs(difference) > TIE * scale]
    if not len(difference):
        return 1.0
    observed = abs(difference.sum()) - TIE * scale
    if len(difference) <= MAX_GROUPS_FOR_ALL:
        signs = 1.0 - 2.0 * ((np.arange(2 ** len(difference))[:, None] >> np.arange(len(difference))) & 1)
        return float(np.mean(np.abs(signs @ difference) >= observed))
    swapped = np.random.default_rng(seed).integers(0, 2, (draws, len(difference)), dtype=np.int8)
    return float((1 + np.sum(np.abs((swapped * np.int8(2) - np.int8(1)) @ difference) >= observed)) / (1 + draws))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of comparisons (Holm 1979).

    If each comparison is called significant below 0.05 of its corrected value, the chance that any of them is wrong is
    at most 5 %.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(np.arange(len(p_values), 0, -1) * np.asarray(p_values, float)[order])
    return [float(p) for p in np.minimum(corrected, 1)]
