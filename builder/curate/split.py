"""Train and validation: no source image on both sides.

Published: 10 % of the images of each class, drawn without regard to their source. Crops of one image then lie on both
sides and the validation accuracy is too high. Here a group goes to one side whole: all images made from the same files,
across classes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..images import channels as locator

VALIDATION = 0.1  # preprint, 2.4
SLICE = 2**16  # rows whose file names are in memory at a time
RULES = ("by-image", "published")


def aim(images: int, fraction: float = VALIDATION) -> int:
    """Return how many of a class's images should be validation images, rounded half up."""
    return int(images * fraction + 0.5)


def source_groups(channels: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Number the groups of rows that share a file.

    Parameters
    ----------
    channels : Arrow array of str
        The `channels` of each row: places joined by `|`; pages and boxes do not count.

    Returns
    -------
    int array, shape (rows,)
        The first row of each row's group.
    """
    rows, hashes = [], []
    for start in range(0, max(1, len(channels)), SLICE):
        places = pc.split_pattern(channels.slice(start, SLICE), "|")
        names = pc.replace_substring_regex(pc.list_flatten(places), locator.FRAGMENT.pattern, "")
        rows.append(np.repeat(np.arange(start, start + len(places)), pc.list_value_length(places).to_numpy()))
        # 64 bits in place of each name: of a hundred million files two are taken for one with odds of 1 to 4,000
        hashes.append(pd.util.hash_array(names.to_numpy(zero_copy_only=False), categorize=False))
    row, file = np.concatenate(rows), np.unique(np.concatenate(hashes), return_inverse=True)[1]
    del rows, hashes
    group = np.arange(len(channels))
    lowest = np.full(int(file.max(initial=-1)) + 1, len(channels), dtype=np.int64)
    while True:
        # hand the lowest row number from rows to their files and back, until nothing changes
        np.minimum.at(lowest, file, group[row])
        after = group.copy()
        np.minimum.at(after, row, lowest[file])
        if np.array_equal(after, group):
            return group
        group = after


def validation_by_image(
    labels: NDArray[np.int64], groups: NDArray[np.int64], ranks: NDArray[np.uint64], fraction: float = VALIDATION
) -> NDArray[np.bool_]:
    """Choose validation images so that no group is on both sides.

    Parameters
    ----------
    labels, groups : int array, shape (images,)
        Class and group of each image, each numbered from 0 without gaps.
    ranks : array, shape (groups,)
        Order in which groups are tried.
    fraction : float
        Share of validation images.

    Returns
    -------
    bool array, shape (images,)
        Per class as near to `aim` as whole groups allow, and at least one group on each side where the class has two
        groups that other classes leave free.
    """
    sides = _Sides(labels, groups, fraction)
    for label in sides.rarest_first():
        own = sorted(sides.groups_of[label], key=lambda g: (ranks[g], g))
        for group in own:
            if sides.missing(label) <= 0:
                break
            if sides.cost(group, over=np.inf) < 0:
                sides.move(group)
        while sides.missing(label) > 0:
            best = min((g for g in own if sides.free(g)), key=sides.cost, default=None)
            if best is None or sides.cost(best) >= 0:
                break
            sides.move(best)
        if sides.have[label] == 0:
            best = min((g for g in own if sides.free(g)), key=sides.cost, default=None)
            if best is not None:
                sides.move(best)
    return sides.validation[groups]


def validation_published(labels: NDArray[np.int64], ranks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Choose validation images as published: a tenth of each class, whatever source image they come from.

    Parameters
    ----------
    labels : int array, shape (images,)
        Class of each image.
    ranks : array, shape (images,)
        The lowest of each class are taken.
    """
    order = np.lexsort((ranks, labels))
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place < np.array([aim(size) for size in sizes], dtype=np.int64)[labels]


class _Sides:
    """Which groups are on the validation side, and what that means for every class."""

    def __init__(self, labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float) -> None:
        images = np.bincount(labels)
        self.aims = [aim(int(n), fraction) for n in images]
        self.have = [0] * len(images)
        self.images = images.tolist()
        self.groups_of: list[list[int]] = [[] for _ in images]
        self.classes_of: list[list[tuple[int, int]]] = [[] for _ in range(int(groups.max(initial=-1)) + 1)]
        pairs, counts = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
        for label, group, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            self.groups_of[label].append(group)
            self.classes_of[group].append((label, count))
        self.training = [len(own) for own in self.groups_of]
        self.validation = np.zeros(len(self.classes_of), dtype=bool)

    def rarest_first(self) -> list[int]:
        return sorted(
            range(len(self.images)), key=lambda label: (len(self.groups_of[label]), self.images[label], label)
        )

    def missing(self, label: int) -> int:
        return self.aims[label] - self.have[label]

    def free(self, group: int) -> bool:
        """Say whether every class of the group keeps another one to train on."""
        return not self.validation[group] and all(self.training[label] > 1 for label, _ in self.classes_of[group])

    def cost(self, group: int, over: float = 1) -> float:
        """Return by how much moving the group takes all its classes away from their aims; `over` weighs excess."""
        if not self.free(group):
            return np.inf
        total = 0.0
        for label, count in self.classes_of[group]:
            missing = self.missing(label)
            excess = max(0, count - max(missing, 0))
            total += (excess * over if excess else 0) - min(count, max(missing, 0))
        return total

    def move(self, group: int) -> None:
        self.validation[group] = True
        for label, count in self.classes_of[group]:
            self.have[label] += count
            self.training[label] -= 1
