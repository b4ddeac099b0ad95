"""Negative controls: the same neighbours, with labels that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHUFFLES = 50


def shuffled(
    predict: Callable[[NDArray[np.integer]], NDArray[np.integer]],
    candidates: NDArray[np.integer],
    true: NDArray[np.integer] | None,
    observed: float,
    *,
    seed: int = 0,
    times: int = SHUFFLES,
) -> dict[str, Any]:
    """Score with the labels of the candidates shuffled. A score above chance reveals a leak.

    Parameters
    ----------
    predict : function
        From labels of the candidates to predictions for the queries; the neighbours are not changed.
    candidates : int array, shape (m,)
        The labels to shuffle.
    true : int array, shape (n,), or None
        Labels of the queries. None if the queries are the candidates: their shuffled labels are the truth then.
    observed : float
        The accuracy with the real labels.
    seed : int
        Random seed of the shuffles.
    times : int
        Number of shuffles.

    Returns
    -------
    dict
        `value` (mean accuracy over shuffles), `interval` (2.5th and 97.5th percentile), `n`, `chance` (accuracy of
        always predicting the largest class), `at_chance` (whether the mean is no higher than `chance` plus three
        standard deviations of a shuffle) and `p` (share of shuffles that are as good as the real labels).
    """
    rng = np.random.default_rng(seed)
    values = np.empty(times)
    for i in range(times):
        labels = rng.permutation(candidates)
        answer = labels if true is None else true
        values[i] = np.mean(predict(labels) == answer)
    truth = candidates if true is None else true
    chance = float(np.bincount(truth).max() / len(truth))
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "value": float(values.mean()),
        "interval": {"method": f"percentiles of {times} shuffles", "low": float(low), "high": float(high)},
        "n": len(truth),
        "chance": chance,
        "at_chance": bool(values.mean() <= chance + 3 * values.std(ddof=1)),
        "p": float((1 + np.sum(values >= observed)) / (1 + times)),
    }
