"""From the neighbours of a sample to a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from .accuracy import UNCLASSIFIED

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ties = Literal["nearest", "published"]


def vote(
    index: NDArray[np.integer], labels: NDArray[np.integer], classes: int, ties: Ties = "nearest"
) -> NDArray[np.int64]:
    """Predict the class of each row by a vote of its neighbours.

    Parameters
    ----------
    index : int array, shape (n, k)
        Neighbours in order of decreasing similarity, as `neighbours.nearest` returns them; -1 for none.
    labels : int array, shape (candidates,)
        Class codes of the candidates.
    classes : int
        Number of classes.
    ties : "nearest" or "published"
        Which of several classes with most votes wins (at k = 11 one row in five has several): that of the nearest
        neighbour that belongs to one of them, or the lowest class code, as in the published code.

    Returns
    -------
    int array, shape (n,)
        `UNCLASSIFIED` where there is no neighbour.

    Examples
    --------
    >>> index = np.array([[2, 0, 1, 3]])
    >>> vote(index, np.array([0, 0, 1, 1]), 2), vote(index, np.array([0, 0, 1, 1]), 2, "published")
    (array([1]), array([0]))
    """
    n, k = index.shape
    chosen = np.where(index >= 0, labels[index], classes)
    rows = np.repeat(np.arange(n), k)
    counts = np.bincount(rows * (classes + 1) + chosen.ravel(), minlength=n * (classes + 1)).reshape(n, classes + 1)
    counts = counts[:, :classes]
    most = counts.max(axis=1)
    if ties == "published":
        winner = counts.argmax(axis=1)
    else:
        padded = np.column_stack([counts, np.full(n, -1)])
        first = (np.take_along_axis(padded, chosen, axis=1) == most[:, None]).argmax(axis=1)
        winner = chosen[np.arange(n), first]
    return np.where(most > 0, winner, UNCLASSIFIED)
