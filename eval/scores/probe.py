"""A linear probe: logistic regression on features that stay as they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from .accuracy import UNCLASSIFIED
from .standardise import blocks, moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

C = 1.0  # inverse strength of the L2 penalty; scikit-learn's default, not tuned on any test
ITERATIONS = 200
FOLDS = 5
SMALL = 1 << 20  # numbers in a matrix that one thread fits faster than several

Fold = tuple["NDArray[np.integer]", "NDArray[np.integer]"]


def fit(
    train: NDArray[np.floating], labels: NDArray[np.integer]
) -> Callable[[NDArray[np.floating]], NDArray[np.int64]]:
    """Fit a probe.

    Parameters
    ----------
    train : array, shape (n, features)
        Z-scored here by its mean and deviation.
    labels : int array, shape (n,)

    Returns
    -------
    function
        From features (m, features) to labels (m,).

    Notes
    -----
    With fewer samples than features the fit is made in the space the samples span: an L2 penalty gives the same
    predictions there, in a fraction of the time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    if len(np.unique(labels)) == 1:
        return lambda asked: np.full(len(asked), labels[0], np.int64)
    mean, deviation = moments(train)
    deviation[deviation == 0] = 1.0
    mean, deviation = mean.astype(train.dtype), deviation.astype(train.dtype)
    fitted = train - mean
    fitted /= deviation
    axes = None
    if len(fitted) < fitted.shape[1]:
        with threadpool_limits(1):  # threads spend their time waiting for each other here
            axes = np.linalg.qr(fitted.T)[0]
        fitted = fitted @ axes
    model = LogisticRegression(C=C, max_iter=ITERATIONS)
    # so they do in matrices as small as 100 treatments
    with warnings.catch_warnings(), threadpool_limits(1 if fitted.size < SMALL else None):
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopped at ITERATIONS, which the settings name
        model.fit(fitted, labels)

    def predict(asked: NDArray[np.floating]) -> NDArray[np.int64]:
        found = np.empty(len(asked), np.int64)
        for block in blocks(len(asked), asked.shape[1]):
            some = (asked[block] - mean) / deviation
            found[block] = model.predict(some if axes is None else some @ axes)
        return found

    return predict


def across(features: NDArray[np.floating], labels: NDArray[np.integer], folds: Iterable[Fold]) -> NDArray[np.int64]:
    """Predict each sample by a probe fitted without its fold; `UNCLASSIFIED` where no fold asks for it."""
    predicted = np.full(len(labels), UNCLASSIFIED, np.int64)
    for train, test in folds:
        predicted[test] = fit(features[train], labels[train])(features[test])
    return predicted


def leave_group_out(groups: NDArray) -> Iterable[Fold]:
    """Yield train and test rows, one fold per group."""
    for group in np.unique(groups):
        yield np.flatnonzero(groups != group), np.flatnonzero(groups == group)


def stratified(labels: NDArray[np.integer], seed: int = 0) -> Iterable[Fold]:
    """Yield `FOLDS` folds that each hold their share of every class (fewer where the smallest class is smaller)."""
    from sklearn.model_selection import StratifiedKFold

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return
    yield from StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels)
