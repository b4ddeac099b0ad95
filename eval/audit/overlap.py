"""Find how much of each image is shown by other crops of its source image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def overlap(rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the largest share of each image that another image of the same source image shows.

    Parameters
    ----------
    rows : DataFrame
        Columns idx, x_min, x_max, y_min, y_max: the source image, and the box in its pixels, half-open.

    Returns
    -------
    share : array, shape (images,), float64
        0 to 1; 0 where no other image shows a part of it.
    image : array, shape (images,), int64
        Index of that other image; -1 for none.

    Examples
    --------
    >>> boxes = pd.DataFrame([("a", 0, 10, 0, 10), ("a", 5, 15, 0, 10), ("b", 0, 10, 0, 10)],
    ...                      columns=["idx", "x_min", "x_max", "y_min", "y_max"])
    >>> share, image = overlap(boxes)
    >>> share.tolist(), image.tolist()
    ([0.5, 0.5, 0.0], [1, 0, -1])
    """
    share, image = np.zeros(len(rows)), np.full(len(rows), -1, np.int64)
    boxes = rows[["x_min", "x_max", "y_min", "y_max"]].to_numpy(np.int64)
    source = pd.factorize(rows["idx"])[0]
    order = np.argsort(source, kind="stable")
    _, first, size = np.unique(source[order], return_index=True, return_counts=True)
    start, count = first[source], size[source]
    for step in range(int(size.max(initial=1))):
        # every image is compared with the step-th image of its source image
        mine = np.flatnonzero(step < count)
        other = order[start[mine] + step]
        mine, other = mine[other != mine], other[other != mine]
        width = np.minimum(boxes[mine, 1], boxes[other, 1]) - np.maximum(boxes[mine, 0], boxes[other, 0])
        height = np.minimum(boxes[mine, 3], boxes[other, 3]) - np.maximum(boxes[mine, 2], boxes[other, 2])
        own = (boxes[mine, 1] - boxes[mine, 0]) * (boxes[mine, 3] - boxes[mine, 2])
        part = np.maximum(width, 0) * np.maximum(height, 0) / np.maximum(own, 1)
        better = part > share[mine]
        share[mine[better]], image[mine[better]] = part[better], other[better]
    return share, image
