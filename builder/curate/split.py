"""The train and validation splits: no source image is in both.

The paper took 10 % of the images of each class, whatever source image they came from. Crops of one image are then in
both splits, and the validation accuracy is too high. Here all images of the same source files, and all images of the
same `group` (plate, movie, donor) where a source names these, form a group, across classes, and each group goes into
one split. By plate or by well, so do all images of a plate or of a well. All these apply together: a `group` with wells
of two plates joins the two plates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..images.channels import FRAGMENT

Texts: TypeAlias = pa.Array | pa.ChunkedArray
Numbers: TypeAlias = NDArray[np.int64]

VALIDATION = 0.1  # preprint, 2.4
ROWS_AT_ONCE = 2**16  # whose file names are in memory
TOGETHER: dict[str, tuple[tuple[str, ...], ...]] = {
    "by-image": (("dir_name", "group"),),
    "by-plate": (("dir_name", "group"), ("dir_name", "plate")),
    "by-well": (("dir_name", "group"), ("dir_name", "plate", "well")),
}
"""Rule -> columns: rows that agree in all columns of an entry are in the same split, unless one of these is empty. A
well without a plate is not known: every plate has a well A01."""
RULES = (*TOGETHER, "published")


def validation_target(images: int, fraction: float = VALIDATION) -> int:
    """Return how many of the images of a class should be validation images, rounded half up."""
    return int(images * fraction + 0.5)


def source_groups(channels: Texts, together: Sequence[Sequence[Texts]] = ()) -> Numbers:
    """Number the groups of rows that share a file, or other facts.

    Parameters
    ----------
    channels : Arrow array of str
        The `channels` of each row, joined by `|`. Pages and boxes are ignored.
    together : sequence of sequences of Arrow arrays of str
        Rows that agree in all columns of an entry, e.g. in source and plate, belong together. Rows with an empty text
        in one of them are not joined by this entry.

    Returns
    -------
    int array, shape (rows,)
        The first row of each row's group.

    Examples
    --------
    >>> files, plate = pa.array(["1.tif", "2.tif", "1.tif", "3.tif"]), pa.array(["", "P1", "", "P1"])
    >>> source_groups(files, [[plate]])
    array([0, 1, 0, 1])
    """
    rows, hashes = [], []
    for start in range(0, max(1, len(channels)), ROWS_AT_ONCE):
        places = pc.split_pattern(channels.slice(start, ROWS_AT_ONCE), "|")
        names = pc.replace_substring_regex(pc.list_flatten(places), FRAGMENT.pattern, "")
        rows.append(np.repeat(np.arange(start, start + len(places)), pc.list_value_length(places).to_numpy()))
        # 64 bits instead of each name: two of a hundred million files are confused with a probability of 1 in 4,000
        hashes.append(_hashed(names))
    for number, columns in enumerate(together):
        named = _filled(columns)
        texts = [_text(column.take(pa.array(named))) for column in columns]
        rows.append(named)
        # no file has such a name, and equal texts in two entries are two groups
        kind, separator = (pa.scalar(text, pa.large_string()) for text in (str(number), "\0"))
        hashes.append(_hashed(pc.binary_join_element_wise(*texts, kind, separator)))
    row, file = np.concatenate(rows), np.unique(np.concatenate(hashes), return_inverse=True)[1]
    del rows, hashes
    group = np.arange(len(channels))
    lowest = np.full(int(file.max(initial=-1)) + 1, len(channels), dtype=np.int64)
    while True:
        # pass the lowest row number from rows to their files and back, until nothing changes
        np.minimum.at(lowest, file, group[row])
        after = group.copy()
        np.minimum.at(after, row, lowest[file])
        if np.array_equal(after, group):
            return group
        group = after


def _filled(columns: Sequence[Texts]) -> Numbers:
    """Return the rows in which no text is empty."""
    filled = [pc.not_equal(_text(column), "").to_numpy(zero_copy_only=False) for column in columns]
    return np.flatnonzero(np.logical_and.reduce(filled))


def _hashed(texts: Texts) -> NDArray[np.uint64]:
    return pd.util.hash_array(texts.to_numpy(zero_copy_only=False), categorize=False)


def _text(values: Texts) -> Texts:
    """Return texts that a file may have stored as a dictionary."""
    return values.cast(pa.large_string())


def validation_by_group(
    labels: NDArray[np.int64], groups: NDArray[np.int64], ranks: NDArray[np.uint64], fraction: float = VALIDATION
) -> NDArray[np.bool_]:
    """Choose validation images so that no group is in both splits.

    Parameters
    ----------
    labels, groups : int array, shape (images,)
        Class and group of each image, each numbered from 0 without gaps.
    ranks : array, shape (groups,)
        Groups of low rank are tried first.
    fraction : float
        Share of validation images.

    Returns
    -------
    bool array, shape (images,)
        True for validation. Per class the number is as close to `validation_target` as complete groups allow. Each
        split has at least one group of every class that has two groups which other classes leave free.

    Examples
    --------
    >>> labels = np.repeat([0, 1], 20)  # two classes of 20 images: 10 groups of 2 images each
    >>> chosen = validation_by_group(labels, np.arange(40) // 2, ranks=np.arange(20))
    >>> np.flatnonzero(chosen).tolist()
    [0, 1, 20, 21]
    """
    state = _Split(labels, groups, fraction)
    for label in state.rarest_first():
        own = sorted(state.groups_of[label], key=lambda g: (ranks[g], g))
        for group in own:
            if state.missing(label) <= 0:
                break
            if state.cost(group, over=np.inf) < 0:
                state.move(group)
        while state.missing(label) > 0:
            best = min((g for g in own if state.free(g)), key=state.cost, default=None)
            if best is None or state.cost(best) >= 0:
                break
            state.move(best)
        if state.chosen[label] == 0:
            best = min((g for g in own if state.free(g)), key=state.cost, default=None)
            if best is not None:
                state.move(best)
    return state.validation[groups]


def validation_published(labels: NDArray[np.int64], ranks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Choose validation images as the paper did: a tenth of each class, whatever source image they come from.

    Parameters
    ----------
    labels : int array, shape (images,)
        Class of each image.
    ranks : array, shape (images,)
        The images of the lowest ranks in each class are taken.
    """
    order = np.lexsort((ranks, labels))
    sizes = np.bincount(labels)
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place < np.array([validation_target(size) for size in sizes], dtype=np.int64)[labels]


class _Split:
    """The groups in the validation split so far, and what that means for every class."""

    def __init__(self, labels: NDArray[np.int64], groups: NDArray[np.int64], fraction: float) -> None:
        images = np.bincount(labels)
        self.targets = [validation_target(int(n), fraction) for n in images]
        self.chosen = [0] * len(images)
        self.images = images.tolist()
        self.groups_of: list[list[int]] = [[] for _ in images]
        self.classes_of: list[list[tuple[int, int]]] = [[] for _ in range(int(groups.max(initial=-1)) + 1)]
        pairs, counts = np.unique(np.stack([labels, groups]), axis=1, return_counts=True)
        for label, group, count in zip(*pairs.tolist(), counts.tolist(), strict=True):
            self.groups_of[label].append(group)
            self.classes_of[group].append((label, count))
        self.train_groups = [len(own) for own in self.groups_of]
        self.validation = np.zeros(len(self.classes_of), dtype=bool)

    def rarest_first(self) -> list[int]:
        """Return the classes, those of the fewest groups first."""
        return sorted(
            range(len(self.images)), key=lambda label: (len(self.groups_of[label]), self.images[label], label)
        )

    def missing(self, label: int) -> int:
        """Return the number of validation images that a class still needs."""
        return self.targets[label] - self.chosen[label]

    def free(self, group: int) -> bool:
        """Return whether the group can move: every class of it keeps another group to train on."""
        return not self.validation[group] and all(self.train_groups[label] > 1 for label, _ in self.classes_of[group])

    def cost(self, group: int, over: float = 1) -> float:
        """Return by how many images a move takes its classes away from their targets; `over` weighs excess."""
        if not self.free(group):
            return np.inf
        total = 0.0
        for label, count in self.classes_of[group]:
            missing = self.missing(label)
            excess = max(0, count - max(missing, 0))
            total += (excess * over if excess else 0) - min(count, max(missing, 0))
        return total

    def move(self, group: int) -> None:
        """Put a group into the validation split."""
        self.validation[group] = True
        for label, count in self.classes_of[group]:
            self.chosen[label] += count
            self.train_groups[label] -= 1
