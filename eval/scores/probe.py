"""A linear probe: logistic regression on fixed features."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .accuracy import UNCLASSIFIED
from .standardise import blocks, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

C = 1.0  # inverse strength of the L2 penalty; scikit-learn's default, not tuned on any test
MAX_ITERATIONS = 200
FOLDS = 5
MIN_NUMBERS_FOR_THREADS = 1 << 20  # smaller matrices are fitted faster by one thread

Fold = tuple["NDArray[np.integer]", "NDArray[np.integer]"]


def fit(
    train: NDArray[np.floating], labels: NDArray[np.integer]
) -> Callable[[NDArray[np.floating]], NDArray[np.int64]]:
    """Fit a probe.

    Parameters
    ----------
    train : array, shape (n, features)
        Z-scored here by mean and standard deviation.
    labels : int array, shape (n,)

    Returns
    -------
    function
        From features, shape (m, features), to labels, shape (m,).

    Notes
    -----
    With fewer samples than features the fit is made in the space that the samples span. An L2 penalty gives the same
    predictions there, in a fraction of the time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(np.unique(labels)) == 1:
        return lambda queries: np.full(len(queries), labels[0], np.int64)
    mean, deviation = moments(train)
    deviation[deviation == 0] = 1.0
    mean, deviation = mean.astype(train.dtype), deviation.astype(train.dtype)
    fitted = train - mean
    fitted /= deviation
    axes = None
    if len(fitted) < fitted.shape[1]:
        with threadpool_limits(1):  # several threads would wait for each other most of the time
            axes = np.linalg.qr(fitted.T)[0]
        fitted = fitted @ axes
    model = LogisticRegression(C=C, max_iter=MAX_ITERATIONS)
    with warnings.catch_warnings(), threadpool_limits(1 if fitted.size < MIN_NUMBERS_FOR_THREADS else None):
        warnings.simplefilter("ignore", ConvergenceWarning)  # it stops at MAX_ITERATIONS
        model.fit(fitted, labels)

    def predict(queries: NDArray[np.floating]) -> NDArray[np.int64]:
        predicted = np.empty(len(queries), np.int64)
        for block in blocks(len(queries), queries.shape[1]):
            some = (queries[block] - mean) / deviation
            predicted[block] = model.predict(some if axes is None else some @ axes)
        return predicted

    return predict


def across(features: NDArray[np.floating], labels: NDArray[np.integer], folds: Iterable[Fold]) -> NDArray[np.int64]:
    """Predict each sample by a probe fitted without its fold; `UNCLASSIFIED` for samples that are in no fold."""
    predicted = np.full(len(labels), UNCLASSIFIED, np.int64)
    for train, test in folds:
        predicted[test] = fit(features[train], labels[train])(features[test])
    return predicted


def leave_group_out(groups: NDArray[Any]) -> Iterable[Fold]:
    """Yield the training and test rows of one fold per group.

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in leave_group_out(np.array(["a", "b", "a"]))]
    [([1], [0, 2]), ([0, 2], [1])]
    """
    for group in np.unique(groups):
        yield np.flatnonzero(groups != group), np.flatnonzero(groups == group)


def stratified(labels: NDArray[np.integer], seed: int = 0) -> Iterable[Fold]:
    """Yield `FOLDS` folds with equal shares of every class, or fewer if the smallest class has fewer samples."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return
    yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
