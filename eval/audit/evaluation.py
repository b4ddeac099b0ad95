"""Images of the dataset that are near duplicates of images of the evaluation sets, or of tasks of one's own.

Every channel of an evaluation image is compared, and all of its channels merged as the curation merges them. Only
complete images are compared: a crop of an evaluation image is found if it shows at least about 90 % of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import ConstantImageError, MetadataError, NotFiniteImageError, UnreadableImageError, UsageError
from ...builder.image_table.table import read_image_table
from ...builder.images.channel_reader import Refused
from ...builder.images.normalise import merge_channels, normalise, to_grey8
from ..protocols.settings import EvaluationSettings
from ..scores.neighbours import nearest
from ..tasks.registry import TASKS
from .duplicates import CANDIDATES, comparable, confirm
from .pixels import Pixels, collect, measure

SAMPLES_AT_ONCE = 64

Planes = Sequence[NDArray[np.generic]]


@dataclass(frozen=True)
class EvaluationSet:
    """Images to compare with.

    Attributes
    ----------
    name : str
        Name of the set, in reports.
    ids : list of str
    channels : int
    load : function (index) -> channels
        Each of shape (height, width).
    unread : list of str
        Samples that could not be compared, with the reason; filled by `matches`.
    """

    name: str
    ids: list[str]
    channels: int
    load: Callable[[int], Planes]
    unread: list[str] = field(default_factory=list)


def evaluation_sets(
    folder: str | PathLike[str] | None, tables: Sequence[str | PathLike[str]]
) -> tuple[list[EvaluationSet], dict[str, str]]:
    """Find the evaluation images.

    Parameters
    ----------
    folder : path, optional
        Folder of bbbc021/, coos7/ and cyclops/; those that are absent are left out.
    tables : sequence of path
        Image tables, folders or zips of one's own tasks.

    Returns
    -------
    sets : list of EvaluationSet
    incomplete : dict of set to reason
        The sets in the folder that can't be compared, because some or all of their files are missing.

    Raises
    ------
    UsageError
        If the folder has none of the three.
    MetadataError
        If none of them is complete and no table is named.
    """
    sets, incomplete = [], {}
    if folder is not None:
        present = [task for name, task in TASKS.items() if (Path(folder) / name).is_dir()]
        if not present:
            raise UsageError(
                "This folder has no evaluation set", where=folder, next=f"It should have {', '.join(TASKS)}"
            )
        for task in present:
            try:
                samples = task.read(Path(folder) / task.name, EvaluationSettings())
            except MetadataError as error:
                incomplete[task.name] = error.what
                last = error
                continue
            sets.append(EvaluationSet(task.name, samples.ids, len(samples.channels), samples.planes))
        if not sets and not tables:
            raise last
    for table in tables:
        images = read_image_table(table)
        ids = images.rows["id"].astype(str).tolist()
        sets.append(EvaluationSet(images.name, ids, len(images.channels), images.read))
    return sets, incomplete


def matches(pixels: Pixels, sets: Sequence[EvaluationSet], *, workers: int) -> NDArray[np.object_]:
    """Return for each image of the dataset the evaluation image that it duplicates, as `set/id`, or "".

    Parameters
    ----------
    pixels : Pixels
        Measurements of the dataset's images.
    sets : sequence of EvaluationSet
    workers : int
        Number of threads.
    """
    found = np.full(len(pixels), "", object)
    similarity = np.zeros(len(pixels))
    for one in sets:
        others, sample = _measure(one, workers)
        if not len(others):
            continue
        spectra = comparable(pixels.spectrum)
        queries = comparable(others.spectrum, like=pixels.spectrum)
        near, _ = nearest(queries, spectra, min(CANDIDATES, len(spectra)), "cosine")
        back, _ = nearest(spectra, queries, 1, "cosine")
        pairs = np.concatenate(
            [
                np.stack([near.ravel(), np.repeat(np.arange(len(near)), near.shape[1])], axis=1),
                np.stack([np.arange(len(back)), back[:, 0]], axis=1),
            ]
        )
        pairs = np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0)
        mine, left = np.unique(pairs[:, 0], return_inverse=True)
        theirs, right = np.unique(pairs[:, 1], return_inverse=True)
        copies = np.concatenate([pixels.copies[mine], others.copies[theirs]])
        same, value = confirm(copies, np.stack([left, len(mine) + right], axis=1), workers=workers)
        for (i, j), correlation in zip(same, value, strict=True):
            image, view = mine[i], theirs[j - len(mine)]
            if correlation > similarity[image]:
                similarity[image] = correlation
                found[image] = f"{one.name}/{one.ids[sample[view]]}"
    return found


def _measure(one: EvaluationSet, workers: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Measure all views of a set; return the index of the sample of each view, too."""
    sample: list[int] = []

    def work(start: int) -> tuple[list[int], Pixels]:
        shown: list[NDArray[np.uint8]] = []
        of: list[int] = []
        for i in range(start, min(start + SAMPLES_AT_ONCE, len(one.ids))):
            try:
                views = _views(one.load(i))
            except (Refused, UnreadableImageError) as error:
                one.unread.append(f"{one.ids[i]}: {_reason(error)}")
                continue
            shown += views
            of += [i] * len(views)
        return of, measure(shown)

    def results() -> Iterator[Pixels]:
        with ThreadPoolExecutor(workers) as pool:
            for of, part in pool.map(work, range(0, len(one.ids), SAMPLES_AT_ONCE)):
                sample.extend(of)
                yield part

    pixels = collect(results(), len(one.ids) * (one.channels + 1), f"measure {one.name}")
    return pixels, np.array(sample, np.int64)


def _reason(error: Refused | UnreadableImageError) -> str:
    return error.verdict.detail if isinstance(error, Refused) else error.reason


def _views(planes: Planes) -> list[NDArray[np.uint8]]:
    """Return each channel as curation would store it alone, and all of them merged; without constant ones."""
    views = []
    for plane in planes:
        try:
            views.append(to_grey8(normalise(plane)))
        except (ConstantImageError, NotFiniteImageError):
            continue
    if len(planes) > 1 and len({plane.shape for plane in planes}) == 1:
        try:
            views.append(merge_channels(planes))
        except (ConstantImageError, NotFiniteImageError):
            pass
    return views
