"""The labels of the Broad Bioimage Benchmark Collection: what a file's name or table says of its image."""

from __future__ import annotations

import pandas as pd

from .folder import Folder
from .rows import data, join
from .wells import well

KIDNEY = {
    # folder of BBBC051 -> cell type; sorted by surface markers, several markers to a type
    "CD_CNT": "collecting duct",
    "DCT": "distal convoluted tubule",
    "Nestin": "podocyte",
    "TAL": "thick ascending limb",
    "CD31int": "endothelial",
    "CD31glom": "endothelial",
    "S1S2": "proximal tubule segments",
    "S2S3": "proximal tubule segments",
    "CD45.0": "white blood cell",
    "CD45.1": "white blood cell",
    "CD45.2": "white blood cell",
}

MONTAGE = "#xywh=0,0,825,715"
"""The part of a BBBC045 montage that holds cells, as the published code crops it: rows 0-715, columns 0-825."""


def dead_or_alive(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC010: plate columns 1-12 live; 13-24 got no antibiotic after the pathogen and are dead."""
    alive = rows["column"].astype(int) <= 12
    return rows.assign(phenotype=alive.map({True: "wildtype", False: "dead"}).astype("str"))


def fat_or_not(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC011: `WT` in a name is wild type, `fat` a worm whose insulin receptor is inhibited."""
    kind = rows["image"].str.lower().str.extract(r"(?:^|[^a-z])(wt|fat)(?:[^a-z]|$)")[0]
    folder.counts.unlabelled += int(kind.isna().sum())
    return rows.assign(phenotype=kind.map({"wt": "wildtype", "fat": "fat"}).fillna("").astype("str"))


def genes_of_ht29(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC017: the well's gene and its classes, `NONE` meaning none; plates are compared as numbers."""
    table = folder.table(
        "BBBC017_v1_metadata.xls",
        {"plate": "384-Plate#", "well": "384-well", "gene": "gene name", "phenotype": "class"},
    )
    rows = rows.assign(plate=rows["plate"].str.lstrip("0"), well=well(rows["well"]))
    if table is not None:
        table = table.assign(
            plate=table["plate"].str.lstrip("0"),
            well=well(table["well"]),
            gene=data(table["gene"]),
            phenotype=data(table["phenotype"]).str.replace(";", "|", regex=False),
        )
    return join(rows, table, ["plate", "well"], folder)


def compounds_of_u2os(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC022: the well's compound, from the set's own table or from the same screen's in the Image Data Resource.

    The table is known with ragged lines and cut off at 21 MiB; a compound is a well's, so that one good line of a
    well is enough.
    """
    table = folder.table(
        "BBBC022_v1_image.csv",
        {
            "plate": "Image_Metadata_PlateID",
            "well": "Image_Metadata_CPD_WELL_POSITION",
            "compound": "Image_Metadata_SOURCE_COMPOUND_NAME",
        },
        separator=",",
        tolerant=True,
    )
    if table is None:
        table = folder.table(
            "idr0036-screenA-library.txt*",
            {"plate": "Plate", "well": "Well", "compound": "Compound Name"},
            separator="\t",
        )
    if table is not None:
        table = table.assign(well=well(table["well"]), compound=data(table["compound"]))
    return join(rows.assign(well=well(rows["well"])), table, ["plate", "well"], folder)


def montage(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC045: each montage without the empty margin."""
    return rows.assign(channels=rows["channels"] + MONTAGE)


def phase(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC048, Kaggle's cell cycle: the phase is the folder's name."""
    return rows.assign(phenotype=rows["phase"])


def part_of_kidney(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC051: the cell type by the folder's name."""
    known = {name.lower(): kind for name, kind in KIDNEY.items()}
    return rows.assign(cell_type=rows["marker"].str.lower().map(known).astype("str"))
