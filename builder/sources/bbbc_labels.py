"""The labels of the Broad Bioimage Benchmark Collection, from file names and the sets' tables."""

from __future__ import annotations

import pandas as pd

from .each import each
from .folder import Folder
from .provenance import control_of
from .rows import escape_bars, join_labels
from .wells import well_names

KIDNEY = {
    # folder of BBBC051 -> cell type; cells were sorted by surface markers, and a type may have several
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
"""The part of a BBBC045 montage with cells, as the published code crops it: pixel rows 0 to 715, columns 0 to 825."""


def dead_or_alive(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC010: worms of plate columns 1 to 12 are alive; those of 13 to 24 got no antibiotic and are dead.

    They are the positive and negative controls of the assay, which looks for antibiotics (unverified).
    """
    alive = rows["column"].astype(int) <= 12
    return rows.assign(
        phenotype=alive.map({True: "wildtype", False: "dead"}).astype("str"),
        control=alive.map({True: "positive", False: "negative"}).astype("str"),
    )


def fat_or_not(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC011: `WT` in a file name is wild type, `fat` a worm whose insulin receptor is inhibited."""
    kind = rows["image"].str.lower().str.extract(r"(?:^|[^a-z])(wt|fat)(?:[^a-z]|$)")[0]
    folder.counts.unlabelled += int(kind.isna().sum())
    return rows.assign(phenotype=kind.map({"wt": "wildtype", "fat": "fat"}).fillna("").astype("str"))


def genes_of_ht29(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC017: the gene of the well, and its classes as phenotype; plates are compared as numbers."""
    table = folder.table(
        "BBBC017_v1_metadata.xls",
        {"plate": "384-Plate#", "well": "384-well", "gene": "gene name", "phenotype": "class"},
        required=False,
    )
    rows = rows.assign(number=rows["plate"].str[-3:].str.lstrip("0"), well=well_names(rows["well"]))
    if table is not None:
        table = table.rename(columns={"plate": "number"}).assign(
            number=table["plate"].str.lstrip("0"),
            well=well_names(table["well"]),
            gene=escape_bars(table["gene"]),
            phenotype=escape_bars(table["phenotype"]).str.replace(";", "|", regex=False),
        )
    return join_labels(rows, table, ["number", "well"], folder).drop(columns="number")


def compounds_of_u2os(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC022: the compound of the well, from the set's table or that of the same screen in the Image Data Resource.

    The set's table is cut off at 21 MiB and has ragged lines. All lines of a well have the same compound, so one good
    line is enough.
    """
    table = folder.table(
        "BBBC022_v1_image.csv",
        {
            "plate": "Image_Metadata_PlateID",
            "well": "Image_Metadata_CPD_WELL_POSITION",
            "compound": "Image_Metadata_SOURCE_COMPOUND_NAME",
        },
        optional={"control": "Image_Metadata_ASSAY_WELL_ROLE"},  # unverified
        separator=",",
        tolerant=True,
        required=False,
    )
    if table is None:
        table = folder.table(
            "idr0036-screenA-library.txt*",
            {"plate": "Plate", "well": "Well", "compound": "Compound Name"},
            optional={"control": "Control Type"},
            separator="\t",
            required=False,
        )
    if table is not None:
        table = table.assign(
            well=well_names(table["well"]),
            compound=escape_bars(table["compound"]),
            control=each(table["control"], control_of),
        )
    return join_labels(rows.assign(well=well_names(rows["well"])), table, ["plate", "well"], folder)


def montage(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC045: each montage without the empty margin."""
    return rows.assign(channels=rows["channels"] + MONTAGE)


def phase(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC048 and Kaggle's cell cycle set: the phase is the name of the folder."""
    return rows.assign(phenotype=rows["phase"])


def part_of_kidney(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """BBBC051: the cell type follows from the name of the folder."""
    known = {name.lower(): kind for name, kind in KIDNEY.items()}
    return rows.assign(cell_type=rows["marker"].str.lower().map(known).astype("str"))
