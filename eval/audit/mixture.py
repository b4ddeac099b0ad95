"""Estimate how many given items are like items that were made wrong on purpose.

Both have a score of suspicion. Above a threshold there are given items, and a known share of the wrong ones. The number
of given ones divided by that share is the number that would be wrong if all above the threshold were; the threshold at
which this is lowest gives the estimate, because right items only ever add to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scores.intervals import wilson

SHARES = np.linspace(0.1, 0.95, 40)  # of the items that are wrong on purpose, above the thresholds that are tried
Z95 = 1.96
PRIOR_IMAGES = 10  # weight of the detectability in all classes, next to that of the images within a class
NONE_FOUND = 3.0  # upper end of the 95 % interval of a count of 0


@dataclass(frozen=True)
class Estimate:
    """A share of wrong items, with the ends of its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Mixture:
    """Given items compared with wrong ones.

    Attributes
    ----------
    estimate : Estimate
        Share of the given items that are wrong.
    threshold : float
        Suspicion from which on the estimate counts.
    detected : float
        Share of the wrong items above it.
    """

    estimate: Estimate
    threshold: float
    detected: float


def compare(given: NDArray[np.floating], wrong: NDArray[np.floating], group: NDArray[np.int64]) -> Mixture:
    """Estimate which share of the given items is wrong.

    Parameters
    ----------
    given : array, shape (items,)
        Suspicion of the given items.
    wrong : array
        Suspicion of items that were made wrong on purpose.
    group : array, shape (items,), int64
        Items of one group count as one observation in the interval.

    Returns
    -------
    Mixture
        Without any items, an interval from 0 to 1.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> given = np.concatenate([rng.normal(0, 1, 900), rng.normal(4, 1, 100)])
    >>> result = compare(given, rng.normal(4, 1, 1000), np.arange(1000))
    >>> round(result.estimate.share, 2)
    0.1
    """
    if not len(given) or not len(wrong):  # nothing is known
        return Mixture(Estimate(0.0, 0.0, 1.0), np.inf, 1.0)
    scale = 1 / len(given)
    thresholds = np.quantile(wrong, 1 - SHARES)
    detected = np.maximum((wrong >= thresholds[:, None]).mean(axis=1), 1e-9)
    found = _above(given, thresholds)
    best = _lowest(found, detected)
    # the threshold that is lowest by chance would give too low an estimate: it is chosen on one half of the groups, and
    # the items of the other half are counted
    half = (np.random.default_rng(0).permutation(int(group.max(initial=0)) + 1) % 2)[group]
    value = variance = 0.0
    for side in (0, 1):
        chosen = _lowest(_above(given[half != side], thresholds), detected)
        region = (half == side) & (given >= thresholds[chosen])
        sizes = np.unique(group[region], return_counts=True)[1]
        value += region.sum() * scale / detected[chosen]
        variance += float((sizes.astype(float) ** 2).sum()) * (scale / detected[chosen]) ** 2
    error = Z95 * variance**0.5
    # right items that reach above the threshold raise the estimate: stricter thresholds, which fewer of them reach,
    # bound the lower end, although fewer items are counted there
    low = value - error
    for chosen in range(best + 1):
        sizes = np.unique(group[given >= thresholds[chosen]], return_counts=True)[1].astype(float)
        low = min(low, (found[chosen] - Z95 * float((sizes**2).sum()) ** 0.5) * scale / detected[chosen])
    # a wrong item that is made wrong once more may become right: up to that many of the wrong ones are not counted
    low = max(0.0, float(low) / (1 + float(value)))
    high = value + max(error, NONE_FOUND * scale / detected[best])
    estimate = Estimate(min(float(value), 1.0), min(low, 1.0), min(float(high), 1.0))
    return Mixture(estimate, float(thresholds[best]), float(detected[best]))


def _above(given: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the number of items at or above each threshold."""
    return len(given) - np.searchsorted(np.sort(given), thresholds, side="left")


def _lowest(found: NDArray[np.int64], detected: NDArray[np.floating]) -> int:
    """Return the index of the threshold with the lowest upper bound of the number of wrong items."""
    return int(((found + Z95 * np.sqrt(found + 1) + 1) / detected).argmin())


def by_part(
    given: NDArray[np.int64],
    region: NDArray[np.bool_],
    made: NDArray[np.int64],
    caught: NDArray[np.bool_],
    detected: float,
    count: int,
) -> NDArray[np.float64]:
    """Return estimate, lower and upper end of the share of wrong labels of a kind, shape (3, parts).

    A part is a class or a source; `given` has those of the given labels, `made` those of the labels wrong on purpose.
    """
    size = np.maximum(np.bincount(given, minlength=count), 1)
    tried, hits = np.bincount(made, minlength=count), np.bincount(made[caught], minlength=count)
    sensitivity = (hits + PRIOR_IMAGES * detected) / (tried + PRIOR_IMAGES)
    found = np.bincount(given[region], minlength=count)
    part = found / size
    lower, upper = np.array([wilson(int(some), int(n)) for some, n in zip(found, size, strict=True)]).T
    share = part / sensitivity
    low = np.where(found > 0, lower / sensitivity / (1 + share), 0)
    return np.stack([share, low, upper / sensitivity])
