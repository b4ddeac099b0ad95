"""Estimate the result of a build from a sample of its source images, without writing a dataset."""

from __future__ import annotations

import tempfile
import time
from os import PathLike
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from . import storage
from .build import Recipe, select
from .curate.plan import Plan, make_plan
from .curate.settings import Settings
from .images.channel_reader import Reader
from .images.make import PixelSettings, SourceImage, images_of
from .labels.report import remarks
from .progress import track
from .seeded import sort_key

SAMPLED = 200  # source images that are processed to estimate the size of the dataset


def estimate_build(raw: str | PathLike[str], recipe: Recipe | None = None) -> dict[str, Any]:
    """Estimate what `build` would do, and the size of the result; write no files.

    A seeded sample of the selected source images is processed in memory, and the numbers are extrapolated.

    Parameters
    ----------
    raw : path
        As `build`.
    recipe : Recipe, optional

    Returns
    -------
    dict
        `rows` of the catalogue, `not_selected` of them, `labels` (remarks about labels that may be wrong), and the
        numbers of `estimate`.
    """
    recipe = recipe or Recipe()
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-dry-run-") as folder:
        selection, _, labelled = select(raw, folder, recipe)
        plan = make_plan(selection)
        rows = pq.read_metadata(storage.join(folder, "catalog.parquet")).num_rows
    selected = len(plan.selection)
    counts = {"rows": rows, "not_selected": rows - selected, "labels": remarks(labelled)}
    return {**counts, **estimate(plan, raw, recipe.curation)}


def estimate(plan: Plan, raw: str | PathLike[str], settings: Settings) -> dict[str, Any]:
    """Estimate the result of a curation.

    Parameters
    ----------
    plan : Plan
        From `curate.plan.make_plan`.
    raw : str or path
        The folder of the sources.
    settings : Settings

    Returns
    -------
    dict
        `classes`, `source_images`, `images_wanted` (crops to cut), `sample` (counts), `images_expected` (after quality
        control and downsampling), `bytes_expected`, `core_seconds_expected` (seconds on one core).
    """
    idx = plan.selection["idx"].to_pylist()
    sample = sorted(range(len(idx)), key=lambda row: sort_key(idx[row], settings.seed, "foresee"))[:SAMPLED]
    reader, pixels = Reader(raw), PixelSettings(settings.seed)
    tried = kept = size = 0
    crops = int(plan.crops[sample].sum())
    start = time.perf_counter()
    for row in track(sorted(sample), "Processing a sample"):
        channels = plan.selection["channels"][row].as_py()
        for image in images_of(SourceImage(idx[row], channels, int(plan.crops[row])), reader, pixels):
            tried, kept, size = tried + 1, kept + bool(image.png), size + len(image.png)
    seconds = (time.perf_counter() - start) / len(sample)
    label = plan.selection["label"].combine_chunks().dictionary_encode().indices.to_numpy()
    classes = np.bincount(label, weights=plan.crops)
    images = np.minimum(classes * kept / crops, settings.max_images).sum()
    return {
        "classes": len(classes),
        "source_images": len(idx),
        "images_wanted": int(classes.sum()),
        "sample": {"source_images": len(sample), "images_tried": tried, "images_kept": kept},
        "images_expected": round(images),
        "bytes_expected": round(images * size / max(kept, 1)),
        "core_seconds_expected": round(seconds * len(idx), 1),
    }
