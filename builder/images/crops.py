"""Which parts of a source image become images: four windows, four scales, one place each.

Published as "upsampling": a class of few images gets several crops of each. The draw is a function of the seed and the
row's `idx` alone, so neither the order of the rows nor the number of workers can change it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..seeded import random_integers

SCALES = (1 / 2, 1 / 4, 1 / 8, 1 / 16)  # of the image's side
MIN_SIDE = 70  # pixels; no crop is smaller
WANTED = ((1000, 1), (550, 2), (400, 3), (0, 4))  # a class of at least so many images: so many crops of each
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


def wanted_crops(images: int) -> int:
    """Return how many crops each image of a class of `images` images should give, 1 to 4."""
    return next(crops for least, crops in WANTED if images >= least)


def draw(idx: str, seed: int, height: int, width: int) -> list[Box]:
    """Draw the crops of one image, best taken from the front: the first k are the draw for k wanted crops.

    Parameters
    ----------
    idx : str
        The row's identifier.
    seed : int
        The run's seed.
    height, width : int
        Size of the source image in pixels.

    Returns
    -------
    list of Box
        Four boxes in four different windows (quadrants), each at least 70x70; empty for an image of less than
        140 pixels on a side, which is used whole. Scales are not repeated while there are unused ones.
    """
    scales = [s for s in SCALES if min(int(height * s), int(width * s)) >= MIN_SIDE]
    if not scales:
        return []
    keys = random_integers(idx, seed, 28)
    windows = np.argsort(keys[:4], kind="stable")
    # two shuffles of the scales, one after the other: no repeat before every scale was used once
    rounds = -(-MAX_CROPS // len(scales))
    order = [scales[i] for r in range(rounds) for i in np.argsort(keys[4 + 4 * r : 4 + 4 * r + len(scales)])]
    boxes = []
    for number, window in enumerate(windows):
        scale = order[number]
        crop_h, crop_w = int(height * scale), int(width * scale)
        window_h, window_w = height // 2, width // 2
        # windows touch the image's corners; of an odd side the middle line belongs to none
        top = (height - window_h) if window >= 2 else 0
        left = (width - window_w) if window % 2 else 0
        y = top + int(keys[20 + 2 * number]) % (window_h - crop_h + 1)
        x = left + int(keys[21 + 2 * number]) % (window_w - crop_w + 1)
        boxes.append(Box(x, x + crop_w, y, y + crop_h, scale))
    return boxes
