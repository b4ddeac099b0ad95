"""Find the treatment of each row of a table for BBBC021: by image, by well, or by compound and concentration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...builder.errors import UsageError
from ...builder.sources.wells import well_names
from ..sets.bbbc021 import CONTROL, treatments_of
from .align import has_ids_of, refuse_missing, refuse_repeats, rows_of, take, with_own_columns
from .feature_table import FeatureTable

if TYPE_CHECKING:
    from ..sets.samples import Samples

COLUMNS = ("compound", "concentration", "label")  # that a table needs without samples
KEYS_OF_A_WELL = (*COLUMNS, "plate", "well", "week")
_WELL = re.compile(r"[A-H]\d\d")  # of the 96-well plates of BBBC021


def align_treatments(features: FeatureTable, samples: Samples | None) -> FeatureTable:
    """Give each row the treatment, mechanism and plate of its image, well or treatment.

    Parameters
    ----------
    features : FeatureTable
        Keys: `id`; or `plate` and `well` (and `site`); or `compound` and `concentration`.
    samples : Samples or None
        None: the table contains compound, concentration and label itself.

    Returns
    -------
    FeatureTable
        Keys: id, compound, concentration, label, and where they are known plate, well, week and batch. Rows that belong
        to no labelled treatment are left out.

    Raises
    ------
    UsageError
        If a key is missing or repeated, if no row matches, or if a treatment has no row.
    """
    if samples is None:
        aligned = _with_own_treatments(features)
        return _with_batches(aligned, aligned.keys)
    keys = {str(key) for key in features.keys}
    if has_ids_of(features, samples):
        aligned = _by_id(features, samples)
    elif {"plate", "well"} <= keys:
        aligned = _by_well(features, samples)
    elif {"compound", "concentration"} <= keys:
        aligned = _by_treatment(features, samples)
    else:
        raise UsageError(
            "A row for BBBC021 needs plate and well, or compound and concentration, or the id of an image such as "
            f"{samples.ids[0]!r}; this table has {', '.join(sorted(keys))}",
            where=features.source,
        )
    return _with_batches(aligned, samples.table)


def _with_batches(aligned: FeatureTable, screen: pd.DataFrame) -> FeatureTable:
    """Add the batch of each row's treatment: its week, or a batch of its own if the screen has it in several weeks.

    The weeks are those of the complete screen, not of the rows in the table: taxol at 0.3 µM is in all ten weeks, even
    if a table contains only three of its wells.
    """
    if "week" not in screen:
        return aligned
    weeks: dict[str, set[str]] = {}
    for name, week in zip(treatments_of(screen), screen["week"], strict=True):
        weeks.setdefault(name, set()).add(week)
    batch = {name: min(found) if len(found) == 1 else f"several weeks: {name}" for name, found in weeks.items()}
    keys = aligned.keys.assign(batch=[batch[name] for name in treatments_of(aligned.keys)])
    return FeatureTable(keys, aligned.values, aligned.names, aligned.source)


def _with_own_treatments(features: FeatureTable) -> FeatureTable:
    own = with_own_columns(features, COLUMNS, "bbbc021")
    is_control = own.keys["compound"].str.strip().str.upper() == CONTROL  # also `dmso`
    own.keys.loc[is_control, ["compound", "label"]] = CONTROL
    _refuse_two_mechanisms(own)
    mechanisms = set(own.keys["label"]) - {CONTROL}
    if len(mechanisms) == 1:
        what = f"All samples have the label {mechanisms.pop()}: there is nothing to tell apart"
        raise UsageError(what, where=features.source)
    if "week" not in own.keys and "plate" in own.keys:
        own.keys["week"] = own.keys["plate"].str.partition("_")[0]
    return own


def _refuse_two_mechanisms(features: FeatureTable) -> None:
    """Raise a `UsageError` if rows of one treatment have different mechanisms of action."""
    names = pd.Series(treatments_of(features.keys), index=features.keys.index)
    mechanisms = features.keys["label"].groupby(names).unique()
    several = mechanisms[mechanisms.map(len) > 1]
    if len(several):
        found = " and ".join(sorted(several.iloc[0])[:2])
        raise UsageError(
            f"{len(several):,} treatments have several mechanisms of action, the first is {several.index[0]}: {found}",
            where=features.source,
            next="Give every treatment (compound and concentration) one mechanism",
        )


def _by_id(features: FeatureTable, samples: Samples) -> FeatureTable:
    """Align images; some may be missing if every treatment has one."""
    rows = rows_of(features, samples)
    found = rows >= 0
    missing = _labelled_treatments(samples.table) - _labelled_treatments(samples.table[found])
    refuse_missing(missing, "treatments", features.source)
    return take(features, rows[found], samples.table[found])


def _by_well(features: FeatureTable, samples: Samples) -> FeatureTable:
    keys = features.keys
    plates = _plates(keys["plate"], sorted(set(samples.table["plate"])), features.source)
    wells = _wells(keys["well"], features.source)
    sites = [str(s).removeprefix("s") for s in keys["site"]] if "site" in keys else [""] * len(keys)
    refuse_repeats(
        pd.Series([f"{p} {w} {s}".strip() for p, w, s in zip(plates, wells, sites, strict=True)]),
        "plate and well" if "site" not in keys else "plate, well and site",
        features.source,
    )
    known = samples.table.drop_duplicates(["plate", "well"]).set_index(["plate", "well"])
    position = known.index.get_indexer(pd.MultiIndex.from_arrays([plates, wells]))
    rows = np.flatnonzero(position >= 0)
    if not len(rows):
        raise UsageError(
            f"No row is from a labelled well of BBBC021; the first is plate {plates[0]}, well {wells[0]}",
            where=features.source,
        )
    taken = known.reset_index().iloc[position[rows]].reset_index(drop=True)
    missing = _labelled_treatments(samples.table) - _labelled_treatments(taken)
    refuse_missing(missing, "treatments", features.source)
    taken["id"] = [f"{plates[r]}_{wells[r]}" + (f"_s{sites[r]}" if sites[r] else "") for r in rows]
    return FeatureTable(taken[["id", *KEYS_OF_A_WELL]], features.values[rows], features.names, features.source)


def _by_treatment(features: FeatureTable, samples: Samples) -> FeatureTable:
    names = treatments_of(features.keys)
    known = samples.table.assign(treatment=treatments_of(samples.table)).groupby("treatment").first()
    position = known.index.get_indexer(pd.Index(names))
    rows = np.flatnonzero(position >= 0)
    refuse_missing(_labelled_treatments(samples.table) - set(names), "treatments", features.source)
    taken = known.iloc[position[rows]].reset_index(drop=True)
    taken["id"] = [f"row {r}" for r in rows]
    return FeatureTable(taken[["id", *COLUMNS]], features.values[rows], features.names, features.source)


def _plates(given: pd.Series, known: Sequence[str], source: str) -> list[str]:
    """Return full names of plates, from these or from their last part (`22123` for `Week1_22123`) if it is unique."""
    by_last_part: dict[str, list[str]] = {}
    for plate in known:
        by_last_part.setdefault(plate.rpartition("_")[2], []).append(plate)
    full = {plate: plate for plate in known} | {part: p[0] for part, p in by_last_part.items() if len(p) == 1}
    plates = [full.get(plate, plate) for plate in given]
    if set(plates).isdisjoint(known):
        raise UsageError(f"{plates[0]!r} is not a plate of BBBC021, such as {known[0]!r}", where=source)
    return plates


def _wells(given: pd.Series, source: str) -> list[str]:
    wells = well_names(given).tolist()
    for name, standard in zip(given, wells, strict=True):
        if not _WELL.fullmatch(standard):
            raise UsageError(f"{name!r} is not a well of a plate with rows A to H, such as 'B02'", where=source)
    return wells


def _labelled_treatments(table: pd.DataFrame) -> set[str]:
    return set(treatments_of(table[table["label"] != CONTROL].drop_duplicates(["compound", "concentration"])))
