"""The scores of one table of features on one task, as entries of results.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from .protocols.settings import EvaluationSettings
from .results.score import Result, key_of
from .sets.samples import Samples
from .tables.feature_table import FeatureTable, read_table
from .tasks.record import Task

if TYPE_CHECKING:
    import pandas as pd

    from .protocols.entries import Scored


def score_features(
    task: Task,
    features: str | PathLike[str] | pd.DataFrame | FeatureTable,
    metadata: str | PathLike[str] | Samples | None,
    settings: EvaluationSettings,
    *,
    model: str,
    preprocess: str,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Score features on a task; as `evaluate`, with the settings as one object."""
    settings = task.resolve(settings)
    table = read_table(features)
    if metadata is None or isinstance(metadata, Samples):
        samples = metadata
    else:
        samples = task.read(metadata, settings, images=False)
    aligned = task.align(table, samples)
    common = {
        "task": task.name,
        "model": model,
        "preprocess": preprocess,
        "digest": table.digest(),
        "rows": len(aligned.values),
        "left_out": len(table.values) - len(aligned.values),
    }
    result = Result([], {})

    def add(scores: list[Scored], settings: EvaluationSettings, *, beside: bool) -> None:
        chosen = {name: getattr(settings, name) for name in ("standardise", *task.options, "seed")}
        for partial, predictions in scores:
            entry = {**common, **partial, "beside": beside}
            entry["settings"] = {**chosen, **(about or {}), **partial["settings"]}
            entry["key"] = key_of(entry)
            result.entries.append(entry)
            if predictions is not None:
                result.predictions[entry["key"]] = predictions

    add(task.score(aligned, settings), settings, beside=False)
    if task.score_alternatives:
        for standardisation, scores in task.score_alternatives(aligned, settings):
            add(scores, replace(settings, standardise=standardisation), beside=True)
    return result
