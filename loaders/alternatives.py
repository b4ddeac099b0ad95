"""The other right labels of each image, as indices of classes that a network's answers are compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NONE = -1  # fills a row that has fewer alternatives than another


def class_indices(texts: Sequence[str] | pd.Series, class_names: Sequence[str]) -> NDArray[np.int32]:
    """Return the classes that a column of joined names contains.

    Parameters
    ----------
    texts : sequence of str, shape (images,)
        The column `alternatives`: names of classes, joined by `|`; empty where there are none.
    class_names : sequence of str
        Names of the classes. Others are left out: a subset of a dataset lacks some.

    Returns
    -------
    int32 array, shape (images, most alternatives of an image)
        Indices into `class_names`; the rest of a row is -1.

    Examples
    --------
    >>> class_indices(["", "actin|human", "human"], ["actin", "golgi", "human"]).tolist()
    [[-1, -1], [0, 2], [2, -1]]
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    codes, distinct = pd.factorize(np.asarray(texts, object))
    known = [[index_of[name] for name in text.split("|") if name in index_of] for text in distinct]
    table = np.full((len(known), max(map(len, known), default=0)), NONE, np.int32)
    for row, indices in enumerate(known):
        table[row, : len(indices)] = indices
    return table[codes]
