"""Finding each row of a table of features in the metadata of its task."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...builder.errors import UsageError
from ..tasks.bbbc021 import CONTROL, treatment
from .feature_table import FeatureTable

if TYPE_CHECKING:
    from ..tasks import Samples

SHOWN = 5  # keys an error names
BBBC021_KEYS = ("compound", "concentration", "label", "plate", "well", "week")
_WELL = re.compile(r"^([A-Ha-h])0?(\d{1,2})$")


def align(features: FeatureTable, samples: Samples | None, task: str) -> FeatureTable:
    """Give each row the labels and groups of its sample.

    Parameters
    ----------
    features : FeatureTable
        Keys: `id`; for BBBC021 also `plate` and `well` (and `site`), or `compound` and `concentration`.
    samples : Samples or None
        What the task's `read` returned. None: the table brings its own labels.
    task : str

    Returns
    -------
    FeatureTable
        Its keys are those of the samples (and `id`); rows of the table that are no sample of the task are left out.

    Raises
    ------
    UsageError
        If a key is absent or repeated, if nothing fits, or if a sample (for BBBC021: a treatment) has no row.
    """
    if samples is None:
        aligned = _own_labels(features, task)
        return _with_batches(aligned, aligned.keys) if task == "bbbc021" else aligned
    if task == "bbbc021":
        return _with_batches(_bbbc021(features, samples), samples.table)
    if "id" in features.keys and set(features.keys["id"]) & set(samples.table["id"]):
        return _by_id(features, samples, whole=True)
    raise UsageError(
        f"The table needs a column `id` that names the samples of {task}, such as {samples.ids[0]!r}",
        where=features.source,
    )


def _bbbc021(features: FeatureTable, samples: Samples) -> FeatureTable:
    keys = {str(key) for key in features.keys}
    if "id" in keys and set(features.keys["id"]) & set(samples.table["id"]):
        return _by_id(features, samples, whole=False)
    if {"plate", "well"} <= keys:
        return _by_well(features, samples)
    if {"compound", "concentration"} <= keys:
        return _by_treatment(features, samples)
    raise UsageError(
        f"A row of BBBC021 needs plate and well, or compound and concentration, or the id of an image such as "
        f"{samples.ids[0]!r}; this table has {', '.join(sorted(keys))}",
        where=features.source,
    )


def _with_batches(aligned: FeatureTable, known: pd.DataFrame) -> FeatureTable:
    """Add the batch of each row's treatment: its week, or, where it lies in several, a batch of its own.

    That is a fact of the screen, not of the rows at hand: taxol at 0.3 µM lies in all ten weeks even where a table
    holds three of its wells.
    """
    if "week" not in known:
        return aligned
    weeks: dict[str, set[str]] = {}
    for name, week in zip(_treatment_names(known), known["week"], strict=True):
        weeks.setdefault(name, set()).add(week)
    batch = {name: min(found) if len(found) == 1 else f"several weeks: {name}" for name, found in weeks.items()}
    keys = aligned.keys.assign(batch=[batch[name] for name in _treatment_names(aligned.keys)])
    return FeatureTable(keys, aligned.values, aligned.names, aligned.source)


def _own_labels(features: FeatureTable, task: str) -> FeatureTable:
    wanted = {"bbbc021": {"compound", "concentration", "label"}, "coos7": {"label", "split"}}.get(task, {"label"})
    absent = sorted(wanted - set(features.keys))
    if absent:
        raise UsageError(
            f"The table has no {', '.join(absent)}, and no metadata was given",
            where=features.source,
            next=f"Add the columns, or name the folder of {task} with --metadata",
        )
    keys = features.keys.copy()
    if "id" not in keys:
        keys["id"] = [f"row {i}" for i in range(len(keys))]
    _refuse_repeats(keys["id"], "id", features.source)
    if task == "bbbc021":
        keys.loc[keys["compound"] == CONTROL, "label"] = CONTROL
        if "week" not in keys and "plate" in keys:
            keys["week"] = keys["plate"].str.partition("_")[0]
    return FeatureTable(keys, features.values, features.names, features.source)


def _by_id(features: FeatureTable, samples: Samples, *, whole: bool) -> FeatureTable:
    _refuse_repeats(features.keys["id"], "id", features.source)
    position = pd.Index(features.keys["id"]).get_indexer(pd.Index(samples.table["id"]))
    if whole:
        _refuse_missing([i for i, at in zip(samples.ids, position, strict=True) if at < 0], "samples", features.source)
    found = position >= 0
    if not whole:
        _refuse_missing(_treatments(samples.table) - _treatments(samples.table[found]), "treatments", features.source)
    keys = samples.table[found].reset_index(drop=True)
    rows = position[found]
    in_order = len(rows) == len(features.values) and (rows == np.arange(len(rows))).all()
    # a table in our own order is not copied: it may be half as large as the memory
    return FeatureTable(keys, features.values if in_order else features.values[rows], features.names, features.source)


def _by_well(features: FeatureTable, samples: Samples) -> FeatureTable:
    keys = features.keys
    plates = _plates(keys["plate"], sorted(set(samples.table["plate"])), features.source)
    wells = [_well(name, features.source) for name in keys["well"]]
    site = [str(s).removeprefix("s") for s in keys["site"]] if "site" in keys else [""] * len(keys)
    _refuse_repeats(
        pd.Series([f"{p} {w} {s}".strip() for p, w, s in zip(plates, wells, site, strict=True)]),
        "plate and well" if "site" not in keys else "plate, well and site",
        features.source,
    )
    known = samples.table.drop_duplicates(["plate", "well"]).set_index(["plate", "well"])
    position = known.index.get_indexer(pd.MultiIndex.from_arrays([plates, wells]))
    rows = np.flatnonzero(position >= 0)
    if not len(rows):
        raise UsageError(
            f"No row lies in a labelled well of BBBC021; the first is plate {plates[0]}, well {wells[0]}",
            where=features.source,
        )
    taken = known.reset_index().iloc[position[rows]].reset_index(drop=True)
    _refuse_missing(_treatments(samples.table) - _treatments(taken), "treatments", features.source)
    taken["id"] = [f"{plates[r]}_{wells[r]}" + (f"_s{site[r]}" if site[r] else "") for r in rows]
    return FeatureTable(taken[["id", *BBBC021_KEYS]], features.values[rows], features.names, features.source)


def _by_treatment(features: FeatureTable, samples: Samples) -> FeatureTable:
    names = pd.Series(
        [treatment(*p) for p in zip(features.keys["compound"], features.keys["concentration"], strict=True)]
    )
    table = samples.table.assign(
        treatment=[treatment(*p) for p in zip(samples.table["compound"], samples.table["concentration"], strict=True)]
    )
    known = table.groupby("treatment").first()
    position = known.index.get_indexer(pd.Index(names))
    rows = np.flatnonzero(position >= 0)
    _refuse_missing(set(_treatments(samples.table)) - set(names), "treatments", features.source)
    taken = known.iloc[position[rows]].reset_index(drop=True)
    taken["id"] = [f"row {r}" for r in rows]
    columns = ["id", "compound", "concentration", "label"]
    return FeatureTable(taken[columns], features.values[rows], features.names, features.source)


def _plates(given: pd.Series, known: Sequence[str], source: str) -> list[str]:
    """Take plates by their full name, or by its last part (`22123` for `Week1_22123`) where that is unique."""
    short: dict[str, list[str]] = {}
    for plate in known:
        short.setdefault(plate.rpartition("_")[2], []).append(plate)
    names = {plate: plate for plate in known} | {tail: full[0] for tail, full in short.items() if len(full) == 1}
    found = [names.get(plate, plate) for plate in given]
    if not set(found) & set(known):
        raise UsageError(f"Plate {found[0]!r} is none of BBBC021, such as {known[0]!r}", where=source)
    return found


def _well(name: str, source: str) -> str:
    match = _WELL.match(name)
    if not match:
        raise UsageError(f"{name!r} is no well of a plate with rows A to H, such as 'B02'", where=source)
    return f"{match[1].upper()}{int(match[2]):02d}"


def _treatments(table: pd.DataFrame) -> set[str]:
    some = table[table["label"] != CONTROL].drop_duplicates(["compound", "concentration"])
    return set(_treatment_names(some))


def _treatment_names(table: pd.DataFrame) -> list[str]:
    return [treatment(*pair) for pair in zip(table["compound"], table["concentration"], strict=True)]


def _refuse_repeats(keys: pd.Series, what: str, source: str) -> None:
    repeated = keys[keys.duplicated()]
    if len(repeated):
        raise UsageError(
            f"{len(repeated):,} rows repeat a {what} that another row has, the first {repeated.iloc[0]!r}",
            where=source,
            next="Add a column that tells them apart (`site` for images of a well), or average them first",
        )


def _refuse_missing(missing: Sequence[str] | set[str], what: str, source: str) -> None:
    if missing:
        shown = ", ".join(sorted(missing)[:SHOWN])
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        raise UsageError(
            f"{len(missing):,} {what} of the metadata have no row in the table: {shown}{more}",
            where=source,
            next="Compute their features too: a score over some of them can't be compared",
        )
