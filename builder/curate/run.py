"""Curation: selected source images in, the dataset's images out, with every row accounted for.

Workers write chunks of images (`chunk`). Then the rules that need all images are applied to numbers alone (`decide`),
counted (`accounting`) and written as `rows.parquet` and `rejected.parquet` (`tables`). `curated.json` is written last
and marks the folder as finished.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any

import pandas as pd

from .. import resume, schema, storage
from ..errors import UsageError
from ..images.make import PixelSettings
from ..locks import only_run
from ..progress import progress
from . import chunk, split, tables
from .accounting import account
from .chunk import ChunkResult
from .decide import decide
from .earlier import rejected_before
from .evaluation_images import NO_EVALUATION_IMAGES, EvaluationImages, read_evaluation
from .plan import Plan, make_plan
from .settings import Settings
from .split_counts import count_split
from .tried import gather
from .workers import Workers, make_chunks, workers_of

STARTED = "settings.json"
FINISHED = "curated.json"


def curate(
    selection: str | PathLike[str] | pd.DataFrame,
    raw: str | PathLike[str],
    out: str | PathLike[str],
    *,
    settings: Settings | None = None,
    evaldata: str | PathLike[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    rebuild: bool = False,
    earlier_settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the images of a selection; continue where an interrupted run stopped.

    Parameters
    ----------
    selection : path or DataFrame of schema.SELECTION
        Source images and their classes. The rows of `<stem>.rejected.parquet`, in the same folder, are carried over.
    raw : str or path
        Folder or URL that `channels` are relative to.
    out : str or path
        Folder or URL to write: `rows.parquet`, `rejected.parquet`, `curated.json`, `chunks/`.
    settings : Settings, optional
    evaldata : str or path, optional
        Evaluation sets. Their images are left out of the dataset.
    workers : int, optional
        Number of processes; by default one per core. 0 works in this process.
    dask : str, optional
        Address of a Dask scheduler, or `local`.
    rebuild : bool
        Replace work done with other settings.
    earlier_settings : mapping, optional
        Settings of earlier stages, recorded together with these.

    Returns
    -------
    dict
        The content of `curated.json`: settings, seed, counts, classes, digests.

    Raises
    ------
    SettingsChangedError
        If `out` contains work done with other settings.
    UsageError
        If another run is writing to `out`, or an argument is not valid.
    CheckFailedError
        If a row or an image is not accounted for.
    """
    settings = settings or Settings()
    if settings.split not in split.RULES:
        raise UsageError(f"No split rule {settings.split!r}; there are {', '.join(split.RULES)}")
    raw, out = os.fspath(raw), os.fspath(out)
    pool = workers_of(workers, dask)
    evaluation = read_evaluation(evaldata, workers=workers) if evaldata is not None else NO_EVALUATION_IMAGES
    recorded = _recorded(settings, evaluation, earlier_settings)
    plan = make_plan(selection)
    with only_run(out):
        _claim(out, recorded, rebuild)
        chunks = _make_images(plan, raw, out, PixelSettings(settings.seed, evaluation.shapes), settings, pool)
        decided = decide(gather(plan, chunks, out), evaluation.files, settings)
        earlier = rejected_before(selection)
        report = {**account(decided, earlier), "split": count_split(decided)}
        tables.write_rows(decided, chunks, out)
        tables.write_rejected(decided, out, earlier)
        tables.check_written(report, out)
        compared = {"channels": len(evaluation.files), "skipped": evaluation.skipped}
        curated = {"format": "cytoimagenet-curated", "schema_version": schema.VERSION, "settings": recorded,
                   "seed": settings.seed, "evaluation": compared, **report, **_own_sources(selection),
                   "digests": tables.digests(out)}  # fmt: skip
        storage.write_atomic(storage.join(out, FINISHED), resume.to_json(curated))
        _remove_stale_chunks(out, {result.name for result in chunks})
        return curated


def _recorded(settings: Settings, evaluation: EvaluationImages, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return everything the folder depends on, as it is written into it."""
    digest = hashlib.sha256("\n".join(sorted(evaluation.files)).encode()).hexdigest() if evaluation.files else ""
    return {**(earlier or {}), **asdict(settings), "evaldata": digest, "procedure": PixelSettings.procedure}


def _own_sources(selection: str | PathLike[str] | pd.DataFrame) -> dict[str, Any]:
    """Return the facts about users' own sources, carried over from the catalogue for the dataset card."""
    facts = {} if isinstance(selection, pd.DataFrame) else schema.own_sources(selection)
    return {"own_sources": facts} if facts else {}


def _claim(out: str, recorded: Mapping[str, Any], rebuild: bool) -> None:
    """Take the folder for these settings, and mark it as unfinished."""
    resume.claim(
        out,
        STARTED,
        recorded,
        what="This folder contains curated images made with other settings",
        next="Use the same settings, another folder, or --rebuild to replace the images in this one.",
        replace=rebuild,
    )
    fs, finished = storage.filesystem(storage.join(out, FINISHED))
    if fs.exists(finished):
        fs.rm_file(finished)


def _make_images(
    plan: Plan, raw: str, out: str, pixels: PixelSettings, settings: Settings, pool: Workers
) -> list[ChunkResult]:
    """Write all chunks; return their results in the order of the plan."""
    results: dict[int, ChunkResult] = {}
    with progress("Making images", len(plan.order)) as bar:
        for job, result in make_chunks(plan.jobs(settings.chunk_rows), raw, out, pixels, pool):
            results[job.number] = result
            bar.advance(result.rows, failed=result.rejected)
    return [results[number] for number in range(len(results))]


def _remove_stale_chunks(out: str, names: set[str]) -> None:
    """Remove chunks of earlier settings or rows, which the finished tables no longer refer to."""
    fs, folder = storage.filesystem(storage.join(out, chunk.FOLDER))
    for path in fs.ls(folder, detail=False):
        if str(path).rsplit("/", 1)[-1] not in names:
            fs.rm_file(path)
