"""Checks of each row of a table: its paths, its files, its id."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping

import pandas as pd

from ..errors import MetadataError
from .places import OutsideError, file_of, normalised
from .root import Root
from .table_file import LINE

REASONS: Mapping[str, str] = {
    "missing_channel": "a channel is not named, or its file does not exist",
    "outside": "the path leads out of the table's folder",
    "repeated": "the same image is in an earlier row",
    "unreadable": "the file can't be read as an image",
    "too_large": "the image has more pixels than the limit",
    "sizes_differ": "the channels of the sample have different sizes",
    "not_finite": "a pixel is infinite or not a number",
}
"""Why a sample is rejected."""
Bad = dict[int, tuple[str, str, str]]
"""Position of a row to the file, reason and detail of its rejection."""


def _line(raw: pd.DataFrame, row: int, column: str) -> str:
    line = int(raw[LINE].iloc[row])
    return f"line {line}, column {column}: " if line else ""


def places_of(raw: pd.DataFrame, files: list[str], base: str, root: Root) -> tuple[pd.DataFrame, Bad, int]:
    """Return the places of all rows, the rows without one, and the number of cells with backslashes.

    Parameters
    ----------
    raw : DataFrame
        As the table has it.
    files : list of str
        The columns with paths.
    base : str
        Folder of the table, relative to `root`.
    root : Root
    """
    bad: Bad = {}
    changed = 0
    absolute = "" if root.is_zip else root.path
    columns = {}
    for column in files:
        found = []
        for row, cell in enumerate(raw[column].tolist()):
            place = ""
            if not cell:
                bad.setdefault(row, ("", "missing_channel", f"{_line(raw, row, column)}no file is named"))
            else:
                changed += "\\" in cell
                try:
                    place = posixpath.join(base, normalised(cell, absolute))
                except OutsideError:
                    bad.setdefault(row, (cell, "outside", f"{_line(raw, row, column)}not below {root.path}"))
            found.append(place)
        columns[column] = pd.Series(found, index=raw.index, dtype="str")
    return pd.DataFrame(columns), bad, changed


def absent(places: pd.DataFrame, raw: pd.DataFrame, root: Root, existing: Collection[str] | None = None) -> Bad:
    """Find rows of which a file does not exist; `existing` are all files, where they have been listed."""
    files = {file_of(place) for column in places for place in places[column] if place}
    gone = root.absent(files) if existing is None else files - set(existing)
    bad: Bad = {}
    for column in places if gone else ():
        for row, place in enumerate(places[column]):
            file = file_of(place)
            if place and file in gone:
                hint = " (what follows # is neither a page nor a box)" if "#page" in file or "#xywh" in file else ""
                what = f"{_line(raw, row, str(column))}there is no such file{hint}"
                bad.setdefault(row, (place, "missing_channel", what))
    return bad


def ids_of(raw: pd.DataFrame, places: pd.DataFrame, base: str, where: str) -> pd.Series:
    """Return the ids of the table, checked; if it has none, the places: of the first channel if these are unique.

    Raises
    ------
    MetadataError
        If a row has no id and others have, or an id is in two rows.
    """
    if not _has_ids(raw):
        relative = places.apply(lambda column: column.str.removeprefix(f"{base}/") if base else column)
        ids = relative.iloc[:, 0]
        if ids.duplicated().any() and len(places.columns) > 1:
            ids = relative.agg("|".join, axis=1)
        # rows without a path and rows that repeat one are rejected, and still need a name
        number = raw[LINE].where(raw[LINE].gt(0), pd.Series(range(1, len(raw) + 1), index=raw.index))
        again = ids.eq("") | ids.duplicated()
        named: pd.Series = ids.where(~again, ids + " (line " + number.astype("str") + ")").str.strip().astype("str")
        return named
    empty = raw["id"].eq("")
    if empty.any():
        line = int(raw[LINE][empty].iloc[0])
        raise MetadataError(f"{int(empty.sum()):,} rows have no id", where=f"{where}, line {line}, column id")
    twice = raw["id"][raw["id"].duplicated(keep=False)]
    if len(twice):
        lines = raw[LINE][raw["id"] == twice.iloc[0]].tolist()
        raise MetadataError(
            f"{twice.nunique():,} ids are in several rows; {twice.iloc[0]!r} is in lines {lines[0]} and {lines[1]}",
            where=f"{where}, column id",
            next="Make them unique, or leave the column out: then the paths are the ids.",
        )
    return raw["id"]


def repeated(places: pd.DataFrame, raw: pd.DataFrame) -> Bad:
    """Find rows whose images are all in an earlier row, where the paths are the ids."""
    if _has_ids(raw):
        return {}
    again = places.duplicated() & (places != "").any(axis=1)
    return {
        row: (str(places.iloc[row, 0]), "repeated", f"{_line(raw, row, str(places.columns[0]))}{REASONS['repeated']}")
        for row in again.to_numpy().nonzero()[0].tolist()
    }


def _has_ids(raw: pd.DataFrame) -> bool:
    return "id" in raw and bool(raw["id"].ne("").any())
