"""Compound, dose and cell line of the wells of BBBC013 and BBBC014, from the publisher's plate maps.

A well has two values as its compound: the compound, and the compound with its dose. In a small dataset each dose may
become a class, in a larger one the compound. A well without a compound (dose 0) has neither.

Labels are in lower case, so units are written in full: `nM` would become `nm`, a length.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from ..errors import MetadataError
from ..storage import read_bytes
from .folder import Folder
from .wells import well_names

WORTMANNIN_NANOMOLAR = ("0", "0", "0.98", "1.95", "3.91", "7.81", "15.63", "31.25", "62.5", "125", "250", "150")
LY294002_MICROMOLAR = ("80", "0", "0.31", "0.63", "1.25", "2.5", "5", "10", "20", "40", "80", "0")
"""Plate columns 1 to 12 of BBBC013, from `BBBC013_v1_platemap_all.txt`. Rows A to D got wortmannin, of which 150 nM is
the positive control; rows E to H got LY294002. Both keep FKHR in the nucleus."""

NEGATIVE_CONTROLS_013, POSITIVE_CONTROLS_013 = ((1, 2), (2, 12)), ((12,), (1,))
"""Plate columns of BBBC013 without a compound, and with the largest dose as control: of rows A to D, and of E to H."""

FIRST_ROWS = "ABCD"  # of both plates; the other rows are E to H
ROWS, COLUMNS = "ABCDEFGH", 12
TNF = "tnf-alpha"
PLATE_MAP_014 = "BBBC014_v1_platemap_all.txt"


def translocation_of_fkhr(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC013: compound and dose of the well, and which wells are controls."""
    return rows.assign(compound=_by_well(rows, _compound_013), control=_by_well(rows, _control_013))


def translocation_of_nfkb(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC014: MCF7 in rows A to D, A549 in rows E to H; TNF-alpha, with its dose if the plate map is in the folder.

    The dose is written as in the plate map (`10^-9.523`), without a unit: we have not found a statement of it.
    """
    doses = _plate_map(folder, PLATE_MAP_014)
    return rows.assign(
        cell_type=_by_well(rows, lambda row, column: "mcf7" if row in FIRST_ROWS else "a549"),
        compound=_by_well(rows, lambda row, column: _with_dose(TNF, doses.get(f"{row}{column:02}", ""))),
    )


def _compound_013(row: str, column: int) -> str:
    name, doses, unit = (
        ("wortmannin", WORTMANNIN_NANOMOLAR, "nanomolar")
        if row in FIRST_ROWS
        else ("ly294002", LY294002_MICROMOLAR, "micromolar")
    )
    dose = doses[column - 1]
    return "" if dose == "0" else _with_dose(name, f"{dose} {unit}")


def _control_013(row: str, column: int) -> str:
    half = 0 if row in FIRST_ROWS else 1
    if column in NEGATIVE_CONTROLS_013[half]:
        return "negative"
    return "positive" if column in POSITIVE_CONTROLS_013[half] else ""


def _with_dose(name: str, dose: str) -> str:
    """Return the two values of a compound with a known dose: `name|name dose`."""
    return f"{name}|{name} {dose}" if dose else name


def _by_well(rows: pd.DataFrame, value: Callable[[str, int], str]) -> pd.Series:
    """Return `value(row letter, column number)` of the well of each row."""
    wells = well_names(rows["well"])
    return wells.map({well: value(well[0], int(well[1:])) for well in wells.unique()}).astype("str")


def _plate_map(folder: Folder, name: str) -> dict[str, str]:
    """Read a plate map: a line of description, then one dose per well, row by row; empty if there is no such file."""
    found = folder.find(name)
    if not found:
        folder.counts.notes[f"no table {name}"] += 1
        return {}
    lines = [line.strip() for line in read_bytes(found[0]).decode("latin-1").splitlines()]
    doses = [line for line in lines if line][1:]
    if len(doses) != len(ROWS) * COLUMNS:
        raise MetadataError(
            f"{len(doses)} doses instead of {len(ROWS) * COLUMNS}",
            where=found[0],
            next="Expected: a line of description, then one dose per well, row by row. Download the file again.",
        )
    wells = [f"{row}{column:02}" for row in ROWS for column in range(1, COLUMNS + 1)]
    return dict(zip(wells, doses, strict=True))
