"""BBBC021: each treatment is classified by its nearest neighbour among the treatments of other compounds.

NSC ("not same compound", Ljosa et al. 2013): candidates are all treatments of other compounds. NSCB ("not same compound
or batch", Ando et al. 2017): candidates must also come from another batch, which is a week of the screen here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...builder.errors import CheckFailedError
from ..scores import controls, mean_ap
from ..scores.accuracy import UNCLASSIFIED
from ..scores.intervals import LEVEL, RESAMPLES
from ..scores.neighbours import nearest
from ..scores.probe import across, leave_group_out
from ..scores.standardise import Standardisation, standardise
from ..scores.votes import vote
from ..sets.bbbc021 import CONTROL, treatments_of
from .entries import Scored, bootstrap, codes, control, scored, without_few_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tables.feature_table import FeatureTable
    from .settings import EvaluationSettings

STANDARDISATIONS: tuple[Standardisation, ...] = ("none", "all", "plate-dmso", "sphere-dmso", "tvn")
ALTERNATIVES: tuple[Standardisation, ...] = ("none", "plate-dmso", "all")  # scored for any table with DMSO wells
LJOSA_TAXOL = (("Week1_22123", "D05"), ("Week1_22141", "D05"), ("Week1_22161", "D05"))


@dataclass(frozen=True)
class Profiles:
    """One profile per treatment: the mean of its rows.

    Attributes
    ----------
    table : DataFrame
        id (`taxol 0.3`), compound, concentration, label, batch (the week, or a batch of its own for a treatment in
        several weeks) and rows (number of images or wells in the mean).
    values : array, shape (treatments, features), float64
    dropped : int
        Number of features left out.
    """

    table: pd.DataFrame
    values: NDArray[np.float64]
    dropped: int


def score(features: FeatureTable, settings: EvaluationSettings) -> list[Scored]:
    """Score a table of images, wells or treatments.

    Parameters
    ----------
    features : FeatureTable
        Keys: compound, concentration, label; plate, well and batch where they are known.
    settings : EvaluationSettings

    Returns
    -------
    list of Scored
        NSC, NSCB (where batches are known), mean average precision, the shuffled control, the probe.
    """
    assert settings.standardise is not None, "resolved by the task"
    profiles = make_profiles(features, settings, settings.standardise)
    used = _used(profiles)
    every = np.arange(len(profiles.table))
    entries = [nearest_treatment("nsc", profiles, every, ("compound",), settings, used)]
    rows = in_several_batches(profiles.table)
    if len(rows):
        used_by_nscb = {**used, "left_out": len(every) - len(rows)}
        entries.append(nearest_treatment("nscb", profiles, rows, ("compound", "batch"), settings, used_by_nscb))
    entries += _mean_ap(profiles, settings, used)
    entries.append(_shuffled(profiles, settings, used, entries[0][0]["value"]))
    if settings.probe:
        entries.append(_probe(profiles, settings, used))
    return entries


def score_alternatives(
    features: FeatureTable, settings: EvaluationSettings
) -> list[tuple[Standardisation, list[Scored]]]:
    """Score NSC under the other common standardisations, if the table has DMSO wells.

    The choice of standardisation changes the score more than the choice of model does in most cases.
    """
    has_controls = "plate" in features.keys and (features.keys["label"] == CONTROL).any()
    found = []
    for standardisation in ALTERNATIVES if has_controls else ():
        if standardisation != settings.standardise:
            profiles = make_profiles(features, settings, standardisation)
            every = np.arange(len(profiles.table))
            entry = nearest_treatment("nsc", profiles, every, ("compound",), settings, _used(profiles))
            found.append((standardisation, [entry]))
    return found


def make_profiles(features: FeatureTable, settings: EvaluationSettings, standardisation: Standardisation) -> Profiles:
    """Standardise rows and average them by treatment.

    DMSO wells are dropped before "all" is fitted, as published; wells that `taxol="ljosa3"` excludes are dropped before
    anything is fitted.

    Raises
    ------
    CheckFailedError
        If fewer than two treatments are left.
    """
    keys, values = features.keys, features.values
    if settings.taxol == "ljosa3":
        kept = _without_further_taxol(keys)
        keys, values = keys[kept].reset_index(drop=True), values[kept]
    is_control = (keys["label"] == CONTROL).to_numpy()
    if standardisation in ("none", "all"):
        keys, values = keys[~is_control].reset_index(drop=True), values[~is_control]
        scaled, dropped = standardise(values, standardisation)
    else:
        plates = keys["plate"].to_numpy(dtype=object).astype(str) if "plate" in keys else None
        scaled, dropped = standardise(values, standardisation, plates=plates, controls=is_control)
        keys, scaled = keys[~is_control].reset_index(drop=True), scaled[~is_control]
    code, ids = codes(treatments_of(keys))
    if len(ids) < 2:
        raise CheckFailedError(f"{len(ids)} treatments with a mechanism of action are too few to compare")
    rows = np.bincount(code)
    means = np.zeros((len(ids), scaled.shape[1]))
    np.add.at(means, code, scaled)
    means /= rows[:, None]
    first = np.unique(code, return_index=True)[1]
    columns = ["compound", "concentration", "label", *(["batch"] if "batch" in keys else [])]
    table = keys.loc[first, columns].reset_index(drop=True)
    table.insert(0, "id", ids)
    table["rows"] = rows
    return Profiles(table, means, dropped)


def nearest_treatment(
    score: str,
    profiles: Profiles,
    rows: NDArray[np.intp],
    differ_in: Sequence[str],
    settings: EvaluationSettings,
    used: Mapping[str, Any],
) -> Scored:
    """Classify each treatment by its nearest neighbour among those that differ in some columns.

    Parameters
    ----------
    score : str
        "nsc" or "nscb".
    profiles : Profiles
    rows : int array
        The profiles that are queries and candidates.
    differ_in : sequence of str
        Columns in which a candidate must differ from the query: compound, batch.
    settings : EvaluationSettings
    used : mapping
        The settings to write to the entry.

    Returns
    -------
    Scored
        Its predictions have a column `candidates`, the number of candidates of each treatment.
    """
    table, values = profiles.table.iloc[rows].reset_index(drop=True), profiles.values[rows]
    label, classes = codes(table["label"])
    index, candidates = _nearest(table, values, differ_in)
    entry, predictions = scored(
        score,
        table["id"],
        label,
        vote(index, label, len(classes)),
        classes,
        settings,
        used,
        groups=table["compound"].to_numpy(),
        grouped_by="compounds",
    )
    assert predictions is not None
    return entry, predictions.assign(candidates=candidates)


def _nearest(
    table: pd.DataFrame, values: NDArray[np.float64], differ_in: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the nearest candidate of each row, and its number of candidates."""
    groups = [codes(table[column])[0] for column in differ_in]
    index, _ = nearest(values, values, 1, "cosine", differ=tuple((group, group) for group in groups))
    allowed = np.logical_and.reduce([group[:, None] != group for group in groups])
    return index, allowed.sum(axis=1)


def in_several_batches(table: pd.DataFrame) -> NDArray[np.intp]:
    """Return the rows whose mechanism is in more than one batch: only these can have a match in another batch."""
    if "batch" not in table:
        return np.empty(0, np.intp)
    batches = table.groupby("label")["batch"].transform("nunique")
    return np.flatnonzero(batches > 1)


def _used(profiles: Profiles) -> dict[str, Any]:
    return {"metric": "cosine", "k": 1, "features": profiles.values.shape[1], "dropped": profiles.dropped}


def _mean_ap(profiles: Profiles, settings: EvaluationSettings, used: Mapping[str, Any]) -> list[Scored]:
    table = profiles.table
    precisions = mean_ap.average_precision(profiles.values, table["label"].to_numpy(), table["compound"].to_numpy())
    values = precisions["average_precision"].to_numpy(np.float64)
    known = ~np.isnan(values)
    if not known.any():
        return []
    p, by_label = mean_ap.against_chance(precisions, draws=RESAMPLES, seed=settings.seed)
    spread = bootstrap(values[known], table["compound"].to_numpy()[known], "compounds", settings)
    entry = {
        "score": "map",
        "split": "",
        "value": float(values[known].mean()),
        "correct": None,
        "n": int(known.sum()),
        "interval": {
            "method": "bootstrap over compounds",
            "level": LEVEL,
            "low": spread["low"],
            "high": spread["high"],
        },
        "bootstrap": without_few_groups(spread),
        "p": p,
        "by_class": [
            {"label": str(label), "n": int(rows.sum()), "accuracy": float(values[rows].mean()), **by_label[str(label)]}
            for label in sorted(set(table["label"]))
            if (rows := known & (table["label"] == label).to_numpy()).any()
        ],
        "settings": {**used, "k": None},
    }
    return [(entry, None)]


def _shuffled(profiles: Profiles, settings: EvaluationSettings, used: Mapping[str, Any], observed: float) -> Scored:
    label, classes = codes(profiles.table["label"])
    index, _ = _nearest(profiles.table, profiles.values, ("compound",))
    figures = controls.shuffled(
        lambda labels: vote(index, labels, len(classes)), label, None, observed, seed=settings.seed
    )
    return control(figures, used, "nsc")


def _probe(profiles: Profiles, settings: EvaluationSettings, used: Mapping[str, Any]) -> Scored:
    table = profiles.table
    label, classes = codes(table["label"])
    groups = table["compound"].to_numpy(dtype=object).astype(str)
    folds = [fold for fold in leave_group_out(groups) if len(fold[0])]
    predicted = across(profiles.values, label, folds) if folds else np.full(len(label), UNCLASSIFIED)
    used = {**used, "metric": None, "k": None, "folds": "leave one compound out"}
    return scored(
        "probe", table["id"], label, predicted, classes, settings, used, groups=groups, grouped_by="compounds"
    )


def _without_further_taxol(keys: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows to keep: all but the wells of taxol at 0.3 µM that are not in Ljosa et al. 2013.

    A table of treatments has no wells to choose from; all its rows are kept.
    """
    is_taxol = np.asarray((keys["compound"] == "taxol") & np.isclose(keys["concentration"], 0.3), bool)
    if not {"plate", "well"} <= set(keys):
        return np.ones(len(keys), bool)
    wells = list(zip(keys["plate"], keys["well"], strict=True))
    if is_taxol.any() and not set(wells) & set(LJOSA_TAXOL):
        raise CheckFailedError(
            "None of the three taxol wells of Ljosa et al. 2013 is here: Week1_22123, Week1_22141, Week1_22161, D05",
            next="Use --taxol all",
        )
    chosen: NDArray[np.bool_] = np.array([pair in LJOSA_TAXOL for pair in wells], bool)
    kept: NDArray[np.bool_] = ~is_taxol | chosen
    return kept
