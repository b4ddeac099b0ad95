"""The four sources of Recursion; the first of them was also published on Kaggle, with other tables."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .each import each
from .folder import Folder
from .provenance import control_of
from .publisher_tables import Columns
from .record import RECURSION, Labels, Source
from .rows import escape_bars, join_labels

PATTERN = (  # rxrx1/images/HEPG2-08/Plate1/B03_s1_w1.png
    r"^(?:.*/)?(?P<experiment>[^/]+)/Plate(?P<plate>\d+)/(?P<well>[A-Z]+\d+)_s(?P<site>\d+)_w(?P<channel>\d)$"
)
SIX_STAINS = {"1": "nucleus", "2": "er", "3": "actin", "4": "nucleoli", "5": "mitochondria", "6": "golgi"}
# RxRx19a has five files but lists six names: mitochondria were not stained (unverified)
FIVE_STAINS = {"1": "nucleus", "2": "er", "3": "actin", "4": "nucleoli", "5": "golgi/cell membrane"}
PLACE = {"experiment": "experiment", "plate": "plate", "well": "well"}
WELL_TYPE = {"control": "well_type"}
UNTREATED = ("1138", "EMPTY", "UNTREATED")  # RxRx1's control without siRNA, in the tables of rxrx.ai and of Kaggle


def _labelled(columns: Columns) -> Labels:
    """Return the function that adds the labels of `metadata.csv`, which has one line per site."""

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        table = folder.table("metadata*.csv*", {**PLACE, "site": "site", **columns}, optional=WELL_TYPE, required=False)
        return _join(_cells(rows), table, [*PLACE, "site"], folder)

    return labels


def _rxrx1(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Label RxRx1 with siRNAs, from rxrx.ai's table or from Kaggle's four (one line per well, some without siRNA)."""
    if folder.find("metadata*.csv*"):
        rows = _labelled({"sirna": "sirna"})(rows, folder)
    else:
        parts = [
            folder.table(glob, PLACE, optional={"sirna": "sirna", **WELL_TYPE})
            for glob in ("train*.csv*", "test*.csv*")
            if folder.find(glob)
        ]
        table = pd.concat(parts, ignore_index=True) if parts else None
        if table is None:
            folder.counts.notes["no table metadata.csv, train.csv or test.csv"] += 1
        else:
            integers = table["sirna"].str.fullmatch(r"\d+")
            table = table.assign(sirna=table["sirna"].where(~integers, "sirna_" + table["sirna"]))
        rows = _join(_cells(rows), table, list(PLACE), folder)
    if "sirna" in rows:
        none = rows["sirna"].isin([*UNTREATED, "sirna_1138"])
        rows = rows.assign(sirna=rows["sirna"].where(~none, ""))
    return rows


def _rxrx19a(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Label RxRx19a. Vero cells are not human: they come from the green monkey."""
    rows = _labelled({"compound": "treatment", "phenotype": "disease_condition"})(rows, folder)
    return rows.assign(
        organism=rows["cell_type"].str.lower().map({"vero": "green monkey"}).fillna("human").astype("str")
    )


def _cells(rows: pd.DataFrame) -> pd.DataFrame:
    """Take the cell type from the name of the experiment (`HEPG2-08`), which images without a line have too."""
    return rows.assign(cell_type=rows["experiment"].str.replace(r"-\d+$", "", regex=True))


def _join(rows: pd.DataFrame, table: pd.DataFrame | None, on: list[str], folder: Folder) -> pd.DataFrame:
    if table is not None:
        labels = [name for name in table if name not in on]
        table = table.assign(well=table["well"].str.upper())
        for name in labels:
            table[name] = each(table[name], control_of) if name == "control" else escape_bars(table[name])
    return join_labels(rows.assign(well=rows["well"].str.upper()), table, on, folder, where=str(folder.root))


def _recursion(name: str, folder: str, **facts: Any) -> Source:
    """Return a record with the facts that all four share."""
    facts = {"stains": SIX_STAINS, "organism": "human", **facts}
    return Source(
        dir_name=f"rec_{name.lower()}",
        database=RECURSION,
        name=name,
        link=f"https://www.rxrx.ai/{name.lower()}",
        downloads=tuple(
            f"https://storage.googleapis.com/rxrx/{folder}/{folder}-{part}.zip" for part in ("images", "metadata")
        ),
        formats=("png",),
        microscopy="fluorescence",
        pattern=PATTERN,
        plate=("experiment", "plate"),
        **facts,
    )


RECORDS: tuple[Source, ...] = (
    _recursion(
        "RxRx1",
        "rxrx1",
        licence="CC BY-NC-SA 4.0",
        citation="Sypetkowski M et al. (2023). RxRx1: a dataset for evaluating experimental batch correction methods. "
        "CVPR Workshops, 4285.",
        tried="real metadata",
        images=125_510,
        labels=_rxrx1,
        tables={"control": "table"},
    ),
    _recursion(
        "RxRx2",
        "rxrx2",
        licence="CC BY 4.0",
        citation="Cuccarese MF et al. (2020). Functional immune mapping with deep-learning enabled phenomics applied "
        "to immunomodulatory and COVID-19 drug discovery. bioRxiv 2020.08.02.233064.",
        tried="simulated",
        images=131_953,
        cell_type="huvec",
        labels=_labelled({"compound": "treatment"}),
    ),
    _recursion(
        "RxRx19a",
        "RxRx19a",
        licence="CC BY 4.0",
        citation="Heiser K et al. (2020). Identification of potential treatments for COVID-19 through artificial "
        "intelligence-enabled phenomic analysis of human cells infected with SARS-CoV-2. bioRxiv 2020.04.21.054387.",
        tried="simulated",
        images=305_520,
        stains=FIVE_STAINS,
        labels=_rxrx19a,
    ),
    _recursion(
        "RxRx19b",
        "rxrx19b",
        licence="CC BY 4.0",
        citation="Cuccarese MF et al. (2020). Functional immune mapping with deep-learning enabled phenomics applied "
        "to immunomodulatory and COVID-19 drug discovery. bioRxiv 2020.08.02.233064.",
        tried="simulated",
        images=70_384,
        cell_type="huvec",
        labels=_labelled({"compound": "treatment", "phenotype": "disease_condition"}),
    ),
)
