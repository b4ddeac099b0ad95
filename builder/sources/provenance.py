"""Where an image comes from: plate, well, site, control, magnification and pixel size, in one spelling each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import pandas as pd

from ..schema import CONTROLS
from .each import each
from .record import Source
from .wells import well_name

PROVENANCE = ("plate", "well", "site", "control", "magnification", "pixel_size")
"""Columns about where an image comes from; `magnification` and `pixel_size` are numbers, the others text."""
NUMBERS = ("magnification", "pixel_size")

_NEGATIVE = re.compile(r"(?i)^\s*(neg(ative|\.)?|neutral|mock)[\s_-]*(control|ctrl)?s?\s*$")
_POSITIVE = re.compile(r"(?i)^\s*pos(itive|\.)?[\s_-]*(control|ctrl)?s?\s*$")
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]*)\s*$", re.IGNORECASE)
_UNITS = {"magnification": ("", "x"), "pixel_size": ("", "um", "µm", "μm")}


def control_of(text: str) -> str:
    """Return `negative` or `positive` if a text says so and nothing else; otherwise empty.

    A bare "control" is neither.

    Examples
    --------
    >>> [control_of(text) for text in ("Negative control", "pos", "neg_ctrl", "control", "DMSO", "")]
    ['negative', 'positive', 'negative', '', '', '']
    """
    if _POSITIVE.match(text):
        return "positive"
    return "negative" if _NEGATIVE.match(text) else ""


def number_of(text: str, column: str) -> float | None:
    """Return the number of a cell of `magnification` or `pixel_size`; None if it is not a positive number.

    Parameters
    ----------
    text : str
        A number, perhaps with its unit: `20x`, `0.65 um`.
    column : str
        One of `NUMBERS`.

    Examples
    --------
    >>> number_of("20X", "magnification"), number_of("0.65 µm", "pixel_size"), number_of("650 nm", "pixel_size")
    (20.0, 0.65, None)
    """
    found = _NUMBER.match(text)
    if not found or found[2].lower() not in _UNITS[column]:
        return None
    value = float(found[1])
    return value if 0 < value < math.inf else None


def with_places(source: Source, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with all columns of `PROVENANCE`, as text; empty where nobody states a value.

    Parameters
    ----------
    source : Source
    rows : DataFrame of str
        With the named groups of the source's pattern, and perhaps columns of `PROVENANCE` from its tables. A plate or
        well of a table has the name of the group that it replaces.

    Examples
    --------
    >>> from .registry import SOURCES
    >>> found = {"experiment": "HEPG2-08", "plate": "1", "well": "b3", "site": "2"}
    >>> with_places(SOURCES["rec_rxrx1"], pd.DataFrame([found]))[["plate", "well", "site"]].values.tolist()
    [['HEPG2-08_1', 'B03', '2']]
    """
    nothing = pd.Series("", index=rows.index, dtype="str")
    columns = {"plate": _plate(source, rows), "well": _well(rows), "site": _site(rows)}
    if "control" in rows:
        columns["control"] = rows["control"].where(rows["control"].isin(CONTROLS), "")
    for name in NUMBERS:
        stated = getattr(source, name)
        if stated is not None:
            columns[name] = rows.get(name, nothing).where(lambda text: text != "", str(float(stated)))
    return rows.assign(**columns)


def _plate(source: Source, rows: pd.DataFrame) -> pd.Series:
    if not set(source.plate) <= set(rows):
        return pd.Series("", index=rows.index, dtype="str")
    first, *others = source.plate
    plate = rows[first]
    for name in others:
        plate = plate + "_" + rows[name]
    return plate


def _well(rows: pd.DataFrame) -> pd.Series:
    if "well" in rows:
        return each(rows["well"], lambda text: well_name(text) or text)
    if {"row", "column"} <= set(rows):
        pairs = rows["row"] + "," + rows["column"]  # two numbers, or a letter and a number
        return each(pairs, lambda text: well_name(text) or well_name(text.replace(",", "")))
    return pd.Series("", index=rows.index, dtype="str")


def _site(rows: pd.DataFrame) -> pd.Series:
    name = next((name for name in ("site", "field") if name in rows), None)
    if name is None:
        return pd.Series("", index=rows.index, dtype="str")
    return each(rows[name], _site_name)


def _site_name(text: str) -> str:
    """Return a number as it is written without zeros in front: `_s01` is site `1`."""
    found = re.search(r"\d+", text)
    return str(int(found[0])) if found else text


def fills(source: Source) -> Mapping[str, str]:
    """Return which columns of `PROVENANCE` a source fills, and from what; the other columns are empty.

    Examples
    --------
    >>> from .registry import SOURCES
    >>> fills(SOURCES["idr0037"])
    {'plate': 'annotation', 'well': 'file names', 'site': 'file names'}
    """
    groups = set(re.findall(r"\(\?P<(\w+)>", source.pattern))
    found = {
        "plate": "file names" if set(source.plate) <= groups else "",
        "well": "file names" if "well" in groups or {"row", "column"} <= groups else "",
        "site": "file names" if groups & {"site", "field"} else "",
        **{name: "record" for name in NUMBERS if getattr(source, name) is not None},
    }
    found |= source.tables
    return {name: found[name] for name in PROVENANCE if found.get(name)}
