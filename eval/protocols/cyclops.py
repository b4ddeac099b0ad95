"""CYCLoPs: each cell is classified by its 11 nearest other cells (preprint, 4.1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..scores import controls
from ..scores.neighbours import nearest
from ..scores.probe import across, stratified
from ..scores.standardise import Way
from ..scores.votes import vote
from ..tasks.cyclops import MERGED
from .cells import METRIC, NEIGHBOURS, scaled
from .entries import Scored, codes, control, scored

if TYPE_CHECKING:
    from ..tables.feature_table import FeatureTable
    from .settings import Settings

WAYS: tuple[Way, ...] = ("all", "none")


def score(features: FeatureTable, settings: Settings) -> list[Scored]:
    """Score a table of cells (keys id, label; folder where SPINDLEPOLE is to be told from SPINDLE)."""
    keys = features.keys
    bring, used = scaled(features.values, settings, "cyclops", WAYS, None)
    values = bring(slice(None))
    unmerged = keys["folder" if "folder" in keys else "label"]
    label, classes = codes(unmerged.replace(MERGED))
    index, _ = nearest(values, values, NEIGHBOURS, METRIC, itself=True)
    predict = partial(vote, index, ties=settings.ties)
    ids = keys["id"]
    found = [scored("knn", ids, label, predict(label, len(classes)), classes, settings, used)]
    if set(unmerged) & set(MERGED):
        fine, names = codes(unmerged)
        found.append(scored("knn-17", ids, fine, predict(fine, len(names)), names, settings, used))
    figures = controls.shuffled(
        lambda labels: predict(labels, len(classes)), label, None, found[0][0]["value"], seed=settings.seed
    )
    found.append(control(figures, used, "knn"))
    folds = list(stratified(label, settings.seed)) if settings.probe else []
    if folds:
        bare = {**used, "metric": None, "k": None, "folds": f"{len(folds)} stratified"}
        found.append(scored("probe", ids, label, across(values, label, folds), classes, settings, bare))
    return found


def beside(features: FeatureTable, settings: Settings) -> list[tuple[Way, list[Scored]]]:
    """Return nothing: no other way to standardise is common here."""
    return []
