"""Classes in balance, and in part: weights for uneven classes, and the authors' subsets of the labels."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .index import Index


def class_weights(data: str | PathLike[str] | Index, split: str = "train") -> NDArray[np.float32]:
    """Weigh each class by the inverse of its share, for a loss.

    Parameters
    ----------
    data : path or Index
        A dataset folder, or the part of one that is trained on.
    split : str
        Whose images are counted; not used with an Index.

    Returns
    -------
    array, shape (classes,), float32
        images / (classes x images of the class), so that an image weighs 1 on average; 0 for a class without images.

    Examples
    --------
    >>> torch.nn.CrossEntropyLoss(weight=torch.from_numpy(class_weights("cytoimagenet")))     # doctest: +SKIP
    """
    index = _index(data, split)
    counts = np.bincount(index.label, minlength=len(index.class_names))
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = len(index) / (present.sum() * counts[present])
    return weights


def sample_weights(data: str | PathLike[str] | Index, split: str = "train") -> NDArray[np.float32]:
    """Weigh each image by its class, for sampling: every class is then drawn equally often.

    Parameters
    ----------
    data : path or Index
    split : str
        Not used with an Index.

    Returns
    -------
    array, shape (images,), float32
        In the order of the map-style dataset; 1 on average.
    """
    index = _index(data, split)
    return class_weights(index)[index.label]


def _index(data: str | PathLike[str] | Index, split: str) -> Index:
    from .index import Index, read_index

    return data if isinstance(data, Index) else read_index(data, split)
