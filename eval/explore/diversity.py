"""How similar the images of a class are, by the cosine similarity of their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

THRESHOLD = 0.8  # mean cosine similarity within a class, as published


def diversity(values: NDArray[np.floating], labels: Sequence[str] | pd.Series) -> pd.DataFrame:
    """Return how similar the images of each class are, to each other and to those of other classes.

    Parameters
    ----------
    values : array, shape (images, features)
    labels : sequence of str
        The class of each image.

    Returns
    -------
    DataFrame
        One row per class, the most uniform first: label, n, intra (mean cosine similarity of two different images of
        the class, NaN for a class with one image), inter (mean cosine similarity of an image of the class and one of
        another class), gap (intra - inter).

    Notes
    -----
    The mean over all pairs of unit vectors is computed exactly, from their sum, without sampling pairs. The published
    figures are means over at most 3,000 random pairs.

    Examples
    --------
    >>> table = diversity(np.array([[1.0, 0], [1, 0], [0, 1], [0, -1]]), ["same", "same", "opposite", "opposite"])
    >>> table[["label", "intra", "inter"]].values.tolist()
    [['same', 1.0, 0.0], ['opposite', -1.0, 0.0]]
    """
    unit = np.asarray(values, np.float64)
    length = np.linalg.norm(unit, axis=1, keepdims=True)
    unit = np.divide(unit, length, out=np.zeros_like(unit), where=length > 0)
    names, code = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    n = np.bincount(code)
    total = np.zeros((len(names), unit.shape[1]))
    np.add.at(total, code, unit)
    own = np.bincount(code, weights=(unit**2).sum(axis=1))  # an image and itself are not a pair
    square = (total**2).sum(axis=1)
    intra = _ratio(square - own, n * (n - 1))
    inter = _ratio(total @ total.sum(axis=0) - square, n * (n.sum() - n))
    table = pd.DataFrame({"label": names, "n": n, "intra": intra, "inter": inter, "gap": intra - inter})
    return table.sort_values(["intra", "label"], ascending=[False, True], na_position="last").reset_index(drop=True)


def _ratio(sums: NDArray[np.float64], pairs: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.divide(sums, pairs, out=np.full(len(sums), np.nan), where=pairs > 0)


def above(table: pd.DataFrame, threshold: float = THRESHOLD) -> list[str]:
    """Return the sorted classes whose mean similarity is above a threshold."""
    return sorted(table.loc[table["intra"] > threshold, "label"])
