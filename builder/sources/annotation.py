"""The annotation of a study of the Image Data Resource: one reader for all, one small mapping for each.

A study ships one table with a line for each well (screens: `Plate`, `Well`) or for each image (experiments:
`Dataset Name`, `Image Name`), and the folders of its plates are seldom called as its plates are. So an image finds its
line in two steps: its folder tells the plate (`PlateFolders`), its name tells the well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .folder import Folder
from .plates import PlateFolders, plate_pairs
from .record import Labels
from .rows import data, join
from .wells import well_name

Names = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Where a study's annotation says what.

    Parameters
    ----------
    labels : mapping
        Our column to the study's, or to the spellings it went by over the years. `phenotype.2` is a further value of
        `phenotype`. All must be there: a renamed column must not become an empty label.
    optional : mapping
        The same for columns that only some releases have.
    plate, image : str or tuple of str
        The two columns a line is found by.
    folders : tuple of str
        Columns that name a plate's folder.
    only : (column, pattern), optional
        Lines that do not match speak of no image of ours (masks); they are counted.
    refuse : (column, pattern, reason), optional
        Images whose line matches are left out and counted.
    markers : mapping of str to (column, pattern)
        A stain of the record to the column that names it, and the expression whose first group is that name.
    pages : mapping of int to str
        For files with several channels: page to stain, in merging order.
    key : callable, optional
        Makes the image's key out of its path or, for a line, of all `folders` and the `image` cell joined by `/`.
        Without it the key is the well for screens and the file's name for experiments.
    """

    labels: Mapping[str, Names]
    optional: Mapping[str, Names] = field(default_factory=dict)
    plate: Names = "Plate"
    image: Names = "Well"
    folders: tuple[str, ...] = ()
    only: tuple[str, str] | None = None
    refuse: tuple[str, str, str] | None = None
    markers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    pages: Mapping[int, str] = field(default_factory=dict)
    key: Callable[[str], str] | None = None


def annotated(study: Study) -> Labels:
    """Return the step that gives a study's images their labels.

    Notes
    -----
    Two lines of one plate and well that agree are one line: idr0081's plates were imaged, and annotated, at two sites.
    Annotation tables are read first. A library table, their input, fills in the plates that an early annotation does
    not have; where there is no annotation it stands in for it.
    """

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        rows = _paged(rows, study)
        lines = _lines(study, folder)
        if lines is None:
            folder.counts.unlabelled += len(rows)
            return rows
        aliases = [f"@f{i}" for i in range(len(study.folders))]
        plates = PlateFolders(lines["plate"], plate_pairs(folder), [lines[name] for name in aliases])
        where = rows["folder"] if "folder" in rows else _each(rows["file"], lambda path: path.rpartition("/")[0])
        if {"plate", "run"} <= set(rows):  # some files name their plate themselves
            where = where + np.where(rows["plate"] == "", "", "/" + rows["plate"] + "/" + rows["run"])
        rows = rows.assign(_plate=_each(where, plates.find), _image=_image_keys(rows, study))
        lines = lines.drop(columns=aliases).rename(columns={"plate": "_plate", "image": "_image"})
        rows = join(rows, lines, ["_plate", "_image"], folder)
        for number, (stain, (_, pattern)) in enumerate(study.markers.items()):
            rows = _named(rows, stain, rows[f"@m{number}"], pattern)
        if study.refuse is not None:
            rows = leave_out(rows, rows["@refuse"].str.contains(study.refuse[1]), study.refuse[2], folder)
        return rows.drop(columns=[name for name in rows if str(name)[0] in "@_"])

    return labels


def leave_out(rows: pd.DataFrame, which: pd.Series, reason: str, folder: Folder) -> pd.DataFrame:
    """Return the rows that are not `which`, counting the files of the others as skipped for `reason`."""
    gone = rows.loc[which, "channels"].str.split("|").explode().str.replace(r"#page=\d+$", "", regex=True)
    number = gone.nunique()
    if number:
        folder.counts.used -= number
        folder.counts.skipped[reason] += number
    return rows[~which].reset_index(drop=True)


def _lines(study: Study, folder: Folder) -> pd.DataFrame | None:
    """Read the annotation: `plate`, `image`, our label columns, `@f0` ... (folders), `@m0` ... (markers), `@refuse`."""
    must = {"plate": study.plate, "image": study.image, **study.labels}
    may: dict[str, Names] = dict(study.optional)
    may |= {f"@f{i}": name for i, name in enumerate(study.folders)}
    may |= {f"@m{i}": column for i, (column, _) in enumerate(study.markers.values())}
    if study.only is not None:
        may["@only"] = study.only[0]
    if study.refuse is not None:
        may["@refuse"] = study.refuse[0]
    tables = [
        folder.table(glob, must, optional=may)
        for glob in ("*annotation*.csv", "*annotation*.csv.gz")  # idr0088 has a .csv.zip beside them
        if folder.find(glob)
    ]
    keys = {"plate": study.plate, "image": study.image}
    how = (keys, {**study.labels, **may}) if tables else (must, may)
    tables += [
        folder.table(glob, how[0], optional=how[1])
        for glob in ("*library*.txt", "*library*.txt.gz")
        if folder.find(glob)
    ]
    if not tables:
        folder.counts.notes["no annotation table"] += 1
        return None
    lines = pd.concat(tables, ignore_index=True).astype("str")
    if study.only is not None:
        ours = lines["@only"].str.contains(study.only[1])
        if others := int((~ours).sum()):
            folder.counts.notes["label lines of other files"] += others
        lines = lines[ours].drop(columns="@only").reset_index(drop=True)
    labels = [*study.labels, *study.optional]
    lines[labels] = lines[labels].apply(data)
    for further in [name for name in labels if "." in name]:
        first = further.split(".")[0]
        both = (lines[first] != "") & (lines[further] != "")
        lines[first] = lines[first] + np.where(both, "|", "") + lines[further]
    lines = lines.drop(columns=[name for name in labels if "." in name])
    if study.key is not None:
        whole = lines["image"]
        for i in reversed(range(len(study.folders))):
            whole = lines[f"@f{i}"] + "/" + whole
        lines["image"] = _each(whole, study.key)
    elif _is_well(study):
        lines["image"] = _each(lines["image"], lambda text: well_name(text) or f"no well: {text}")
    else:
        lines["image"] = lines["image"].str.casefold()
    # what has no plate must not meet an image whose plate is not known
    return lines.assign(plate=lines["plate"].where(lines["plate"] != "", "-"))


def _is_well(study: Study) -> bool:
    return "Well" in (study.image if isinstance(study.image, tuple) else (study.image,))


def _image_keys(rows: pd.DataFrame, study: Study) -> pd.Series:
    if study.key is not None:
        return _each(rows["file"], study.key)
    if not _is_well(study):
        return _each(rows["file"], lambda path: path.rpartition("/")[2].casefold())
    token = pd.Series("", index=rows.index, dtype="str")
    for names in (("row", "column"), ("number",), ("well",)):
        if not set(names) <= set(rows):
            continue
        one = rows[names[0]] + ("," + rows["column"] if len(names) == 2 else "")
        token = token.where(rows[names[0]] == "", one)
    return _each(token, well_name)


def _named(rows: pd.DataFrame, stain: str, cells: pd.Series, pattern: str) -> pd.DataFrame:
    """Replace a stain of the record by the name that the row's line gives it."""
    names = _each(cells, lambda cell: _stain_name(found[1]) if (found := re.search(pattern, cell)) else "")
    stains = rows["stains"]
    for name in names.unique():
        if name:
            stains = stains.where(names != name, _each(rows["stains"], partial(_swap, old=stain, new=name)))
    return rows.assign(stains=stains)


def _stain_name(name: str) -> str:
    """Make a name safe as one stain of a list: neither a bar nor a slash may split it."""
    return name.strip().replace("|", " ").replace("/", " ").lower()


def _swap(stains: str, old: str, new: str) -> str:
    return "|".join(new if stain == old else stain for stain in stains.split("|"))


def _paged(rows: pd.DataFrame, study: Study) -> pd.DataFrame:
    if not study.pages:
        return rows
    places = [rows["channels"] + f"#page={page}" for page in study.pages]
    whole = places[0]
    for place in places[1:]:
        whole = whole + "|" + place
    return rows.assign(channels=whole, stains="|".join(study.pages.values()))


def _each(values: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """Apply `change` to each distinct value once."""
    texts = pa.array(values, pa.large_string())  # in several pieces where the tables were
    coded = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).dictionary_encode()
    changed = pa.array([change(text) for text in coded.dictionary.to_pylist()], pa.large_string())
    return pd.Series(pc.take(changed, coded.indices).to_pandas(), dtype="str").set_axis(values.index)
