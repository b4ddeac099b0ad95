"""A user's own samples: classified by 11 nearest neighbours and by a linear probe, both fitted on other groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...builder.errors import UsageError
from ..scores import controls
from ..scores.folds import Fit, Folds, divide
from ..scores.neighbours import nearest
from ..scores.probe import fit
from ..scores.standardise import BLOCK_BYTES, Standardisation, scaler
from ..scores.votes import vote
from .cells import METRIC, NEIGHBOURS, order_of
from .entries import Scored, codes, control, scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from ..tables.feature_table import FeatureTable
    from .settings import EvaluationSettings

STANDARDISATIONS: tuple[Standardisation, ...] = ("train", "none")


def score(
    features: FeatureTable,
    settings: EvaluationSettings,
    *,
    grouped_by: str = "groups",
    columns: Mapping[str, str] | None = None,
) -> list[Scored]:
    """Score a table of samples, see `scores.folds.divide` for how they are divided.

    Parameters
    ----------
    features : FeatureTable
        Keys: id, label, group, split; the last two are "" where not known.
    settings : EvaluationSettings
        "train" standardises by the training part of each fold.
    grouped_by : str
        What the groups are, in the plural.
    columns : mapping of str to str, optional
        Names of the columns that were chosen as label, group and split; written to the settings.

    Returns
    -------
    list of Scored
        For each test set, or once for all folds together: neighbours, the control with shuffled labels, the probe.

    Raises
    ------
    UsageError
        If there are fewer than two classes, or the samples can't be divided.
    """
    assert settings.standardise is not None, "resolved by the task"
    folds = divided(features.keys, features.source, settings.seed)
    label, classes = codes(features.keys["label"])
    group = _text(features.keys["group"])
    index = np.full((len(label), NEIGHBOURS), -1, np.int64)
    probed = np.zeros(len(label), np.int64)
    dropped = 0
    order = order_of(features.keys["id"])
    for one in folds.fits:
        lost = _fit_and_classify(features.values, label, one, settings, index, probed, order)
        dropped = max(dropped, lost)
    used: dict[str, Any] = {
        "metric": METRIC,
        "k": NEIGHBOURS,
        "features": features.values.shape[1] - dropped,
        "dropped": dropped,
        "folds": folds.words,
        **(columns or {}),
    }
    entries: list[Scored] = []
    fold = _fold_of_each(folds.fits, len(label))
    for name in dict.fromkeys(name for one in folds.fits for name in one.tests):
        rows = np.sort(np.concatenate([one.tests[name] for one in folds.fits]))
        known = len(np.unique(group[rows])) > 1 and (group[rows] != "").all()
        by: dict[str, Any] = {"split": name, "groups": group[rows] if known else None, "grouped_by": grouped_by}
        ids, true = features.keys["id"].to_numpy()[rows], label[rows]
        predicted = _vote(index[rows], label, len(classes), settings)
        knn, table = scored("knn", ids, true, predicted, classes, settings, used, **by)
        shuffled = _shuffled(index[rows], label, rows, folds.fits[0] if name else None, len(classes), settings)
        figures = controls.shuffled(*shuffled, knn["value"], seed=settings.seed)
        found = [(knn, table), control(figures, used, "knn", split=name)]
        if settings.probe:
            used_by_probe = {**used, "metric": None, "k": None}
            found.append(scored("probe", ids, true, probed[rows], classes, settings, used_by_probe, **by))
        for entry, predictions in found:
            entry["remarks"] = folds.remarks
            entries.append((entry, predictions if predictions is None else predictions.assign(fold=fold[rows])))
    return entries


def divided(keys: pd.DataFrame, where: str, seed: int = 0) -> Folds:
    """Return how samples are divided; fails before anything is computed if they can't be scored.

    Parameters
    ----------
    keys : DataFrame
        The columns label, group and split; the last two are "" where not known.
    where : str
        Where the samples come from; named in errors.
    seed : int
        Random seed of the folds.

    Raises
    ------
    UsageError
        If there are fewer than two classes, or the samples can't be divided.
    """
    label, group, split = (_text(keys[name]) for name in ("label", "group", "split"))
    if len(np.unique(label)) < 2:
        raise UsageError(
            f"All {len(label):,} samples have the label {label[0]}: there is nothing to tell apart", where=where
        )
    try:
        return divide(label, group, split, seed)
    except UsageError as error:
        raise UsageError(
            error.what, where=f"{where}, {error.where}" if error.where else where, next=error.next
        ) from error


def _text(column: pd.Series) -> NDArray[Any]:
    return column.to_numpy(dtype=object).astype(str)


def _fit_and_classify(
    values: NDArray[np.floating],
    label: NDArray[np.int64],
    one: Fit,
    settings: EvaluationSettings,
    index: NDArray[np.int64],
    probed: NDArray[np.int64],
    order: NDArray[np.int64],
) -> int:
    """Write the neighbours and the probe's predictions of the test rows; return the number of features dropped."""
    assert settings.standardise is not None
    fitted_on = np.zeros(len(values), bool)
    fitted_on[one.train] = True
    scaled, dropped = scaler(values, settings.standardise, fit=fitted_on)
    training = scaled(one.train)
    probe = fit(training, label[one.train]) if settings.probe else None
    for rows in one.tests.values():
        queries = scaled(rows)
        found, _ = nearest(queries, training, NEIGHBOURS, METRIC, order=order[one.train])
        index[rows] = np.where(found >= 0, one.train[found], -1)
        if probe:
            probed[rows] = probe(queries)
    return dropped


def _vote(
    index: NDArray[np.int64], label: NDArray[np.int64], classes: int, settings: EvaluationSettings
) -> NDArray[np.int64]:
    """Vote for some rows at a time: the votes of all rows for many classes would not fit in memory."""
    step = max(1, BLOCK_BYTES // (8 * (classes + 1)))
    parts = [vote(index[i : i + step], label, classes, settings.ties) for i in range(0, len(index), step)]
    return np.concatenate(parts)


def _shuffled(
    index: NDArray[np.int64],
    label: NDArray[np.int64],
    rows: NDArray[np.int64],
    fixed: Fit | None,
    classes: int,
    settings: EvaluationSettings,
) -> tuple[Any, NDArray[np.int64], NDArray[np.int64] | None]:
    """Return how to predict from shuffled labels, the labels to shuffle, and the truth if it is not shuffled too."""
    if fixed is None:  # every sample is scored once, by labels of others
        return lambda labels: _vote(index, labels, classes, settings), label, None

    def predict(labels: NDArray[np.integer]) -> NDArray[np.int64]:
        every = label.copy()
        every[fixed.train] = labels
        return _vote(index, every, classes, settings)

    return predict, label[fixed.train], label[rows]


def _fold_of_each(fits: Sequence[Fit], n: int) -> NDArray[np.int64]:
    """Return the number of the fit that each row is scored by, counted from 0."""
    fold = np.zeros(n, np.int64)
    for number, one in enumerate(fits):
        for rows in one.tests.values():
            fold[rows] = number
    return fold
