"""What only the whole run can decide: equal images, full classes, small classes, train or validation.

It works on numbers about the images tried, about 100 bytes each, never on pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import schema
from ..images.digest import later_copies
from ..seeded import sort_keys
from . import split

KEPT = -1
CODE = {reason: code for code, reason in enumerate(schema.REASONS)}
GLOBAL = ("in_evaluation_set", "duplicate", "class_full", "class_too_small")
"""The reasons given here, in the order in which they are given."""


class Decision(NamedTuple):
    """What becomes of every image tried.

    Parameters
    ----------
    reason : int8 array
        `KEPT`, or the place of the reason in `schema.REASONS`.
    twin : int64 array
        For a duplicate the line of the image it equals, else -1.
    left : int array
        Per class: images left after quality control and duplicates, before the class was cut or dropped.
    known : mapping of int to str
        Rows of which a channel is an evaluation image, and the file it lies in.
    """

    reason: NDArray[np.int8]
    twin: NDArray[np.int64]
    left: NDArray[np.int64]
    known: Mapping[int, str]


def decide(
    tried: pa.Table,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    row_keys: NDArray[np.uint64],
    evaluation: Mapping[str, str],
    *,
    max_images: int,
    min_class_size: int,
) -> Decision:
    """Choose the images that stay.

    Parameters
    ----------
    tried : pyarrow.Table of chunk.TRIED
    rows : int array, shape (lines,)
        The source image, as a row of the selection, of each line of `tried`.
    labels : int array, shape (rows,)
        Class of each row, numbered in the order of labels.
    row_keys : uint64 array, shape (rows,)
        Random but reproducible: which images stay in a class that is too full.
    evaluation : mapping
        Digests of the channels of evaluation images.
    max_images, min_class_size : int
        Bounds of a class.
    """
    reason = _reasons_so_far(tried)
    known = _known(tried, rows, evaluation)
    reason[(reason == KEPT) & np.isin(rows, list(known))] = CODE["in_evaluation_set"]
    number = tried["number"].to_numpy()
    digests = _digests(tried)
    before = reason
    dropped = np.zeros(int(labels.max(initial=-1)) + 1, dtype=bool)
    left = np.zeros(len(dropped), dtype=np.int64)
    while True:
        # a duplicate is left out for an image that stays: when a class falls, what it had won is free again
        reason, twin = before.copy(), np.full(len(before), -1, dtype=np.int64)
        line_class = labels[rows]
        reason[(reason == KEPT) & dropped[line_class]] = CODE["class_too_small"]
        kept = np.flatnonzero(reason == KEPT)
        sizes = np.bincount(line_class[kept], minlength=len(dropped))
        # equal images of two classes: the rarer class keeps its own
        rank = np.empty(len(kept), dtype=np.int64)
        rank[np.lexsort((number[kept], rows[kept], line_class[kept], sizes[line_class[kept]]))] = np.arange(len(kept))
        first = later_copies(digests[kept], rank)
        copies = first != np.arange(len(kept))
        reason[kept[copies]], twin[kept[copies]] = CODE["duplicate"], kept[first[copies]]
        kept = kept[~copies]
        now = np.bincount(line_class[kept], minlength=len(dropped))
        left = np.where(dropped, left, now)  # a class that fell keeps the number it fell with
        reason[kept[_beyond(rows[kept], line_class[kept], number[kept], row_keys, max_images)]] = CODE["class_full"]
        falling = (now < min_class_size) & ~dropped & (sizes > 0)
        if not falling.any():
            return Decision(reason, twin, left, known)
        dropped |= falling


def sides(
    rows: NDArray[np.int64], labels: NDArray[np.int64], selection: pa.Table, *, seed: int, rule: str
) -> NDArray[np.bool_]:
    """Say for every kept image whether it is for validation.

    Parameters
    ----------
    rows, labels : int array, shape (images,)
        Source image and class of each kept image, in the order of the dataset.
    selection : pyarrow.Table
        With the columns `idx` and `channels`.
    seed : int
    rule : {"by-image", "published"}
    """
    _, labels = np.unique(labels, return_inverse=True)
    idx = selection["idx"]
    if rule == "published":
        number = np.arange(len(rows)) - np.searchsorted(rows, rows)  # index of each kept image within its row
        images = zip(idx.take(pa.array(rows)).to_pylist(), number.tolist(), strict=True)
        keys = sort_keys((f"{name} {n}" for name, n in images), seed, "validation")
        return split.validation_published(labels, keys)
    used, at = np.unique(rows, return_inverse=True)
    first, group = np.unique(split.source_groups(selection["channels"].take(pa.array(used))), return_inverse=True)
    names = idx.take(pa.array(used[first])).to_pylist()
    return split.validation_by_image(labels, group[at], sort_keys(names, seed, "validation"))


def _reasons_so_far(tried: pa.Table) -> NDArray[np.int8]:
    codes = pc.index_in(tried["reason"], pa.array(schema.REASONS))
    return pc.fill_null(codes, KEPT).to_numpy().astype(np.int8)


def _known(tried: pa.Table, rows: NDArray[np.int64], evaluation: Mapping[str, str]) -> dict[int, str]:
    """Return the source images of which a channel is an evaluation image, and that image's file."""
    known: dict[int, str] = {}
    if evaluation:
        said = pc.not_equal(tried["channel_digests"], "").to_numpy(zero_copy_only=False)
        for line in np.flatnonzero(said):
            for digest in tried["channel_digests"][int(line)].as_py().split("|"):
                if digest in evaluation:
                    known[int(rows[line])] = evaluation[digest]
    return known


def _digests(tried: pa.Table) -> NDArray[np.bytes_]:
    """Return the digests as an array of 32 bytes each; numpy can sort these."""
    column = tried["sha256"].combine_chunks()
    column = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return np.frombuffer(column.buffers()[1], dtype="S32")[column.offset : column.offset + len(column)]


def _beyond(
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    number: NDArray[np.int64],
    row_keys: NDArray[np.uint64],
    most: int,
) -> NDArray[np.bool_]:
    """Say which images a class of more than `most` gives up: further crops before any source image's first."""
    order = np.lexsort((number, rows))
    sorted_rows = rows[order]
    turn = np.empty(len(rows), dtype=np.int64)
    turn[order] = np.arange(len(rows)) - np.searchsorted(sorted_rows, sorted_rows)
    order = np.lexsort((rows, row_keys[rows], turn, labels))
    sizes = np.bincount(labels)
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place >= most
