"""CYCLoPs: each cell is classified by its 11 nearest other cells (preprint, 4.1)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..scores import controls
from ..scores.neighbours import nearest
from ..scores.probe import across, stratified
from ..scores.standardise import Standardisation
from ..scores.votes import vote
from ..sets.cyclops import MERGED
from .cells import METRIC, NEIGHBOURS, fit_scale, order_of
from .entries import Scored, codes, control, refuse_one_class, scored

if TYPE_CHECKING:
    from ..tables.feature_table import FeatureTable
    from .settings import EvaluationSettings

STANDARDISATIONS: tuple[Standardisation, ...] = ("all", "none")


def score(features: FeatureTable, settings: EvaluationSettings) -> list[Scored]:
    """Score a table of cells.

    Parameters
    ----------
    features : FeatureTable
        Keys: id, label; folder where SPINDLEPOLE is to be distinguished from SPINDLE.
    settings : EvaluationSettings
    """
    keys = features.keys
    scaled, used = fit_scale(features.values, settings)
    values = scaled(slice(None))
    unmerged = keys["folder" if "folder" in keys else "label"]
    label, classes = codes(unmerged.replace(MERGED))
    refuse_one_class(classes, features.source)
    index, _ = nearest(values, values, NEIGHBOURS, METRIC, itself=True, order=order_of(keys["id"]))
    predict = partial(vote, index, ties=settings.ties)
    ids = keys["id"]
    entries = [scored("knn", ids, label, predict(label, len(classes)), classes, settings, used)]
    if set(unmerged) & set(MERGED):
        fine_label, fine_classes = codes(unmerged)
        predicted = predict(fine_label, len(fine_classes))
        entries.append(scored("knn-17", ids, fine_label, predicted, fine_classes, settings, used))
    figures = controls.shuffled(
        lambda labels: predict(labels, len(classes)), label, None, entries[0][0]["value"], seed=settings.seed
    )
    entries.append(control(figures, used, "knn"))
    folds = list(stratified(label, settings.seed)) if settings.probe else []
    if folds:
        used_by_probe = {**used, "metric": None, "k": None, "folds": f"{len(folds)} stratified"}
        predicted = across(values, label, folds)
        entries.append(scored("probe", ids, label, predicted, classes, settings, used_by_probe))
    return entries
