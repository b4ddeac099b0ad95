"""The scores of one table of features on one task, as entries of results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from .protocols.settings import EvaluationSettings
from .results.score import Result, key_of
from .sets.samples import Samples
from .tables.align import refuse_rows_without_numbers
from .tables.feature_table import FeatureTable, read_table
from .tasks.record import Task
from .tasks.registry import TASKS

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
        # labels of the table itself: its samples need not be those of the task
        **({"own_labels": True} if samples is None else {}),
    }
    refuse_rows_without_numbers(aligned)
    remarks = [*table.remarks, *_unused_groups(table, aligned, task)]
    result = Result([], {})

    def add(scores: list[Scored], settings: EvaluationSettings, *, beside: bool) -> None:
        chosen = {name: getattr(settings, name) for name in ("standardise", *task.options, "seed")}
        for partial, predictions in scores:
            entry = {**common, **partial, "beside": beside}
            entry["settings"] = {**chosen, **(about or {}), **partial["settings"]}
            if remarks:
                entry["remarks"] = [*entry.get("remarks", ()), *(f"{model}: {remark}" for remark in remarks)]
            entry["key"] = key_of(entry)
            result.entries.append(entry)
            if predictions is not None:
                result.predictions[entry["key"]] = predictions

    add(task.score(aligned, settings), settings, beside=False)
    if task.score_alternatives:
        for standardisation, scores in task.score_alternatives(aligned, settings):
            add(scores, replace(settings, standardise=standardisation), beside=True)
    return result


def about_prefixes(prefixes: Sequence[str]) -> dict[str, str]:
    """Return the setting of a score that names how names of features start, if this was chosen."""
    return {"features_prefix": ",".join(prefixes)} if prefixes else {}


def _unused_groups(table: FeatureTable, aligned: FeatureTable, task: Task) -> list[str]:
    """Return a remark if a column with groups is not used, so that it is never ignored silently."""
    if "group" not in table.keys or not (table.keys["group"] != "").any():
        return []
    if task.name in TASKS:
        advice = "To keep groups apart, score the table without --tasks (Python: task None)."
        return [f"The column group of the table is not used by {task.name}. {advice}"]
    used = dict(zip(aligned.keys["id"], aligned.keys["group"], strict=True))
    names = table.keys["id"] if "id" in table.keys else aligned.keys["id"]
    if all(used.get(name, group) == group for name, group in zip(names, table.keys["group"], strict=False)):
        return []
    return [f"The column group of the table is not used: the groups are those of {task.name}."]
