"""Score a table of features, whoever computed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from typing import TYPE_CHECKING, Any

from . import protocols, tasks
from .protocols import entries as protocols_entries
from .protocols.settings import CyclopsLabels, Settings, Taxol
from .results.score import Result, key_of
from .tables.align import align
from .tables.feature_table import FeatureTable, read_table

if TYPE_CHECKING:
    import pandas as pd

    from .scores.standardise import Way
    from .scores.votes import Ties
    from .tasks import Samples


def evaluate(
    task: str,
    features: str | PathLike[str] | pd.DataFrame | FeatureTable,
    metadata: str | PathLike[str] | Samples | None = None,
    *,
    standardise: Way = "none",
    taxol: Taxol = "all",
    ties: Ties = "nearest",
    cyclops_labels: CyclopsLabels = "clean",
    probe: bool = True,
    seed: int = 0,
    model: str = "features",
    preprocess: str = "",
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Score features on one of the three tasks.

    Parameters
    ----------
    task : "bbbc021", "coos7" or "cyclops"
    features : path, DataFrame or FeatureTable
        A row per image or cell (column `id`), or for BBBC021 per well (`Metadata_Plate`, `Metadata_Well`) or treatment
        (`compound`, `concentration`); every other number is a feature. See `tables.read_table`.
    metadata : path or Samples, optional
        The task's folder, where the labels are. Without it the table must bring them: `label`, for COOS-7 `split` too,
        for BBBC021 `compound` and `concentration` too.
    standardise : str
        How features are brought to one scale; one of `standardise.WAYS`. The publication used "all" for BBBC021 and
        CYCLoPs and "train" for COOS-7.
    taxol, ties, cyclops_labels, probe, seed
        See `settings.Settings`.
    model, preprocess : str
        Names for the tables: what made the features, and from what view of the image.
    about : mapping, optional
        Further settings of the features (input size, weights ...), kept with each number.

    Returns
    -------
    Result
        `.scores["nsc"]`, `.to_frame()`, `.summary()`.

    Raises
    ------
    UsageError
        If table and metadata do not fit together.
    MetadataError
        If the metadata is not what its publisher says it is.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> table = pd.DataFrame({"id": list("abcdef"), "label": list("xxxyyy"), "f": [0.0, 1, 2, 10, 11, 12]})
    >>> float(evaluate("cyclops", table, probe=False).scores["knn"])  # 5 neighbours, 3 of them the other class
    0.0
    """
    settings = Settings(
        standardise=standardise, taxol=taxol, ties=ties, cyclops_labels=cyclops_labels, probe=probe, seed=seed
    )
    module = tasks.module(task)
    table = read_table(features)
    if metadata is None or isinstance(metadata, tasks.Samples):
        samples = metadata
    elif task == "cyclops":
        samples = module.read(metadata, labels=cyclops_labels)
    else:
        samples = module.read(metadata, **({"images": False} if task == "bbbc021" else {}))
    aligned = align(table, samples, task)
    protocol = protocols.module(task)
    common = {
        "task": task,
        "model": model,
        "preprocess": preprocess,
        "about": dict(about or {}),
        "digest": table.digest(),
        "rows": len(aligned.values),
        "left_out": len(table.values) - len(aligned.values),
    }
    result = Result([], {})
    _take(result, protocol.score(aligned, settings), common, settings, beside=False)
    for way, found in protocol.beside(aligned, settings):
        _take(result, found, common, Settings(**{**asdict(settings), "standardise": way}), beside=True)
    return result


def _take(
    result: Result,
    found: list[protocols_entries.Scored],
    common: Mapping[str, Any],
    settings: Settings,
    *,
    beside: bool,
) -> None:
    """Add scores to the result, each with its settings and its key."""
    for partial, predictions in found:
        of_task = {"bbbc021": ("taxol",), "coos7": ("ties",), "cyclops": ("ties", "cyclops_labels")}[common["task"]]
        chosen = {name: getattr(settings, name) for name in ("standardise", *of_task, "seed")}
        entry = {**common, **partial, "beside": beside}
        entry["settings"] = {**chosen, **common["about"], **partial["settings"]}
        del entry["about"]
        entry["key"] = key_of(entry)
        result.entries.append(entry)
        if predictions is not None:
            result.predictions[entry["key"]] = predictions
