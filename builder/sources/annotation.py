"""Read the annotation table of a study of the Image Data Resource: one reader for all, one `Study` record for each.

A study has one table, with one line per well (screens: `Plate`, `Well`) or per image (experiments: `Dataset Name`,
`Image Name`). The names of folders usually differ from the names of plates. An image therefore finds its line in two
steps: its folder gives the plate (`PlateFolders`), its file name gives the well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .folder import Folder
from .plates import PlateFolders, plate_pairs
from .record import Labels
from .rows import escape_bars, join_labels
from .wells import well_name

Names = str | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """The columns of a study's annotation table.

    Parameters
    ----------
    labels : mapping
        Our column to the study's, or to a tuple of its spellings in different releases. `phenotype.2` is a further
        value of `phenotype`. All must be present: a renamed column must not become an empty label.
    optional : mapping
        The same for columns that only some releases have.
    plate, image : str or tuple of str
        The two columns by which a line is matched with images.
    folders : tuple of str
        Columns that name a plate's folder.
    only : (column, pattern), optional
        Lines that do not match the pattern are about other files (masks); they are left out and counted.
    refuse : (column, pattern, reason), optional
        Images whose line matches the pattern are left out and counted.
    markers : mapping of str to (column, pattern)
        A stain of the record to the column that names it, and the regular expression whose first group is that name.
    pages : mapping of int to str
        For files with several channels: page to stain, in merging order.
    key : callable, optional
        Returns an image's key from its path or, for a line, from all `folders` and the `image` cell joined by `/`.
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
    """Return the function that labels a study's images (`Source.labels`).

    Notes
    -----
    Two equal lines of one plate and well count once: idr0081's plates were imaged, and annotated, at two sites.
    Annotation tables are read first. A library table, from which annotations are made, adds plates that an early
    annotation does not have; without an annotation it is used instead.
    """

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        rows = _with_pages(rows, study)
        lines = _lines(study, folder)
        if lines is None:
            folder.counts.unlabelled += len(rows)
            return rows
        aliases = [f"@f{i}" for i in range(len(study.folders))]
        plates = PlateFolders(lines["plate"], plate_pairs(folder), [lines[name] for name in aliases])
        where = rows["folder"] if "folder" in rows else _each(rows["file"], lambda path: path.rpartition("/")[0])
        if {"plate", "run"} <= set(rows):  # some file names contain the plate
            where = where + np.where(rows["plate"] == "", "", "/" + rows["plate"] + "/" + rows["run"])
        rows = rows.assign(_plate=_each(where, plates.find), _image=_image_keys(rows, study))
        lines = lines.drop(columns=aliases).rename(columns={"plate": "_plate", "image": "_image"})
        rows = join_labels(rows, lines, ["_plate", "_image"], folder)
        for number, (stain, (_, pattern)) in enumerate(study.markers.items()):
            rows = _rename_stain(rows, stain, rows[f"@m{number}"], pattern)
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


def _lines(study: Study, folder: Folder) -> pd.DataFrame | None:
    """Read the annotation: `plate`, `image`, our label columns, `@f0` ... (folders), `@m0` ... (markers), `@refuse`."""
    tables = _read_tables(study, folder)
    if not tables:
        folder.counts.notes["no annotation table"] += 1
        return None
    lines = pd.concat(tables, ignore_index=True).astype("str")
    lines = _join_numbered_values(_of_this_study(lines, study, folder), study)
    # a line without a plate must not match an image whose plate is not known
    return lines.assign(image=_line_keys(lines, study), plate=lines["plate"].where(lines["plate"] != "", "-"))


def _read_tables(study: Study, folder: Folder) -> list[pd.DataFrame]:
    """Read all annotation tables, then all library tables; where there are both, the latter may lack the labels."""
    keys = {"plate": study.plate, "image": study.image}
    may: dict[str, Names] = dict(study.optional)
    may |= {f"@f{i}": name for i, name in enumerate(study.folders)}
    may |= {f"@m{i}": column for i, (column, _) in enumerate(study.markers.values())}
    if study.only is not None:
        may["@only"] = study.only[0]
    if study.refuse is not None:
        may["@refuse"] = study.refuse[0]
    annotation = ("*annotation*.csv", "*annotation*.csv.gz")  # idr0088 has a .csv.zip next to them
    tables = _tables_of(folder, annotation, {**keys, **study.labels}, may)
    must, may = (keys, {**study.labels, **may}) if tables else ({**keys, **study.labels}, may)
    return tables + _tables_of(folder, ("*library*.txt", "*library*.txt.gz"), must, may)


def _tables_of(
    folder: Folder, globs: Sequence[str], must: Mapping[str, Names], may: Mapping[str, Names]
) -> list[pd.DataFrame]:
    """Read the tables whose names match, one for each pattern that has a file."""
    return [folder.table(glob, must, optional=may) for glob in globs if folder.find(glob)]


def _of_this_study(lines: pd.DataFrame, study: Study, folder: Folder) -> pd.DataFrame:
    """Leave out the lines about other files (`Study.only`), and count them."""
    if study.only is None:
        return lines
    ours = lines["@only"].str.contains(study.only[1])
    if others := int((~ours).sum()):
        folder.counts.notes["label lines of other files"] += others
    return lines[ours].drop(columns="@only").reset_index(drop=True)


def _join_numbered_values(lines: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Join columns such as `phenotype`, `phenotype.2` to one column of values with `|` between them."""
    labels = [*study.labels, *study.optional]
    lines[labels] = lines[labels].apply(escape_bars)
    numbered = [name for name in labels if "." in name]
    for name in numbered:
        first = name.split(".")[0]
        both = (lines[first] != "") & (lines[name] != "")
        lines[first] = lines[first] + np.where(both, "|", "") + lines[name]
    return lines.drop(columns=numbered)


def _line_keys(lines: pd.DataFrame, study: Study) -> pd.Series:
    """Return the key of each line's image: the study's own, the well, or the file's name."""
    if study.key is not None:
        paths = lines["image"]
        for i in reversed(range(len(study.folders))):
            paths = lines[f"@f{i}"] + "/" + paths
        return _each(paths, study.key)
    if _is_well(study):
        return _each(lines["image"], lambda text: well_name(text) or f"no well: {text}")
    return lines["image"].str.casefold()


def _is_well(study: Study) -> bool:
    return "Well" in (study.image if isinstance(study.image, tuple) else (study.image,))


def _image_keys(rows: pd.DataFrame, study: Study) -> pd.Series:
    """Return the key of each row's image, comparable with that of the annotation's lines."""
    if study.key is not None:
        return _each(rows["file"], study.key)
    if not _is_well(study):
        return _each(rows["file"], lambda path: path.rpartition("/")[2].casefold())
    spelling = pd.Series("", index=rows.index, dtype="str")
    for names in (("row", "column"), ("number",), ("well",)):
        if not set(names) <= set(rows):
            continue
        one = rows[names[0]] + ("," + rows["column"] if len(names) == 2 else "")
        spelling = spelling.where(rows[names[0]] == "", one)
    return _each(spelling, well_name)


def _rename_stain(rows: pd.DataFrame, stain: str, cells: pd.Series, pattern: str) -> pd.DataFrame:
    """Replace a stain of the record by the name in the row's line, where the line has one."""
    names = _each(cells, lambda cell: _stain_name(found[1]) if (found := re.search(pattern, cell)) else "")
    stains = rows["stains"]
    for name in names.unique():
        if name:
            stains = stains.where(names != name, _each(rows["stains"], partial(_swap, old=stain, new=name)))
    return rows.assign(stains=stains)


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


def _each(values: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """Return `change` of each value; it is called once per distinct value."""
    texts = pa.array(values, pa.large_string())  # chunked if the values came from several tables
    coded = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).dictionary_encode()
    changed = pa.array([change(text) for text in coded.dictionary.to_pylist()], pa.large_string())
    return pd.Series(pc.take(changed, coded.indices).to_pandas(), dtype="str").set_axis(values.index)
