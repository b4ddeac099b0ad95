"""Sample some images of some classes, for pictures and features."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from .class_names import find_classes
from .manifest import Manifest


def choose_images(
    manifest: Manifest,
    rows: pd.DataFrame,
    *,
    classes: int | None,
    images: int,
    labels: Sequence[str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Sample images of a dataset, independently of the order of its rows.

    Parameters
    ----------
    manifest : Manifest
    rows : DataFrame
        Rows of the metadata, with the columns key and label.
    classes : int, optional
        Number of classes, sampled at random; None for all.
    images : int
        Largest number of images of each class, sampled at random.
    labels : sequence of str, optional
        Take these classes instead.
    seed : int
        Random seed of the sampling.

    Returns
    -------
    DataFrame
        The chosen rows, in random order.

    Raises
    ------
    UsageError
        If a label is not a class of the dataset.
    """
    labels = find_classes(labels, manifest.class_names, manifest.root) if labels else None
    names = pd.Series(labels if labels else manifest.class_names)
    if not labels and classes is not None and len(names) > classes:
        names = names.sample(classes, random_state=seed)
    rows = rows[rows["label"].isin(names)].sort_values("key")
    return rows.sample(frac=1, random_state=seed).groupby("label").head(images)
