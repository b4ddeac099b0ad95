"""Score tables of features: of a task of the preprint, or of a user's own samples."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ..builder.errors import UsageError
from .own_tables import Columns, own_tables
from .report.published import AS_GIVEN
from .run import EvaluationRun
from .score_features import about_prefixes, score_features
from .tables.feature_table import FeatureTable, read_table

if TYPE_CHECKING:
    from .own_images import OwnImages
    from .protocols.settings import EvaluationSettings
    from .sets.samples import Samples
    from .tasks.record import Task


def names_of(tables: Sequence[str | PathLike[str]], names: Sequence[str] = ()) -> dict[str, str | PathLike[str]]:
    """Return tables by their name: the one given, else that of the file.

    Raises
    ------
    UsageError
        If two tables have the same name, or not every table has one of `names`.

    Examples
    --------
    >>> names_of(["a/imagenet.parquet", "b/mine.csv.gz"])
    {'imagenet': 'a/imagenet.parquet', 'mine': 'b/mine.csv.gz'}
    """
    if names and len(names) != len(tables):
        raise UsageError(
            f"{len(names)} names for {len(tables)} tables", next="Give every --features its --name, or none"
        )
    found = list(names) or [Path(table).name.split(".")[0] for table in tables]
    twice = next((name for name in found if found.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two tables are called {twice}", next="Name each of them with --name, in the same order")
    return dict(zip(found, tables, strict=True))


def score_tables(
    tables: Mapping[str, str | PathLike[str]],
    task: Task,
    metadata: str | PathLike[str] | None,
    out: str | PathLike[str],
    settings: EvaluationSettings,
    *,
    prefixes: Sequence[str] = (),
) -> EvaluationRun:
    """Score tables of features on one task and write the results.

    Parameters
    ----------
    tables : mapping of str to path
        By the names they have in the results; see `tables.feature_table.read_table`.
    task : Task
    metadata : path, optional
        The folder of the task; without it the tables must contain its labels.
    out : path
        Folder for results.json and predictions.
    settings : EvaluationSettings
        Features are used as they are if it names no standardisation.
    prefixes : sequence of str
        How names of features start, see `tables.feature_table.read_table`.
    """
    given = ((name, read_table(path, prefixes=prefixes), task, metadata) for name, path in tables.items())
    return _score_tables(given, out, settings, prefixes=prefixes)


def score_own_tables(
    tables: Mapping[str, str | PathLike[str]],
    columns: Columns,
    out: str | PathLike[str],
    settings: EvaluationSettings,
    images: OwnImages | None = None,
) -> EvaluationRun:
    """Score tables of features of a user's own samples and write the results.

    Parameters
    ----------
    tables, columns
        See `own_tables.own_tables`.
    out, settings
        As in `score_tables`.
    images : OwnImages, optional
        The samples that the tables are joined to by id; without it the first table contains their labels.
    """
    given = own_tables(tables, columns, (images.task, images.samples) if images else None)
    return _score_tables(given, out, settings, images.notes if images else (), prefixes=columns.features)


def _score_tables(
    given: Iterable[tuple[str, FeatureTable, Task, str | PathLike[str] | Samples | None]],
    out: str | PathLike[str],
    settings: EvaluationSettings,
    notes: Iterable[str] = (),
    *,
    prefixes: Sequence[str],
) -> EvaluationRun:
    about = about_prefixes(prefixes)
    run = EvaluationRun(Path(out), main=os.environ.get("RANK", "0") == "0")
    if not run.main:
        return run  # one process scores the tables
    begun = time.perf_counter()
    for model, features, task, metadata in given:
        if task not in run.tasks:
            run.tasks.append(task)
            for note in notes:
                run.note(f"{task.name}: {note}")
        result = score_features(task, features, metadata, settings, model=model, preprocess=AS_GIVEN, about=about)
        del features  # the next one may be as large
        lost = result.entries[0]["left_out"]
        if lost:
            run.note(f"{task.name}: {lost:,} rows of {model} have no label or belong to no sample and are left out")
        run.timed(f"{task.name}: {model}", begun)
        run.add(result)
        begun = time.perf_counter()
    return run
