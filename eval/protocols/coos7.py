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
from ..scores.standardise import Way
from ..scores.votes import vote
from ..tasks.coos7 import TESTS
from .cells import METRIC, NEIGHBOURS, scaled
from .entries import Scored, codes, control, scored

if TYPE_CHECKING:
    from ..tables.feature_table import FeatureTable
    from .settings import Settings

WAYS: tuple[Way, ...] = ("train", "none", "all")


def score(features: FeatureTable, settings: Settings) -> list[Scored]:
    """Score a table of cells (keys id, label, split; plate and well where known) on each test set it has."""
    keys = features.keys
    split = keys["split"].to_numpy(dtype=object).astype(str)
    train = split == "train"
    tests = [name for name in TESTS if (split == name).any()]
    if not train.any() or not tests:
        raise UsageError("A table for COOS-7 needs cells of train and of at least one of test1 to test4")
    bring, used = scaled(features.values, settings, "coos7", WAYS, train)
    label, classes = codes(keys["label"])
    predict = partial(vote, classes=len(classes), ties=settings.ties)
    fitted = bring(_rows(train))
    probe = fit(fitted, label[train]) if settings.probe else None
    found = []
    for name in tests:
        rows = split == name
        asked = bring(_rows(rows))
        true, ids, groups = label[rows], keys["id"].to_numpy()[rows], _wells(keys[rows])
        index, _ = nearest(asked, fitted, NEIGHBOURS, METRIC)
        by: dict[str, Any] = {"split": name, "groups": groups, "grouped_by": "wells"}
        found.append(scored("knn", ids, true, predict(index, label[train]), classes, settings, used, **by))
        figures = controls.shuffled(
            partial(predict, index), label[train], true, found[-1][0]["value"], seed=settings.seed
        )
        found.append(control(figures, used, "knn", split=name))
        if probe:
            bare = {**used, "metric": None, "k": None}
            found.append(scored("probe", ids, true, probe(asked), classes, settings, bare, **by))
    return found


def beside(features: FeatureTable, settings: Settings) -> list[tuple[Way, list[Scored]]]:
    """Return nothing: no other way to standardise is common here."""
    return []


def _rows(chosen: np.ndarray) -> slice | np.ndarray:
    """Return the slice that a mask is, if it is one: sets lie one after another, and a slice is not copied twice."""
    at = np.flatnonzero(chosen)
    return slice(at[0], at[-1] + 1) if at[-1] - at[0] + 1 == len(at) else at


def _wells(keys: pd.DataFrame) -> np.ndarray | None:
    """Name the well of each cell, or None where it is not known."""
    if "well" not in keys or (keys["well"] == "").any():
        return None
    columns = [name for name in ("date", "plate", "well") if name in keys]
    return keys[columns].agg(" ".join, axis=1).to_numpy()
