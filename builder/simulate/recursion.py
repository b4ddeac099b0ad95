"""Simulated layouts of Recursion's four sets, and of RxRx1 as published on Kaggle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..sources.recursion import FIVE_STAINS, SIX_STAINS, UNTREATED
from .source import Info, Layout, table

ROWS = "BCDEFGHIJKLMNO"  # the outermost wells of a 384-well plate stay empty
COLUMNS = range(2, 24)
WELLS_384 = tuple(f"{row}{column:02}" for row in ROWS for column in COLUMNS)
ROWS_1536 = (*"BCDEFGHIJKLMNOPQRSTUVWXYZ", "AA", "AB", "AC", "AD", "AE")
WELLS_1536 = tuple(f"{row}{column:02}" for column in range(2, 48) for row in ROWS_1536)
SIRNAS = ("EMPTY", "n337250", "s21721", "s501357", "s35651", "s3887", "s8645", "s18582", "s501323")
FACTORS = ("EMPTY", "Sonic-Hedgehog", "LPS_EK", "5ppp_dsRNA_LyoVec", "4-1BB", "GRO-b", "IL-1-alpha")
DRUGS = ("", "Remdesivir (GS-5734)", "Quinine", "4-Methyl-1,2-oxazole", "Arbidol", "17β-Estradiol", "Tazobactam")
VIRUS = ("Active SARS-CoV-2", "UV Inactivated SARS-CoV-2", "Mock")
STORM = ("storm-severe", "storm-mild", "healthy")
PLACE = ("experiment", "plate", "well", "site")
LONG = ("site_id", "well_id", "cell_type", "dataset", *PLACE, "well_type", "sirna", "sirna_id")
TREATED = ("site_id", "well_id", "cell_type", *PLACE, "treatment", "treatment_conc")
DISEASED = ("site_id", "well_id", "cell_type", *PLACE, "disease_condition", "treatment", "treatment_conc", "SMILES")


def _place(
    i: int, cells: Sequence[str], sites: int, wells: Sequence[str] = WELLS_1536, plates: int = 27
) -> tuple[Info, int]:
    """Return the place of field `i` and the number of its treatment; each cell type gets all treatments."""
    well, site = divmod(i, sites)
    turn, cell = divmod(well, len(cells))
    plate, position = divmod(turn, len(wells))
    number = plate // plates + 1
    experiment = f"{cells[cell]}-{number:02}" if wells is WELLS_384 else f"{cells[cell]}-{number}"
    place = {"experiment": experiment, "plate": plate % plates + 1, "well": wells[position], "site": site + 1}
    well_id = f"{experiment}_{place['plate']}_{place['well']}"
    return {**place, "cell_type": cells[cell], "well_id": well_id, "site_id": f"{well_id}_{site + 1}"}, turn


def _rxrx1(i: int, rng: np.random.Generator) -> Info:
    place, turn = _place(i, ("HUVEC", "RPE", "HEPG2", "U2OS"), sites=2, wells=WELLS_384, plates=4)
    number = turn % len(SIRNAS)
    # sirna_id counts the treatments from 0; the untreated wells have the last number
    kind = "negative_control" if SIRNAS[number] == "EMPTY" else "treatment"
    facts = {"sirna": SIRNAS[number], "sirna_id": int(UNTREATED[0]) if number == 0 else number, "well_type": kind}
    return {**place, **facts, "dataset": "test" if place["cell_type"] == "U2OS" else "train"}


def _rxrx2(i: int, rng: np.random.Generator) -> Info:
    place, turn = _place(i, ("HUVEC",), sites=4)
    factor = FACTORS[turn % len(FACTORS)]
    return {**place, "treatment": factor, "compound": factor, "treatment_conc": 0.1 * (1 + turn % 3)}


def _rxrx19a(i: int, rng: np.random.Generator) -> Info:
    place, turn = _place(i, ("HRCE", "VERO"), sites=4)
    drug, state = DRUGS[turn % len(DRUGS)], VIRUS[turn % len(VIRUS)]
    return {**place, "compound": drug, "phenotype": state, "treatment_conc": 0.3 if drug else ""}


def _rxrx19b(i: int, rng: np.random.Generator) -> Info:
    place, turn = _place(i, ("HUVEC",), sites=1)
    drug, state = DRUGS[turn % len(DRUGS)], STORM[turn % len(STORM)]
    return {**place, "compound": drug, "phenotype": state, "SMILES": "C[C@@H](O)N" if drug else ""}


def _table(path: str, columns: Sequence[str], **how: Any) -> Any:
    renamed = {"treatment": "compound", "disease_condition": "phenotype"}
    header = {name: renamed.get(name, name) for name in columns}
    return lambda fields: {path: table(fields, header, **how)}


def _kaggle_tables(fields: Sequence[Info]) -> Mapping[str, bytes]:
    """Return Kaggle's four tables: integer siRNAs, one line per well, and no siRNA for wells of the test set."""
    wells = list({field["well_id"]: field for field in fields}.values())
    places = {name: name for name in ("experiment", "plate", "well")}
    labelled = {"id_code": "well_id", **places, "sirna": "sirna_id"}
    tables = {}
    for half in ("train", "test"):
        controls = [well for well in wells if well["dataset"] == half and well["well_type"] != "treatment"]
        treated = [well for well in wells if well["dataset"] == half and well["well_type"] == "treatment"]
        header = labelled if half == "train" else {"id_code": "well_id", **places}
        tables[f"{half}.csv"] = table(treated, header)
        tables[f"{half}_controls.csv"] = table(controls, {**labelled, "well_type": "well_type"})
    return tables


def _images(folder: str, stains: Mapping[str, str]) -> dict[str, str]:
    place = "{experiment}/Plate{plate}/{well}_s{site}"
    return {stain.split("/")[0]: f"{folder}/{place}_w{channel}.png" for channel, stain in stains.items()}


KAGGLE_RXRX1 = Layout(
    source="rec_rxrx1",
    files=_images("{dataset}", SIX_STAINS),
    field=_rxrx1,
    tables=_kaggle_tables,
)

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        source="rec_rxrx1",
        files=_images("rxrx1/images", SIX_STAINS),
        field=_rxrx1,
        tables=_table("rxrx1/metadata.csv", LONG, end="\r\n"),
        shape=(160, 160),
    ),
    Layout(
        source="rec_rxrx2",
        files=_images("rxrx2/images", SIX_STAINS),
        field=_rxrx2,
        tables=_table("rxrx2/metadata.csv", TREATED, encoding="utf-8-sig"),
    ),
    Layout(
        source="rec_rxrx19a",
        files=_images("RxRx19a/images", FIVE_STAINS),
        field=_rxrx19a,
        tables=_table("RxRx19a/metadata.csv", DISEASED[:-1], encoding="utf-8-sig"),
    ),
    Layout(
        source="rec_rxrx19b",
        files=_images("rxrx19b/images", SIX_STAINS),
        field=_rxrx19b,
        tables=_table("rxrx19b/metadata.csv", DISEASED),
    ),
)
