"""COOS-7: each test cell is classified by its 11 nearest training cells (Lu et al. 2019; preprint, 4.1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...builder.errors import UsageError
from ..scores import controls
from ..scores.neighbours import nearest
from ..scores.probe import fit
from ..scores.standardise import Standardisation
from ..scores.votes import vote
from ..sets.coos7 import TESTS
from .cells import METRIC, NEIGHBOURS, fit_scale, order_of
from .entries import Scored, codes, control, refuse_one_class, scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tables.feature_table import FeatureTable
    from .settings import EvaluationSettings

STANDARDISATIONS: tuple[Standardisation, ...] = ("train", "none", "all")


def score(features: FeatureTable, settings: EvaluationSettings) -> list[Scored]:
    """Score a table of cells on each test set that it contains.

    Parameters
    ----------
    features : FeatureTable
        Keys: id, label, split; plate and well where they are known.
    settings : EvaluationSettings

    Raises
    ------
    UsageError
        If there are no training cells or no test cells.
    """
    keys = features.keys
    split = keys["split"].to_numpy(dtype=object).astype(str)
    train = split == "train"
    tests = [name for name in TESTS if (split == name).any()]
    if not train.any() or not tests:
        raise UsageError("A table for COOS-7 needs cells of train and of at least one of test1 to test4")
    scaled, used = fit_scale(features.values, settings, train)
    label, classes = codes(keys["label"])
    refuse_one_class(classes, features.source)
    order = order_of(keys["id"][train])
    predict = partial(vote, classes=len(classes), ties=settings.ties)
    training = scaled(_rows(train))
    probe = fit(training, label[train]) if settings.probe else None
    entries = []
    for name in tests:
        rows = split == name
        queries = scaled(_rows(rows))
        true, ids, groups = label[rows], keys["id"].to_numpy()[rows], _wells(keys[rows])
        index, _ = nearest(queries, training, NEIGHBOURS, METRIC, order=order)
        by: dict[str, Any] = {"split": name, "groups": groups, "grouped_by": "wells"}
        entries.append(scored("knn", ids, true, predict(index, label[train]), classes, settings, used, **by))
        figures = controls.shuffled(
            partial(predict, index), label[train], true, entries[-1][0]["value"], seed=settings.seed
        )
        entries.append(control(figures, used, "knn", split=name))
        if probe:
            used_by_probe = {**used, "metric": None, "k": None}
            entries.append(scored("probe", ids, true, probe(queries), classes, settings, used_by_probe, **by))
    return entries


def _rows(chosen: NDArray[np.bool_]) -> slice | NDArray[np.intp]:
    """Return the rows of a mask, as a slice if they follow each other: taking a slice makes no copy."""
    at = np.flatnonzero(chosen)
    return slice(at[0], at[-1] + 1) if at[-1] - at[0] + 1 == len(at) else at


def _wells(keys: pd.DataFrame) -> NDArray[Any] | None:
    """Return the name of the well of each cell, or None where it is not known."""
    if "well" not in keys or (keys["well"] == "").any():
        return None
    columns = [name for name in ("date", "plate", "well") if name in keys]
    return keys[columns].agg(" ".join, axis=1).to_numpy()
