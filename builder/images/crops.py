"""Crops: which parts of a source image become images of the dataset.

The paper calls this upsampling: small classes get several crops of each source image, in different quadrants and at
different scales. The crops depend on the seed and the `idx` of the row alone, not on the order of the rows or the
number of workers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..seeded import random_integers

SCALES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the image's side
MIN_SIDE = 70  # pixels; no crop is smaller
CROPS_PER_IMAGE = ((1000, 1), (550, 2), (400, 3), (0, 4))  # (images of the class at least, crops of each)
MAX_CROPS = 4


class Box(NamedTuple):
    """A crop in pixels of its source image, half-open."""

    x_min: int
    x_max: int
    y_min: int
    y_max: int
    scaling: float

    @property
    def xywh(self) -> tuple[int, int, int, int]:
        """The box as `channels` writes it: x, y, width, height."""
        return self.x_min, self.y_min, self.x_max - self.x_min, self.y_max - self.y_min


def crops_per_image(images: int) -> int:
    """Return the number of crops, 1 to 4, to cut from each image of a class of `images` source images.

    Examples
    --------
    >>> crops_per_image(1000), crops_per_image(287)
    (1, 4)
    """
    return next(crops for least, crops in CROPS_PER_IMAGE if images >= least)


def crop_boxes(idx: str, seed: int, height: int, width: int) -> list[Box]:
    """Sample the crops of one image, in order of preference: use the first k of them for k crops.

    Parameters
    ----------
    idx : str
        Identifier of the row.
    seed : int
        Random seed of the crops.
    height, width : int
        Size of the source image in pixels.

    Returns
    -------
    list of Box
        Four boxes in the four quadrants, each of at least 70 x 70 pixels; no scale is repeated before all are used.
        Empty for an image of less than 140 pixels on a side, which is used uncropped.
    """
    scales = [s for s in SCALES if min(int(height * s), int(width * s)) >= MIN_SIDE]
    if not scales:
        return []
    keys = random_integers(idx, seed, 28)
    quadrants = np.argsort(keys[:4], kind="stable")
    # several shuffles of the scales, one after the other: no scale is repeated before all are used
    rounds = -(-MAX_CROPS // len(scales))
    order = [scales[i] for r in range(rounds) for i in np.argsort(keys[4 + 4 * r : 4 + 4 * r + len(scales)])]
    boxes = []
    for number, quadrant in enumerate(quadrants):
        scale = order[number]
        crop_h, crop_w = int(height * scale), int(width * scale)
        quadrant_h, quadrant_w = height // 2, width // 2
        # quadrants touch the corners of the image; the middle line of an odd side belongs to none
        top = (height - quadrant_h) if quadrant >= 2 else 0
        left = (width - quadrant_w) if quadrant % 2 else 0
        y = top + int(keys[20 + 2 * number]) % (quadrant_h - crop_h + 1)
        x = left + int(keys[21 + 2 * number]) % (quadrant_w - crop_w + 1)
        boxes.append(Box(x, x + crop_w, y, y + crop_h, scale))
    return boxes
