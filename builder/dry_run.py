"""What a build would give, from a sample of each class, without writing a dataset."""

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
from .progress import track
from .seeded import sort_key

SAMPLE = 200  # source images that a dry run makes, to tell how large all will be


def foresee(raw: str | PathLike[str], recipe: Recipe | None = None) -> dict[str, Any]:
    """Say what `build` would do and how large the result would be; write nothing.

    A seeded sample of the selected source images is made in memory; the rest is extrapolated from it.

    Parameters
    ----------
    raw : path
        As `build`.
    recipe : Recipe, optional

    Returns
    -------
    dict
        Rows, classes, source images, images wanted and expected, bytes expected, seconds of one core expected.
    """
    recipe = recipe or Recipe()
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-foresee-") as folder:
        plan = make_plan(select(raw, folder, recipe))
        rows = pq.read_metadata(storage.join(folder, "catalog.parquet")).num_rows
    selected = len(plan.selection)
    return {"rows": rows, "not_selected": rows - selected, **expect(plan, raw, recipe.curation)}


def expect(plan: Plan, raw: str | PathLike[str], settings: Settings) -> dict[str, Any]:
    """Extrapolate a plan from a sample of it.

    Parameters
    ----------
    plan : Plan
        From `curate.make_plan`.
    raw : str or path
        Where the sources lie.
    settings : Settings
    """
    idx = plan.selection["idx"].to_pylist()
    sample = sorted(range(len(idx)), key=lambda row: sort_key(idx[row], settings.seed, "foresee"))[:SAMPLE]
    reader, pixels = Reader(raw), PixelSettings(settings.seed)
    tried = kept = size = 0
    wanted = int(plan.crops[sample].sum())
    start = time.perf_counter()
    for row in track(sorted(sample), "Making a sample"):
        channels = plan.selection["channels"][row].as_py()
        for image in images_of(SourceImage(idx[row], channels, int(plan.crops[row])), reader, pixels):
            tried, kept, size = tried + 1, kept + bool(image.png), size + len(image.png)
    seconds = (time.perf_counter() - start) / len(sample)
    label = plan.selection["label"].combine_chunks().dictionary_encode().indices.to_numpy()
    classes = np.bincount(label, weights=plan.crops)
    images = np.minimum(classes * kept / wanted, settings.max_images).sum()
    return {
        "classes": len(classes),
        "source_images": len(idx),
        "images_wanted": int(classes.sum()),
        "sample": {"source_images": len(sample), "images_tried": tried, "images_kept": kept},
        "images_expected": round(images),
        "bytes_expected": round(images * size / max(kept, 1)),
        "core_seconds_expected": round(seconds * len(idx), 1),
    }
