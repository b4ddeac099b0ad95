"""The files of COOS-7: single mouse cells, labelled with the place of a protein in the cell.

Lu et al. 2019, "The cells out of sample (COOS) dataset". A training set and four test sets: images of the same plates
(test1), of other plates (test2), of another day with another plate (test3) and of another microscope (test4).
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

import pandas as pd

from ...builder.errors import MetadataError
from . import hdf5
from .samples import Samples
from .shapes import common_shape
from .stored import StoredSamples, in_worker

SPLITS = ("train", "test1", "test2", "test3", "test4")
TESTS = SPLITS[1:]
CHANNELS = ("protein", "nucleus")  # data[i, 0], data[i, 1]
SIDE = 64  # pixels
CLASSES = (
    "ER",
    "inner mitochondrial membrane",
    "Golgi",
    "peroxisome",
    "early endosome",
    "cytosol",
    "nuclear envelope",
)
"""Names of the labels 0 to 6; any other label is named by its number."""

GROUPS = {"date": "dateIDs", "microscope": "microscopeIDs", "plate": "plateIDs", "well": "wellIDs"}
_NAME = re.compile(r"(train|test[1-4])(?:ing)?$", re.IGNORECASE)
HOW_TO_GET = (
    "From the Zenodo record of COOS-7 (Lu et al. 2019) take COOS7_v1.0_training.hdf5 and COOS7_v1.0_test1.hdf5 to "
    "_test4.hdf5 (4.3 GB together) and put them into one folder"
)


def read(root: str | PathLike[str]) -> Samples:
    """Find, check and list the cells.

    Parameters
    ----------
    root : path
        Folder of the five HDF5 files (their names end in `training` or `train`, and `test1` ... `test4`), or of the
        authors' tree `{train,test1..4}/<label>/<x>_{protein,nucleus}.tif`.

    Returns
    -------
    Samples
        One row per cell: id (`test1/000012`; `test1/<label>/<x>` in a tree), label, split, and from HDF5 also date,
        microscope, plate and well.

    Raises
    ------
    MetadataError
        If a set is missing, a file is cut off, or its data does not have the shape (N, 2, 64, 64) with N labels.
    UnreadableImageError
        If a TIFF is damaged or not 64 x 64.
    """
    root = Path(root)
    files: dict[str, Path] = {}
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in (".hdf5", ".h5")):
        match = _NAME.search(path.stem)
        if match and files.setdefault(match[1].lower(), path) != path:
            raise MetadataError(
                f"Two files are named {match[1]}; the other is {files[match[1].lower()].name}", where=path
            )
    trees = {split: root / split for split in SPLITS if (root / split).is_dir() and split not in files}
    absent = [split for split in SPLITS if split not in files and split not in trees]
    if absent:
        raise MetadataError(f"{', '.join(absent)} missing", where=root, next=HOW_TO_GET)
    if files and trees:
        raise MetadataError("Some sets are HDF5 files and some are folders; one of the two is expected", where=root)
    if files:
        tables = in_worker(_from_file, [(split, files[split]) for split in SPLITS], [str(files[s]) for s in SPLITS])
    else:
        tables = [_from_tree(split, trees[split]) for split in SPLITS]
    table = pd.concat(tables, ignore_index=True)
    if trees:
        locators = [locator for channel in CHANNELS for locator in table[channel]]
        shape = common_shape(locators, "Checking COOS-7")
        if shape != (SIDE, SIDE):
            raise MetadataError(f"The images are {shape[0]} x {shape[1]}, not {SIDE} x {SIDE}", where=root)
    return StoredSamples("coos7", root, table, CHANNELS, (SIDE, SIDE))


def _from_file(of: tuple[str, Path]) -> pd.DataFrame:
    split, path = of
    file = hdf5.open_file(path)
    data = hdf5.dataset(file, hdf5.DATA)
    if data.ndim != 4 or data.shape[1:] != (2, SIDE, SIDE):
        raise MetadataError(f"`data` has the shape {data.shape}, not (N, 2, {SIDE}, {SIDE})", where=path)
    rows = len(data)
    if not rows:
        raise MetadataError(f"{split} has no cells", where=path)
    labels = hdf5.column(file, "labels", rows)
    whole = labels.astype(int)
    if (whole != labels).any() or (whole < 0).any():
        raise MetadataError("`labels` are not whole numbers from 0", where=path)
    table = pd.DataFrame(
        {
            "id": [f"{split}/{row:06d}" for row in range(rows)],
            "label": [_class(int(label)) for label in whole],
            "split": split,
            "file": str(path),
            "row": range(rows),
        }
    )
    for name, key in GROUPS.items():
        table[name] = [f"{value:g}" for value in hdf5.column(file, key, rows)] if key in file else ""
    return table


def _from_tree(split: str, root: Path) -> pd.DataFrame:
    rows = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        found = {path.name for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff")}
        # the name of a cell may contain underscores: the channel follows the last one
        cells: dict[str, dict[str, str]] = {}
        for name in sorted(found):
            cell, _, channel = Path(name).stem.rpartition("_")
            cells.setdefault(cell, {})[channel] = str(folder / name)
        for cell, planes in cells.items():
            absent = [channel for channel in CHANNELS if channel not in planes]
            if absent:
                raise MetadataError(f"Cell {cell} has no {', '.join(absent)} image", where=folder)
            label = _class(int(folder.name)) if folder.name.isdigit() else folder.name
            row = {"id": f"{split}/{folder.name}/{cell}", "label": label, "split": split}
            rows.append(row | {channel: planes[channel] for channel in CHANNELS})
    if not rows:
        raise MetadataError(f"{split} has no cells", where=root, next=HOW_TO_GET)
    return pd.DataFrame(rows)


def _class(label: int) -> str:
    return CLASSES[label] if label < len(CLASSES) else f"label {label}"
