"""The files of CYCLoPs WT2: single yeast cells, labelled by Chong et al. 2015 with the place of a protein in the cell.

The files are those of DeepLoc (Kraus et al. 2017). 17 localisations are scored; SPINDLE and SPINDLEPOLE count as one
class (16 classes); DEAD and GHOST are not localisations and are dropped.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from ...builder.errors import MetadataError, UsageError
from . import hdf5
from .samples import Samples
from .shapes import common_shape
from .stored import StoredSamples, in_worker

SIDE = 64  # pixels
FOLDERS = (
    "ACTIN", "BUDNECK", "BUDTIP", "CELLPERIPHERY", "CYTOPLASM", "DEAD", "ENDOSOME", "ER", "GHOST", "GOLGI",
    "MITOCHONDRIA", "NUCLEARPERIPHERY", "NUCLEI", "NUCLEOLUS", "PEROXISOME", "SPINDLE", "SPINDLEPOLE",
    "VACUOLARMEMBRANE", "VACUOLE",
)  # fmt: skip
"""Names of the folders of labelled TIFFs; any other folder is named after a protein, and its cells have no label."""

DROPPED = ("DEAD", "GHOST")
MERGED = {"SPINDLEPOLE": "SPINDLE"}
ORDER = ("test", "valid", "train")  # the order in which the published TIFF tree numbers the cells of the three files
TREE_CHANNELS = ("gfp", "rfp")
HOW_TO_GET = (
    "Take DeepLoc_full_datasets.zip of Kraus et al. 2017 (datasets/Chong_train_set.hdf5, Chong_valid_set.hdf5, "
    "Chong_test_set.hdf5), or the TIFFs of Kaggle's stanleyhua/cyclops-protein-loc, and unpack them into one folder"
)
_CHANNEL = re.compile(r"(\w+) channel", re.IGNORECASE)


def read(root: str | PathLike[str], *, labels: Literal["clean", "published"] = "clean") -> Samples:
    """Find, check and list the cells.

    Parameters
    ----------
    root : path
        Folder with, anywhere below it, DeepLoc's HDF5 files (`Chong_*` where there are any, else all), or a tree
        `<LABEL>/<LABEL>_<index>_{gfp,rfp}.tif`.
    labels : "clean" or "published"
        The published code removed DEAD and GHOST from its list of labels but not from its list of folders. From DEAD
        on, each folder therefore got the name of the next class; DEAD and GHOST were loaded and the last two folders
        were not. "published" does the same, with the folders in alphabetical order (the published order is not known).

    Returns
    -------
    Samples
        One row per cell: id (`GOLGI_1042`: the index runs over test, valid and train), label (SPINDLEPOLE merged), and
        folder (the label before merging). Unlabelled cells have the label "".

    Raises
    ------
    MetadataError
        If there are no files, or a file is cut off or contains images of another shape.
    UsageError
        If `labels` is "published" and DEAD or GHOST is missing.
    """
    root = Path(root)
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in (".hdf5", ".h5"))
    files = [path for path in files if path.name.lower().startswith("chong")] or files
    if files:
        table, channels = _from_files(sorted(files, key=_order))
    else:
        table, channels = _from_tree(root)
    left_out = {}
    if (table["folder"] != "").any():
        unlabelled = int((table["folder"] == "").sum())
        if unlabelled:
            left_out["cells without a label"] = unlabelled
        table = table[table["folder"] != ""]
        names = _published(table["folder"], root) if labels == "published" else _clean(table["folder"])
        for name in sorted(set(table["folder"]) - set(names)):
            left_out[f"cells of {name}"] = int((table["folder"] == name).sum())
        table = table[table["folder"].isin(list(names))].copy()
        table["folder"] = table["folder"].map(names)
    table["label"] = table["folder"].replace(MERGED)
    table["split"] = ""
    if table["id"].duplicated().any():
        raise MetadataError(f"Two cells have the id {table.loc[table['id'].duplicated(), 'id'].iloc[0]}", where=root)
    # one order for all layouts: neighbours at equal distance are taken in the order of the rows
    number = pd.to_numeric(table["id"].str.rpartition("_")[2], errors="coerce").fillna(0)
    table = table.assign(number=number).sort_values(["number", "id"], ignore_index=True).drop(columns="number")
    columns = ["id", "label", "split", "folder"]
    table = table[columns + [name for name in table.columns if name not in columns]]
    return StoredSamples("cyclops", root, table, channels, (SIDE, SIDE), left_out)


def _clean(folders: pd.Series) -> dict[str, str]:
    return {name: name for name in sorted(set(folders)) if name not in DROPPED}


def _published(folders: pd.Series, root: Path) -> dict[str, str]:
    """Map each folder to its published name: folders with DEAD and GHOST, paired with labels without them."""
    found = sorted(set(folders))
    absent = [name for name in DROPPED if name not in found]
    if absent:
        raise UsageError(
            f"--cyclops-labels published needs the folders {' and '.join(DROPPED)}; {' and '.join(absent)} is missing",
            where=root,
            next="Use the DeepLoc files, which have all 19 labels, or --cyclops-labels clean",
        )
    names = [name for name in found if name not in DROPPED]
    return dict(zip(found, names, strict=False))


def _order(path: Path) -> tuple[int, str]:
    name = path.stem.lower()
    return next((number for number, part in enumerate(ORDER) if part in name), len(ORDER)), str(path)


class _Contents(NamedTuple):
    """What a file contains: its classes and channels, and the label of each row of each data set."""

    names: list[str]
    channels: tuple[str, str]
    labels: dict[str, list[str]]


def _contents(path: Path) -> _Contents:
    file = hdf5.open_file(path)
    suffixes = sorted((m[1] for key in file if (m := re.fullmatch(r"data(\d*)", key))), key=lambda s: int(s or 0))
    if not suffixes:
        raise MetadataError("There is no data set `data1`", where=path, next=HOW_TO_GET)
    names = _names(file, path)
    labels = {f"data{suffix}": _labels(file, suffix, names, path) for suffix in suffixes}
    return _Contents(names, _channels(file), labels)


def _from_files(files: list[Path]) -> tuple[pd.DataFrame, tuple[str, str]]:
    tables, index = [], 0
    found = in_worker(_contents, files, [str(path) for path in files])
    for path, contents in zip(files, found, strict=True):
        if contents[:2] != found[0][:2]:
            raise MetadataError(f"Its classes or channels differ from those of {files[0].name}", where=path)
        for key, folder in contents.labels.items():
            rows = len(folder)
            tables.append(
                pd.DataFrame(
                    {
                        "id": [f"{name}_{index + row}" for row, name in enumerate(folder)],
                        "folder": folder,
                        "file": str(path),
                        "key": key,
                        "row": range(rows),
                    }
                )
            )
            index += rows
    return pd.concat(tables, ignore_index=True), found[0].channels


def _labels(file: Any, suffix: str, names: list[str], path: Path) -> list[str]:
    """Return the label of each row of a numbered data set, "" for a row without a label."""
    data, codes = hdf5.dataset(file, f"data{suffix}"), hdf5.dataset(file, f"Index{suffix}")
    if data.ndim != 2 or data.shape[1] != 2 * SIDE * SIDE:
        raise MetadataError(f"`data{suffix}` has the shape {data.shape}, not (N, {2 * SIDE * SIDE})", where=path)
    if codes.shape != (len(data), len(names)):
        raise MetadataError(
            f"`Index{suffix}` has the shape {codes.shape}, not {(len(data), len(names))}: one row per cell and one "
            "column per class of `Index1_columns` are expected",
            where=path,
        )
    one_hot = hdf5.read(file, f"Index{suffix}", slice(None)) != 0
    several = one_hot.sum(axis=1) > 1
    if several.any():
        raise MetadataError(f"Row {int(several.argmax())} of `Index{suffix}` has more than one label", where=path)
    named = np.array([*names, ""], dtype=object)
    labels: list[str] = named[np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), len(names))].tolist()
    return labels


def _names(file: Any, path: Path) -> list[str]:
    for key in ("Index1_columns", "Index_columns"):
        if key in file.attrs:
            return [name.decode() if isinstance(name, bytes) else str(name) for name in file.attrs[key]]
    raise MetadataError("The file does not name its classes (attribute `Index1_columns`)", where=path)


def _channels(file: Any) -> tuple[str, str]:
    columns = file.attrs.get("data1_columns", file.attrs.get("data_columns", ""))
    found = _CHANNEL.findall(columns.decode() if isinstance(columns, bytes) else str(columns))
    return (found[0], found[1]) if len(found) == 2 else ("GFP", "RFP")


def _from_tree(root: Path) -> tuple[pd.DataFrame, tuple[str, str]]:
    planes: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in (".tif", ".tiff")):
        # a cell may be named `AAC1_1_rfp_10`: the channel follows the last underscore
        cell, _, channel = path.stem.rpartition("_")
        planes.setdefault((path.parent.name, cell), {})[channel.lower()] = str(path)
    if not planes:
        raise MetadataError("There are no HDF5 files and no TIFFs", where=root, next=HOW_TO_GET)
    others = sorted({channel for found in planes.values() for channel in found} - {TREE_CHANNELS[0]})
    if len(others) != 1:
        raise MetadataError(
            f"One channel in addition to gfp is expected, found {', '.join(others) or 'none'}",
            where=root,
            next=HOW_TO_GET,
        )
    channels = (TREE_CHANNELS[0], others[0])
    rows = []
    for (folder, cell), found in planes.items():
        absent = [channel for channel in channels if channel not in found]
        if absent:
            raise MetadataError(f"Cell {cell} has no {absent[0]} image", where=root / folder)
        rows.append({"id": cell, "folder": folder if folder in FOLDERS else ""} | found)
    table = pd.DataFrame(rows)
    shape = common_shape([path for channel in channels for path in table[channel]], "Checking CYCLoPs")
    if shape != (SIDE, SIDE):
        raise MetadataError(f"The images are {shape[0]} x {shape[1]}, not {SIDE} x {SIDE}", where=root)
    return table, channels
