"""Figures of a list of predictions: micro and macro accuracy, F1, accuracy by class, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNCLASSIFIED = -1  # the prediction of a sample that had no candidate


def confusion(true: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count predictions: array (classes, classes + 1), one row per true class; the last column is "unclassified"."""
    column = np.where(predicted == UNCLASSIFIED, classes, predicted)
    return np.bincount(true * (classes + 1) + column, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def accuracy(true: NDArray[np.integer], predicted: NDArray[np.integer], classes: Sequence[str]) -> dict[str, Any]:
    """Return all figures of a list of predictions.

    Parameters
    ----------
    true, predicted : int array, shape (n,)
        Codes into `classes`; a prediction may be `UNCLASSIFIED`, which counts as wrong.
    classes : sequence of str
        Names of the classes.

    Returns
    -------
    dict
        `value` (micro accuracy: every sample has the same weight), `correct`, `n`, `unclassified`, `macro` (mean of the
        accuracies by class: every class has the same weight), `f1` (macro F1), `by_class` (label, n, correct, accuracy,
        precision, f1) and `confusion` (labels, counts with true classes as rows). Classes without a sample and without
        a prediction are left out of the means.

    Examples
    --------
    >>> figures = accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["ER", "Golgi"])
    >>> figures["value"], round(figures["macro"], 3), figures["confusion"]["counts"]
    (0.75, 0.833, [[2, 1, 0], [0, 1, 0]])
    """
    counts = confusion(true, predicted, len(classes))
    n, correct = counts.sum(axis=1), np.diagonal(counts)
    chosen = counts.sum(axis=0)[:-1]
    share = np.divide(correct, n, out=np.zeros(len(classes)), where=n > 0)
    precision = np.divide(correct, chosen, out=np.zeros(len(classes)), where=chosen > 0)
    f1 = np.divide(2 * correct, n + chosen, out=np.zeros(len(classes)), where=(n + chosen) > 0)
    present = n > 0
    return {
        "value": float(correct.sum() / len(true)),
        "correct": int(correct.sum()),
        "n": len(true),
        "unclassified": int(counts[:, -1].sum()),
        "macro": float(share[present].mean()),
        "f1": float(f1[present | (chosen > 0)].mean()),
        "by_class": [
            {
                "label": str(label),
                "n": int(n[i]),
                "correct": int(correct[i]),
                "accuracy": float(share[i]),
                "precision": float(precision[i]),
                "f1": float(f1[i]),
            }
            for i, label in enumerate(classes)
        ],
        "confusion": {"labels": [str(label) for label in classes], "counts": counts.tolist()},
    }
