"""Score a table of features on a task, whatever computed the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any

from .protocols.settings import CyclopsLabels, EvaluationSettings, Taxol
from .results.score import Result, key_of
from .sets.samples import Samples
from .tables.feature_table import FeatureTable, read_table
from .tasks.record import Task
from .tasks.registry import find

if TYPE_CHECKING:
    import pandas as pd

    from .protocols.entries import Scored
    from .scores.standardise import Standardisation
    from .scores.votes import Ties


def evaluate(
    task: str | Task,
    features: str | PathLike[str] | pd.DataFrame | FeatureTable,
    metadata: str | PathLike[str] | Samples | None = None,
    *,
    standardise: Standardisation = "none",
    taxol: Taxol = "all",
    ties: Ties = "nearest",
    cyclops_labels: CyclopsLabels = "clean",
    probe: bool = True,
    seed: int = 0,
    model: str = "features",
    preprocess: str = "",
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Score features on a task.

    Parameters
    ----------
    task : str or Task
        "bbbc021", "coos7", "cyclops", or a task of your own.
    features : path, DataFrame or FeatureTable
        One row per image or cell (column `id`), or for BBBC021 per well (`Metadata_Plate`, `Metadata_Well`) or
        treatment (`compound`, `concentration`). Every other column of numbers is a feature. See `tables.feature_table`.
    metadata : path or Samples, optional
        The folder of the task, which contains the labels. Without it the table must contain them: `label`, for COOS-7
        also `split`, for BBBC021 also `compound` and `concentration`.
    standardise : str
        How features are brought to one scale; see `scores.standardise.MEANING`. The publication used "all" for BBBC021
        and CYCLoPs and "train" for COOS-7.
    taxol, ties, cyclops_labels, probe, seed
        See `protocols.settings.EvaluationSettings`.
    model, preprocess : str
        Names for tables and report: what computed the features, and from which view of the image.
    about : mapping, optional
        Further settings of the features (input size, weights ...), stored with each score.

    Returns
    -------
    Result
        `.scores["nsc"]`, `.to_frame()`, `.summary()`.

    Raises
    ------
    UsageError
        If a setting is unknown, or the table does not match the metadata.
    MetadataError
        If the metadata differs from what its publisher describes.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"id": list("abcdef"), "label": list("xxxyyy"), "f": [0.0, 1, 2, 10, 11, 12]})
    >>> float(evaluate("cyclops", table, probe=False).scores["knn"])  # of 5 other cells, 3 have the other label
    0.0
    """
    settings = EvaluationSettings(
        standardise=standardise, taxol=taxol, ties=ties, cyclops_labels=cyclops_labels, probe=probe, seed=seed
    )
    return score_features(find(task), features, metadata, settings, model=model, preprocess=preprocess, about=about)


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
