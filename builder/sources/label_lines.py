"""Read the tables of a study of the Image Data Resource: one line per well or image, and the folder of each plate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .each import each
from .folder import Folder
from .library_table import completed, with_plates_of
from .plates import PlateFolders, plate_pairs
from .provenance import control_of
from .rows import escape_bars
from .study import Names, Study
from .wells import well_name

ANNOTATION = ("*annotation*.csv", "*annotation*.csv.gz")  # idr0088 has a .csv.zip next to them
LIBRARY = ("*library*.txt", "*library*.txt.gz")


def label_lines(study: Study, folder: Folder) -> tuple[pd.DataFrame, PlateFolders] | None:
    """Read a study's tables.

    Returns
    -------
    lines : DataFrame of str
        `plate`, `image`, our label columns, `@m0` ... (the markers' columns), `@refuse`.
    plates : PlateFolders
        Finds the plate of a folder.
    None
        If there is neither an annotation nor a library table; that is noted in the folder's counts.

    Notes
    -----
    The annotation decides. A library table, from which the authors made the annotation, only fills what the annotation
    lacks: values of a line, and complete lines. Without an annotation it is used instead.
    """
    keys, may = _columns(study)
    annotation = _read(study, folder, ANNOTATION, {**keys, **study.labels}, may)
    if annotation is None:
        library = _read(study, folder, LIBRARY, {**keys, **study.labels}, may)
    else:
        library = _read(study, folder, LIBRARY, keys, {**study.labels, **may})
    aliases = [f"@f{i}" for i in range(len(study.folders))]
    tables = [table for table in (annotation, library) if table is not None]
    if not tables:
        folder.counts.notes["no annotation table"] += 1
        return None
    if annotation is not None and library is not None:
        tables[1] = library = with_plates_of(annotation, library, aliases)
    lines = pd.concat(tables, ignore_index=True).astype("str")
    plates = PlateFolders(lines["plate"], plate_pairs(folder), [lines[name] for name in aliases])
    if annotation is not None and library is not None:
        titles = {f"@m{i}": stain for i, stain in enumerate(study.markers)}
        titles |= {} if study.refuse is None else {"@refuse": study.refuse[0]}
        unit = "wells" if study.by_well else "images"
        lines = completed(
            annotation.drop(columns=aliases), library.drop(columns=aliases), folder.counts, unit=unit, titles=titles
        )
    else:
        lines = lines.drop(columns=aliases)
    return lines, plates


def _columns(study: Study) -> tuple[Mapping[str, Names], dict[str, Names]]:
    """Return the columns that every table must have, and those that it may have (besides the labels)."""
    may: dict[str, Names] = {**study.optional, "control": study.control}
    may |= {f"@f{i}": name for i, name in enumerate(study.folders)}
    may |= {f"@m{i}": column for i, (column, _) in enumerate(study.markers.values())}
    if study.only is not None:
        may["@only"] = study.only[0]
    if study.refuse is not None:
        may["@refuse"] = study.refuse[0]
    return {"plate": study.plate, "image": study.image}, may


def _read(
    study: Study, folder: Folder, globs: Sequence[str], must: Mapping[str, Names], may: Mapping[str, Names]
) -> pd.DataFrame | None:
    """Read the tables whose names match as lines: `plate`, `image`, labels, `@f0` ... (folders), and the others."""
    found = [folder.table(glob, must, optional=may) for glob in globs if folder.find(glob)]
    if not found:
        return None
    lines = pd.concat(found, ignore_index=True).astype("str")
    lines = _join_numbered_values(_of_this_study(lines, study, folder), study)
    lines["control"] = each(lines["control"], control_of)
    # a line without a plate must not match an image whose plate is not known
    return lines.assign(image=_line_keys(lines, study), plate=lines["plate"].where(lines["plate"] != "", "-"))


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
        return each(paths, study.key)
    if study.by_well:
        return each(lines["image"], lambda text: well_name(text) or f"no well: {text}")
    return lines["image"].str.casefold()
