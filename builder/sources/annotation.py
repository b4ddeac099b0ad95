"""Label the images of a study of the Image Data Resource: one reader for all, one `Study` record for each.

A study has an annotation table, with one line per well (screens: `Plate`, `Well`) or per image (experiments: `Dataset
Name`, `Image Name`). The names of folders usually differ from the names of plates. An image therefore finds its line in
two steps: its folder gives the plate (`PlateFolders`), its file name gives the well.
"""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pandas as pd

from .channel_types import channel_types
from .each import each
from .folder import Folder
from .label_lines import label_lines
from .record import Labels
from .rows import SEPARATOR, join_labels
from .study import Study
from .wells import well_name


def annotated(study: Study) -> Labels:
    """Return the function that labels a study's images (`Source.labels`).

    Notes
    -----
    Two equal lines of one plate and well count once: idr0081's plates were imaged, and annotated, at two sites.
    Where there are an annotation and a library table, the annotation decides (`label_lines.label_lines`).
    """

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        rows = _with_pages(rows, study)
        image = _image_keys(rows, study)
        if study.by_well:
            rows = rows.assign(_named=rows.get("plate", ""), well=image)
        found = label_lines(study, folder)
        if found is None:
            folder.counts.unlabelled += len(rows)
            return rows.drop(columns="_named", errors="ignore")
        lines, plates = found
        where = rows["folder"] if "folder" in rows else each(rows["file"], lambda path: path.rpartition("/")[0])
        if {"plate", "run"} <= set(rows):  # some file names contain the plate
            where = where + np.where(rows["plate"] == "", "", "/" + rows["plate"] + "/" + rows["run"])
        rows = rows.assign(_plate=each(where, plates.find), _image=image)
        if study.by_well:
            rows["plate"] = rows["_plate"].where(rows["_plate"] != "", rows["_named"])
        lines = lines.rename(columns={"plate": "_plate", "image": "_image"})
        rows = join_labels(rows, lines, ["_plate", "_image"], folder)
        in_record = rows["stains"]
        for number, (stain, (_, pattern)) in enumerate(study.markers.items()):
            rows = _rename_stain(rows, stain, rows[f"@m{number}"], pattern)
        if study.markers:
            rows["channel_type"] = each(in_record + SEPARATOR + rows["stains"], _types_of_markers)
        if study.refuse is not None:
            rows = _leave_out(rows, rows["@refuse"].str.contains(study.refuse[1]), study.refuse[2], folder)
        return rows.drop(columns=[name for name in rows if str(name)[0] in "@_"])

    return labels


def _leave_out(rows: pd.DataFrame, which: pd.Series, reason: str, folder: Folder) -> pd.DataFrame:
    """Return the rows where `which` is false; the files of the others are counted as skipped for `reason`."""
    gone = rows.loc[which, "channels"].str.split("|").explode().str.replace(r"#page=\d+$", "", regex=True)
    number = gone.nunique()
    if number:
        folder.counts.used -= number
        folder.counts.skipped[reason] += number
    return rows[~which].reset_index(drop=True)


def _image_keys(rows: pd.DataFrame, study: Study) -> pd.Series:
    """Return the key of each row's image, comparable with that of the annotation's lines."""
    if study.key is not None:
        return each(rows["file"], study.key)
    if not study.by_well:
        return each(rows["file"], lambda path: path.rpartition("/")[2].casefold())
    spelling = pd.Series("", index=rows.index, dtype="str")
    for names in (("row", "column"), ("number",), ("well",)):
        if not set(names) <= set(rows):
            continue
        one = rows[names[0]] + ("," + rows["column"] if len(names) == 2 else "")
        spelling = spelling.where(rows[names[0]] == "", one)
    return each(spelling, well_name)


def _rename_stain(rows: pd.DataFrame, stain: str, cells: pd.Series, pattern: str) -> pd.DataFrame:
    """Replace a stain of the record by the name in the row's line, where the line has one."""
    names = each(cells, lambda cell: _stain_name(found[1]) if (found := re.search(pattern, cell)) else "")
    stains = rows["stains"]
    for name in names.unique():
        if name:
            stains = stains.where(names != name, each(rows["stains"], partial(_swap, old=stain, new=name)))
    return rows.assign(stains=stains)


def _types_of_markers(stains: str) -> str:
    """Return the types of renamed stains; a name that is no standard one has the type of the record's stain."""
    before, after = (channel_types(part).split("|") for part in stains.split(SEPARATOR))
    return "|".join(new or old for old, new in zip(before, after, strict=True))


def _stain_name(name: str) -> str:
    """Return a name that can be one stain of a list: bars and slashes, which separate stains, become blanks."""
    return name.strip().replace("|", " ").replace("/", " ").lower()


def _swap(stains: str, old: str, new: str) -> str:
    """Replace one stain in a list."""
    return "|".join(new if stain == old else stain for stain in stains.split("|"))


def _with_pages(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Make a channel of each page of a file (`Study.pages`)."""
    if not study.pages:
        return rows
    pages = [rows["channels"] + f"#page={page}" for page in study.pages]
    channels = pages[0]
    for page in pages[1:]:
        channels = channels + "|" + page
    return rows.assign(channels=channels, stains="|".join(study.pages.values()))
