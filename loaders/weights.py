"""Weights that even out classes of different size, for a loss or for sampling."""

from __future__ import annotations

from os import PathLike

import numpy as np
from numpy.typing import NDArray

from .index import Index, read_index


def class_weights(data: str | PathLike[str] | Index, split: str = "train") -> NDArray[np.float32]:
    """Return a weight for each class: the inverse of its share of the images.

    Parameters
    ----------
    data : path or Index
        A dataset folder, local or a URL, or an index of its images (`MapDataset(...).index`).
    split : {"train", "validation"}
        Split whose images are counted. Ignored if `data` is an Index.

    Returns
    -------
    array, shape (classes,), float32
        images / (classes x images of the class): the mean over the images is 1. A class without images has weight 0.

    Raises
    ------
    UsageError
        If the folder is not a dataset.

    Examples
    --------
    >>> torch.nn.CrossEntropyLoss(weight=torch.from_numpy(class_weights("cytoimagenet")))     # doctest: +SKIP
    """
    index = data if isinstance(data, Index) else read_index(data, split)
    counts = np.bincount(index.label, minlength=len(index.class_names))
    present = counts > 0
    weights = np.zeros(len(counts), np.float32)
    weights[present] = len(index) / (present.sum() * counts[present])
    return weights


def sample_weights(data: str | PathLike[str] | Index, split: str = "train") -> NDArray[np.float32]:
    """Return a weight for each image with which sampling picks every class equally often.

    Parameters
    ----------
    data : path or Index
        As for `class_weights`.
    split : {"train", "validation"}
        Ignored if `data` is an Index.

    Returns
    -------
    array, shape (images,), float32
        In the order of `MapDataset`; the mean is 1.
    """
    index = data if isinstance(data, Index) else read_index(data, split)
    return class_weights(index)[index.label]
