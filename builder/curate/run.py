"""Selected source images in, the dataset's images out, with every row accounted for.

Workers make chunks of images (`chunk`), then the whole is decided over their numbers alone (`decide`) and written as
`rows.parquet` and `rejected.parquet`. `curated.json` comes last and says that the folder is finished.
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
from ..images.make import Pixels
from ..progress import progress
from ..storage import beside
from . import chunk, split, tables
from . import evaluation_images as evaluation
from . import workers as engine
from .chunk import Done
from .plan import Plan, make_plan
from .settings import Settings

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
    made_with: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make the images of a selection; go on where a killed run stopped.

    Parameters
    ----------
    selection : path or DataFrame of schema.SELECTION
        Source images and their classes. `<stem>.rejected.parquet` beside a file is carried over.
    raw : str or path
        Folder or URL that `channels` are relative to.
    out : str or path
        Folder or URL to write: `rows.parquet`, `rejected.parquet`, `curated.json`, `chunks/`.
    settings : Settings, optional
    evaldata : str or path, optional
        Evaluation sets, whose images are left out.
    workers : int, optional
        Processes; default one for each core, 0 for none but this one.
    dask : str, optional
        Address of a Dask scheduler, or `local`.
    rebuild : bool
        Replace work done with other settings.
    made_with : mapping, optional
        Settings of earlier stages, to be recorded beside these.

    Returns
    -------
    dict
        What `curated.json` holds: settings, seed, counts, classes, digests.

    Raises
    ------
    SettingsChangedError
        If `out` holds work done with other settings.
    CheckFailedError
        If a row or an image is not accounted for.
    """
    settings = settings or Settings()
    if settings.split not in split.RULES:
        raise UsageError(f"No split rule {settings.split!r}; there are {', '.join(split.RULES)}")
    raw, out = os.fspath(raw), os.fspath(out)
    pool = engine.workers_of(workers, dask)
    known = evaluation.read_evaluation(evaldata) if evaldata is not None else evaluation.NONE
    recorded = record(settings, known, made_with)
    plan = make_plan(selection)
    _claim(out, recorded, rebuild)
    pixels = Pixels(settings.seed, known.shapes)
    done = _make(plan, raw, out, pixels, settings, pool)
    told = tables.write_tables(plan.selection, plan.order, done, out, settings, known.files, earlier_of(selection))
    told = {"format": "cytoimagenet-curated", "schema_version": schema.VERSION, "settings": recorded,
            "seed": settings.seed, "evaluation": {"channels": len(known.files), "skipped": known.skipped},
            **told}  # fmt: skip
    storage.write_atomic(storage.join(out, FINISHED), resume.to_json(told))
    _remove_stale(out, {one.name for one in done})
    return told


def record(settings: Settings, known: evaluation.EvaluationImages, made_with: Mapping[str, Any] | None) -> dict:
    """Return everything a curated folder was made with, as it is written into it."""
    compared = hashlib.sha256("\n".join(sorted(known.files)).encode()).hexdigest() if known.files else ""
    return {**(made_with or {}), **asdict(settings), "evaldata": compared, "procedure": Pixels.procedure}


def earlier_of(selection: str | PathLike[str] | pd.DataFrame) -> str | None:
    """Return the table of what the labeller left out, if it lies beside the selection."""
    if isinstance(selection, pd.DataFrame):
        return None
    left_out = beside(selection, "rejected.parquet")
    return left_out if storage.exists(left_out) else None


def _claim(out: str, recorded: Mapping[str, Any], rebuild: bool) -> None:
    """Take the folder for these settings, and mark it unfinished."""
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


def _make(plan: Plan, raw: str, out: str, pixels: Pixels, settings: Settings, pool: engine.Workers) -> list[Done]:
    made: dict[int, Done] = {}
    with progress("Making images", len(plan.order)) as bar:
        for job, done in engine.run(plan.jobs(settings.chunk_rows), raw, out, pixels, pool):
            made[job.number] = done
            bar.advance(done.rows, failed=done.rejected)
    return [made[number] for number in range(len(made))]


def _remove_stale(out: str, names: set[str]) -> None:
    """Remove chunks of earlier settings or rows: what is finished no longer points at them."""
    fs, folder = storage.filesystem(storage.join(out, chunk.FOLDER))
    for path in fs.ls(folder, detail=False):
        if str(path).rsplit("/", 1)[-1] not in names:
            fs.rm_file(path)
