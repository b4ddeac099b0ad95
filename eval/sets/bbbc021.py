"""The files of BBBC021: MCF7 cells treated with 113 compounds.

Ljosa et al. 2012, Nature Methods 9:637; Caie et al. 2010. 103 treatments (a compound at a concentration) of 38
compounds have one of 12 mechanisms of action; every plate has DMSO wells as negative controls.
"""

from __future__ import annotations

import os
import re
from os import PathLike
from pathlib import Path, PurePosixPath

import pandas as pd

from ...builder.errors import MetadataError
from .samples import Samples
from .shapes import common_shape
from .stored import StoredSamples
from .tiff import INSIDE, zip_members

CHANNELS = ("DAPI", "Tubulin", "Actin")
DIGIT = {"DAPI": "1", "Tubulin": "2", "Actin": "4"}  # there is no w3
CONTROL = "DMSO"
# the prefix varies (`Week1_150607_`, none, `Week7_7__`, `Week8_4sites_`); a UUID follows the digit directly
NAME = re.compile(r"(?:^|_)([A-H]\d\d)_s(\d)_w([124])")
ZIP_PREFIX = "BBBC021_v1_images_"
COLUMNS = (
    "Image_Metadata_Plate_DAPI",
    "Image_Metadata_Well_DAPI",
    "Image_Metadata_Compound",
    "Image_Metadata_Concentration",
    *(f"Image_FileName_{channel}" for channel in CHANNELS),
)
HOW_TO_GET = (
    "From https://data.broadinstitute.org/bbbc/BBBC021/ take BBBC021_v1_image.csv, BBBC021_v1_moa.csv and the 55 plate "
    "zips BBBC021_v1_images_Week*_*.zip (about 750 MB each, 41 GB) and put them, zipped or unpacked, into one folder"
)


def read(root: str | PathLike[str], *, images: bool = True) -> Samples:
    """Find, check and list the labelled images and the DMSO controls.

    Parameters
    ----------
    root : path
        Folder with `BBBC021_v1_image.csv` and `BBBC021_v1_moa.csv` (plain or .gz) and, anywhere below it, the plates:
        folders `<plate>/`, `BBBC021_v1_images_<plate>/<plate>/`, or the zips themselves.
    images : bool
        With False only the two tables are read, which is enough to score a table of features.

    Returns
    -------
    Samples
        One row per field of view: id (`Week1_22123_B02_s1`), label (mechanism, or "DMSO"), split "", compound,
        concentration (µM), plate, well, site, week; with `images`, the locator of each channel.

    Raises
    ------
    MetadataError
        If a table or an image is missing, or the tables are not those of BBBC021.
    UnreadableImageError
        If an image is cut off or differs in shape from the others.
    """
    root = Path(root)
    listed = _csv(root, "BBBC021_v1_image.csv", COLUMNS)
    mechanisms = _csv(root, "BBBC021_v1_moa.csv", ("compound", "concentration", "moa"))
    table = pd.DataFrame(
        {
            "compound": listed["Image_Metadata_Compound"],
            "concentration": _numbers(listed["Image_Metadata_Concentration"], root / "BBBC021_v1_image.csv"),
            "plate": listed["Image_Metadata_Plate_DAPI"],
            "well": listed["Image_Metadata_Well_DAPI"],
            **{channel: listed[f"Image_FileName_{channel}"] for channel in CHANNELS},
        }
    )
    table["site"] = _sites(table, root)
    table["week"] = table["plate"].str.partition("_")[0]
    table["id"] = table["plate"] + "_" + table["well"] + "_s" + table["site"]
    known = {
        treatment(compound, concentration): moa
        for compound, concentration, moa in zip(
            mechanisms["compound"],
            _numbers(mechanisms["concentration"], root / "BBBC021_v1_moa.csv"),
            mechanisms["moa"],
            strict=True,
        )
    }
    treatments = treatments_of(table)
    table["label"] = [CONTROL if t.startswith(f"{CONTROL} ") else known.get(t, "") for t in treatments]
    table["split"] = ""
    if table["id"].duplicated().any():
        first = table.loc[table["id"].duplicated(), "id"].iloc[0]
        raise MetadataError(f"Field {first} is listed twice", where=root / "BBBC021_v1_image.csv")
    left_out = {"images without a mechanism of action": int((table["label"] == "").sum())}
    table = table[table["label"] != ""].sort_values("id", ignore_index=True)
    if table.empty:
        raise MetadataError("No image has a mechanism of action", where=root, next=HOW_TO_GET)
    columns = ["id", "label", "split", "compound", "concentration", "plate", "well", "site", "week"]
    if not images:
        return StoredSamples("bbbc021", root, table[columns], CHANNELS, (0, 0), left_out)
    shape = _locate(table, root)
    return StoredSamples("bbbc021", root, table[[*columns, *CHANNELS]], CHANNELS, shape, left_out)


def treatment(compound: str, concentration: float) -> str:
    """Name a treatment; `1` and `1.000000` are the same concentration.

    Examples
    --------
    >>> treatment("taxol", 0.3), treatment("AZ-C", 1.000000)
    ('taxol 0.3', 'AZ-C 1')
    """
    return f"{compound} {concentration:.6g}"


def treatments_of(table: pd.DataFrame) -> list[str]:
    """Return the name of the treatment of each row of a table with the columns compound and concentration."""
    return [treatment(*pair) for pair in zip(table["compound"], table["concentration"], strict=True)]


def _csv(root: Path, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            break
    else:
        raise MetadataError(f"{name} (or {name}.gz) is missing", where=root, next=HOW_TO_GET)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError, EOFError) as error:
        raise MetadataError(f"Not a readable CSV file: {error}", where=path, next=HOW_TO_GET) from error
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise MetadataError(f"Missing columns: {', '.join(absent)}", where=path, next=HOW_TO_GET)
    return table


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce")
    if numbers.isna().any():
        row = int(numbers.isna().to_numpy().argmax())
        raise MetadataError(f"Row {row + 2}: {column.iloc[row]!r} is not a concentration", where=path)
    return numbers.astype(float)


def _sites(table: pd.DataFrame, root: Path) -> list[str]:
    """Read the site of each field from its file names, and check that they agree with its well and channels."""
    sites = []
    for row, names in enumerate(zip(*(table[channel] for channel in CHANNELS), strict=True)):
        found = [NAME.search(name) for name in names]
        sites.append(found[0][2] if found[0] else "")
        for channel, name, parts in zip(CHANNELS, names, found, strict=True):
            if parts is None or parts.groups() != (table["well"].iloc[row], sites[-1], DIGIT[channel]):
                raise MetadataError(
                    f"Row {row + 2}: {name!r} is not the {channel} image (w{DIGIT[channel]}) of a site of well "
                    f"{table['well'].iloc[row]}",
                    where=root / "BBBC021_v1_image.csv",
                )
    return sites


def _locate(table: pd.DataFrame, root: Path) -> tuple[int, int]:
    """Replace the file names in the table by checked locators; return the shape that all images have."""
    locator_of = _files(root)
    missing: list[str] = []
    for channel in CHANNELS:
        locators = []
        for plate, name in zip(table["plate"], table[channel], strict=True):
            locator = locator_of.get((plate, name)) or locator_of.get((f"{ZIP_PREFIX}{plate}", name), "")
            locators.append(locator)
            if not locator:
                missing.append(f"{plate}/{name}")
        table[channel] = locators
    if missing:
        plates = sorted({name.partition("/")[0] for name in missing})
        raise MetadataError(
            f"{len(missing):,} of {3 * len(table):,} images are missing, the first is {missing[0]} "
            f"({len(plates)} plates: {', '.join(plates[:5])}{', ...' if len(plates) > 5 else ''})",
            where=root,
            next=HOW_TO_GET,
        )
    every = [locator for channel in CHANNELS for locator in table[channel]]
    loose = [locator for locator in every if INSIDE not in locator]
    # the directory of a zip states the size of its members: checking one image of each zip is enough
    zipped = list({locator.partition(INSIDE)[0]: locator for locator in every if INSIDE in locator}.values())
    return common_shape(loose + zipped, "Checking BBBC021")


def _files(root: Path) -> dict[tuple[str, str], str]:
    """Map (folder, file name) to the locator of every TIFF below the root, including those inside zips."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if name.lower().endswith((".tif", ".tiff")):
                found[os.path.basename(folder), name] = path
            elif name.lower().endswith(".zip"):
                for member in zip_members(path):
                    inner = PurePosixPath(member.filename)
                    if member.file_size and inner.suffix.lower() in (".tif", ".tiff"):
                        found.setdefault((inner.parent.name or Path(name).stem, inner.name), f"{path}{INSIDE}{inner}")
    return found
