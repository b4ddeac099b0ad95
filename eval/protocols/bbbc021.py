"""BBBC021: profiles of treatments, each classified by its nearest neighbour among other compounds.

Ljosa et al. 2013 (NSC: not same compound); Ando et al. 2017 (NSCB: nor same batch, a week here).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...builder.errors import CheckFailedError, UsageError
from ..scores import controls, mean_ap
from ..scores.accuracy import UNCLASSIFIED
from ..scores.intervals import LEVEL
from ..scores.neighbours import nearest
from ..scores.probe import across, leave_group_out
from ..scores.standardise import Way, standardise
from ..scores.votes import vote
from ..tasks.bbbc021 import CONTROL, treatment
from .entries import Scored, bootstrap, codes, control, scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..tables.feature_table import FeatureTable
    from .settings import Settings

LJOSA_TAXOL = (("Week1_22123", "D05"), ("Week1_22141", "D05"), ("Week1_22161", "D05"))
BESIDE: tuple[Way, ...] = ("none", "plate-dmso", "all")  # printed for any table that has DMSO wells


@dataclass(frozen=True)
class Profiles:
    """One row per treatment.

    Attributes
    ----------
    table : DataFrame
        id (`taxol 0.3`), compound, concentration, label, batch (week; a treatment that lies in several weeks is a
        batch of its own), rows (images or wells it is the mean of).
    values : array, shape (treatments, features), float64
    dropped : int
        Features left out.
    """

    table: pd.DataFrame
    values: NDArray[np.float64]
    dropped: int


def score(features: FeatureTable, settings: Settings) -> list[Scored]:
    """Score a table of images or wells (keys compound, concentration, label; plate, well and batch where known)."""
    profiles = profile(features, settings, settings.standardise)
    used = {"metric": "cosine", "k": 1, "features": profiles.values.shape[1], "dropped": profiles.dropped}
    found = [not_same_compound(profiles, settings, used)]
    rows = in_several_batches(profiles.table)
    if len(rows):
        found.append(not_same_compound_or_batch(profiles, rows, settings, used))
    found += _mean_ap(profiles, settings, used)
    found.append(_shuffled(profiles, settings, used, found[0][0]["value"]))
    if settings.probe:
        found.append(_probe(profiles, settings, used))
    return found


def beside(features: FeatureTable, settings: Settings) -> list[tuple[Way, list[Scored]]]:
    """Score NSC under the other common ways to standardise, if there are DMSO wells: it moves more than most models."""
    has_controls = {"plate"} <= set(features.keys) and (features.keys["label"] == CONTROL).any()
    found = []
    for way in BESIDE if has_controls else ():
        if way != settings.standardise:
            profiles = profile(features, settings, way)
            used = {"metric": "cosine", "k": 1, "features": profiles.values.shape[1], "dropped": profiles.dropped}
            found.append((way, [not_same_compound(profiles, settings, used)]))
    return found


def profile(features: FeatureTable, settings: Settings, way: Way) -> Profiles:
    """Standardise rows and average them by treatment.

    DMSO is dropped before "all" is fitted, as published; `--taxol ljosa3` is applied before that too.

    Raises
    ------
    CheckFailedError
        If fewer than two treatments are left.
    """
    keys, values = features.keys, features.values
    if settings.taxol == "ljosa3":
        keep = _ljosa_taxol(keys)
        keys, values = keys[keep].reset_index(drop=True), values[keep]
    is_control = (keys["label"] == CONTROL).to_numpy()
    if way == "train":
        raise UsageError("--standardise train does not exist for bbbc021, which has no training set", next="Use all")
    if way in ("none", "all"):
        keys, values = keys[~is_control].reset_index(drop=True), values[~is_control]
        done, dropped = standardise(values, way)
    else:
        plates = keys["plate"].to_numpy(dtype=object).astype(str) if "plate" in keys else None
        done, dropped = standardise(values, way, plates=plates, controls=is_control)
        keys, done = keys[~is_control].reset_index(drop=True), done[~is_control]
    names = [treatment(*pair) for pair in zip(keys["compound"], keys["concentration"], strict=True)]
    code, ids = codes(names)
    if len(ids) < 2:
        raise CheckFailedError(f"{len(ids)} treatments with a mechanism of action are too few to compare")
    weight = np.bincount(code)
    means = np.zeros((len(ids), done.shape[1]))
    np.add.at(means, code, done)
    means /= weight[:, None]
    first = np.unique(code, return_index=True)[1]
    columns = ["compound", "concentration", "label", *(["batch"] if "batch" in keys else [])]
    table = keys.loc[first, columns].reset_index(drop=True)
    table.insert(0, "id", ids)
    table["rows"] = weight
    return Profiles(table, means, dropped)


def not_same_compound(profiles: Profiles, settings: Settings, used: dict) -> Scored:
    """NSC: the nearest treatment of another compound gives its mechanism."""
    table = profiles.table
    label, classes = codes(table["label"])
    compound, _ = codes(table["compound"])
    index, _ = nearest(profiles.values, profiles.values, 1, "cosine", differ=((compound, compound),))
    entry, predictions = scored(
        "nsc",
        table["id"],
        label,
        vote(index, label, len(classes)),
        classes,
        settings,
        used,
        groups=table["compound"].to_numpy(),
        grouped_by="compounds",
    )
    return entry, _with_pools(predictions, (compound[:, None] != compound).sum(axis=1))


def in_several_batches(table: pd.DataFrame) -> NDArray[np.int64]:
    """Return the rows whose mechanism lies in more than one batch: only those can be found in another one."""
    if "batch" not in table:
        return np.empty(0, np.int64)
    batches = table.groupby("label")["batch"].transform("nunique")
    return np.flatnonzero(batches > 1)


def not_same_compound_or_batch(profiles: Profiles, rows: NDArray, settings: Settings, used: dict) -> Scored:
    """NSCB: as NSC, and the nearest treatment lies in another batch."""
    table = profiles.table.iloc[rows].reset_index(drop=True)
    values = profiles.values[rows]
    label, classes = codes(table["label"])
    compound, batch = codes(table["compound"])[0], codes(table["batch"])[0]
    index, _ = nearest(values, values, 1, "cosine", differ=((compound, compound), (batch, batch)))
    entry, predictions = scored(
        "nscb",
        table["id"],
        label,
        vote(index, label, len(classes)),
        classes,
        settings,
        {**used, "left_out": len(profiles.table) - len(rows)},
        groups=table["compound"].to_numpy(),
        grouped_by="compounds",
    )
    pools = ((compound[:, None] != compound) & (batch[:, None] != batch)).sum(axis=1)
    return entry, _with_pools(predictions, pools)


def _with_pools(predictions: pd.DataFrame | None, pools: NDArray) -> pd.DataFrame:
    assert predictions is not None
    return predictions.assign(candidates=pools)


def _mean_ap(profiles: Profiles, settings: Settings, used: dict) -> list[Scored]:
    table = profiles.table
    precisions = mean_ap.average_precision(profiles.values, table["label"].to_numpy(), table["compound"].to_numpy())
    values = precisions["average_precision"].to_numpy(np.float64)
    some = ~np.isnan(values)
    if not some.any():
        return []
    p, by_label = mean_ap.against_chance(precisions, draws=settings.draws, seed=settings.seed)
    spread = bootstrap(values[some], table["compound"].to_numpy()[some], "compounds", settings)
    entry = {
        "score": "map",
        "split": "",
        "value": float(values[some].mean()),
        "correct": None,
        "n": int(some.sum()),
        "interval": {
            "method": "bootstrap over compounds",
            "level": LEVEL,
            "low": spread["low"],
            "high": spread["high"],
        },
        "bootstrap": spread,
        "p": p,
        "by_class": [
            {"label": str(label), "n": int(rows.sum()), "accuracy": float(values[rows].mean()), **by_label[str(label)]}
            for label in sorted(set(table["label"]))
            if (rows := some & (table["label"] == label).to_numpy()).any()
        ],
        "settings": {**used, "k": None},
    }
    return [(entry, None)]


def _shuffled(profiles: Profiles, settings: Settings, used: dict, observed: float) -> Scored:
    label, classes = codes(profiles.table["label"])
    compound, _ = codes(profiles.table["compound"])
    index, _ = nearest(profiles.values, profiles.values, 1, "cosine", differ=((compound, compound),))
    figures = controls.shuffled(
        lambda labels: vote(index, labels, len(classes)), label, None, observed, seed=settings.seed
    )
    return control(figures, used, "nsc")


def _probe(profiles: Profiles, settings: Settings, used: dict) -> Scored:
    table = profiles.table
    label, classes = codes(table["label"])
    groups = table["compound"].to_numpy(dtype=object).astype(str)
    folds = [fold for fold in leave_group_out(groups) if len(fold[0])]
    predicted = across(profiles.values, label, folds) if folds else np.full(len(label), UNCLASSIFIED)
    used = {**used, "metric": None, "k": None, "folds": "leave one compound out"}
    return scored(
        "probe", table["id"], label, predicted, classes, settings, used, groups=groups, grouped_by="compounds"
    )


def _ljosa_taxol(keys: pd.DataFrame) -> NDArray[np.bool_]:
    """Keep, of taxol at 0.3 µM, the wells of Ljosa et al. 2013 (all of a plain table of treatments)."""
    is_taxol = ((keys["compound"] == "taxol") & np.isclose(keys["concentration"], 0.3)).to_numpy()
    if not {"plate", "well"} <= set(keys):
        return np.ones(len(keys), bool)
    wells = set(zip(keys["plate"], keys["well"], strict=True))
    if is_taxol.any() and not wells & set(LJOSA_TAXOL):
        raise CheckFailedError(
            "None of the three taxol wells of Ljosa et al. 2013 is here: Week1_22123, Week1_22141, Week1_22161, D05",
            next="Use --taxol all",
        )
    chosen = np.array([pair in LJOSA_TAXOL for pair in zip(keys["plate"], keys["well"], strict=True)], bool)
    return ~is_taxol | chosen
