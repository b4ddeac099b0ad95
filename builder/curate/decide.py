"""Rules that need all images at once: duplicates, class sizes, train or validation.

They work on numbers about the images, about 100 bytes each, never on pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import schema
from ..images.digest import first_equal
from ..seeded import sort_keys
from . import split
from .settings import Settings
from .tried import TriedImages

KEPT = -1
CODE = {reason: code for code, reason in enumerate(schema.REASONS)}
LATE_REASONS = ("in_evaluation_set", "duplicate", "class_full", "class_too_small")
"""The reasons given here, in the order in which they are given."""
STAGE = np.array([1 + LATE_REASONS.index(reason) if reason in LATE_REASONS else 0 for reason in schema.REASONS] + [0])
"""Stage that gives each reason of `schema.REASONS` (0: while reading the image; 1, 2, ...: afterwards), and `KEPT`."""


@dataclass(frozen=True)
class Decided:
    """What becomes of every image that was tried.

    Parameters
    ----------
    tried : TriedImages
    settings : Settings
    reason : int8 array, shape (images,)
        `KEPT`, or the index of the reason in `schema.REASONS`.
    copy_of : int64 array, shape (images,)
        For a duplicate the image that it equals, else -1.
    class_size : int array, shape (classes,)
        Images of each class after quality control and duplicates, before it was downsampled or left out.
    evaluation_file : mapping of int to str
        Rows of the selection with a channel that is an evaluation image, and the file of that image.
    kept : int array, shape (kept images,)
        The images that are kept, in the order of the dataset: by label, idx and index within the row.
    validation : bool array, shape (kept images,)
        True for images of the validation split, False for train.
    """

    tried: TriedImages
    settings: Settings
    reason: NDArray[np.int8]
    copy_of: NDArray[np.int64]
    class_size: NDArray[np.int64]
    evaluation_file: Mapping[int, str]
    kept: NDArray[np.int64]
    validation: NDArray[np.bool_]


def decide(tried: TriedImages, evaluation: Mapping[str, str], settings: Settings) -> Decided:
    """Choose the images that are kept, and the validation images among them.

    Parameters
    ----------
    tried : TriedImages
    evaluation : mapping of str to str
        Digests of the channels of evaluation images, and their files.
    settings : Settings
    """
    reason = _reasons_so_far(tried.table)
    evaluation_file = _evaluation_files(tried, evaluation)
    reason[(reason == KEPT) & np.isin(tried.row, list(evaluation_file))] = CODE["in_evaluation_set"]
    row_keys = sort_keys(tried.selection["idx"].to_pylist(), settings.seed, "class_full")
    reason, copy_of, class_size = _apply_class_rules(reason, tried, row_keys, settings)
    kept = np.flatnonzero(reason == KEPT)
    kept = kept[np.lexsort((tried.number[kept], tried.row[kept]))]
    validation = _choose_validation(tried.row[kept], tried.class_of_row, tried.selection, settings)
    return Decided(tried, settings, reason, copy_of, class_size, evaluation_file, kept, validation)


def _reasons_so_far(table: pa.Table) -> NDArray[np.int8]:
    """Return the codes of the reasons that were given while the images were read."""
    codes = pc.index_in(table["reason"], pa.array(schema.REASONS))
    return pc.fill_null(codes, KEPT).to_numpy().astype(np.int8)


def _evaluation_files(tried: TriedImages, evaluation: Mapping[str, str]) -> dict[int, str]:
    """Return the rows with a channel that is an evaluation image, and the file of that image."""
    found: dict[int, str] = {}
    if evaluation:
        digested = pc.not_equal(tried.table["channel_digests"], "").to_numpy(zero_copy_only=False)
        for image in np.flatnonzero(digested):
            for digest in tried.table["channel_digests"][int(image)].as_py().split("|"):
                if digest in evaluation:
                    found[int(tried.row[image])] = evaluation[digest]
    return found


def _apply_class_rules(
    before: NDArray[np.int8], tried: TriedImages, row_keys: NDArray[np.uint64], settings: Settings
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
    """Leave out duplicates, small classes and the surplus of large ones; return reason, copy_of and class_size.

    Of equal images in two classes the rarer class keeps its own. If that class is then left out as too small, the
    other class gets the image back; so the rules are applied again until no further class is left out.
    """
    rows, number, digests = tried.row, tried.number, _digests(tried.table)
    label = tried.class_of_image
    dropped = np.zeros(len(tried.classes), dtype=bool)
    class_size = np.zeros(len(dropped), dtype=np.int64)
    while True:
        reason, copy_of = before.copy(), np.full(len(before), -1, dtype=np.int64)
        reason[(reason == KEPT) & dropped[label]] = CODE["class_too_small"]
        kept = np.flatnonzero(reason == KEPT)
        sizes = np.bincount(label[kept], minlength=len(dropped))
        rank = np.empty(len(kept), dtype=np.int64)
        rank[np.lexsort((number[kept], rows[kept], label[kept], sizes[label[kept]]))] = np.arange(len(kept))
        first = first_equal(digests[kept], rank)
        copies = first != np.arange(len(kept))
        reason[kept[copies]], copy_of[kept[copies]] = CODE["duplicate"], kept[first[copies]]
        kept = kept[~copies]
        now = np.bincount(label[kept], minlength=len(dropped))
        class_size = np.where(dropped, class_size, now)  # a class that was left out keeps the size it had then
        surplus = _surplus(rows[kept], label[kept], number[kept], row_keys, settings.max_images)
        reason[kept[surplus]] = CODE["class_full"]
        too_small = (now < settings.min_class_size) & ~dropped & (sizes > 0)
        if not too_small.any():
            return reason, copy_of, class_size
        dropped |= too_small


def _digests(table: pa.Table) -> NDArray[np.bytes_]:
    """Return the digests as an array of 32 bytes each, which numpy can sort."""
    column = table["sha256"].combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return np.frombuffer(column.buffers()[1], dtype="S32")[column.offset : column.offset + len(column)]


def _surplus(
    rows: NDArray[np.int64],
    label: NDArray[np.int64],
    number: NDArray[np.int8],
    row_keys: NDArray[np.uint64],
    max_images: int,
) -> NDArray[np.bool_]:
    """Mark the images that classes of more than `max_images` lose: each row keeps one crop as long as possible."""
    order = np.lexsort((number, rows))
    sorted_rows = rows[order]
    turn = np.empty(len(rows), dtype=np.int64)
    turn[order] = np.arange(len(rows)) - np.searchsorted(sorted_rows, sorted_rows)
    order = np.lexsort((rows, row_keys[rows], turn, label))
    sizes = np.bincount(label)
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place >= max_images


def _choose_validation(
    rows: NDArray[np.int64], class_of_row: NDArray[np.int64], selection: pa.Table, settings: Settings
) -> NDArray[np.bool_]:
    """Mark the validation images among kept images, given by their (sorted) rows."""
    _, label = np.unique(class_of_row[rows], return_inverse=True)
    idx = selection["idx"]
    if settings.split == "published":
        number = np.arange(len(rows)) - np.searchsorted(rows, rows)  # index among the kept images of the row
        images = zip(idx.take(pa.array(rows)).to_pylist(), number.tolist(), strict=True)
        keys = sort_keys((f"{name} {n}" for name, n in images), settings.seed, "validation")
        return split.validation_published(label, keys)
    used, at = np.unique(rows, return_inverse=True)
    own = selection.take(pa.array(used))
    together = [[own[name] for name in columns] for columns in split.TOGETHER[settings.split]]
    first, group = np.unique(split.source_groups(own["channels"], together), return_inverse=True)
    keys = sort_keys(idx.take(pa.array(used[first])).to_pylist(), settings.seed, "validation")
    return split.validation_by_group(label, group[at], keys)
