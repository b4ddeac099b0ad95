"""Simulated layouts of the sources of Kaggle and of the Cell Image Library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..sources.kaggle import SINGLE_CELL, STAINS, WHOLE_IMAGE, places
from .source import Info, Layout, table

KINASES = ("AGC", "Atypical", "CAMK", "CK1", "CMGC", "TK")


def _protein(i: int, rng: np.random.Generator) -> Info:
    codes = rng.permutation(len(WHOLE_IMAGE))[: i % 3 + 1].tolist()
    text = " ".join(map(str, codes))
    return {"image": _id(rng), "codes": text, "protein": places(text, WHOLE_IMAGE)}


def _protein_single(i: int, rng: np.random.Generator) -> Info:
    codes = [i % len(SINGLE_CELL), *rng.permutation(len(SINGLE_CELL))[: i % 2].tolist()]
    return {
        "image": _id(rng),
        "codes": "|".join(map(str, codes)),
        "protein": places(" ".join(map(str, codes)), SINGLE_CELL),
    }


def _id(rng: np.random.Generator) -> str:
    text = rng.bytes(8).hex()
    return f"{text[:8]}-bb{text[8:10]}-11e8-b2b9-ac1f6b6435d0"


def _leukemia(i: int, rng: np.random.Generator) -> Info:
    """Return, in turn, a cell with its label in the name, a numbered one with a label, and one without a label."""
    turn, kind = divmod(i, 3)
    if kind == 0:
        sick, fold = turn % 2 == 0, turn % 3
        donor, end = (f"{turn + 1}", "all") if sick else (f"H{turn + 1}", "hem")
        path = f"C-NMC_Leukemia/training_data/fold_{fold}/{end}/UID_{donor}_{turn + 1}_1_{end}.bmp"
        return {"path": path, "phenotype": "leukemia" if sick else "wildtype"}
    folder = ("validation_data/C-NMC_test_prelim_phase_data", "testing_data/C-NMC_test_final_phase_data")[kind - 1]
    label = ("leukemia", "wildtype")[turn % 2] if kind == 1 else ""
    return {"path": f"C-NMC_Leukemia/{folder}/{turn + 1}.bmp", "phenotype": label, "number": turn + 1, "kind": kind}


def _leukemia_table(fields: Sequence[Info]) -> Mapping[str, bytes]:
    rows = [
        {
            "patient": f"UID_57_{info['number']}_1",
            "name": f"{info['number']}.bmp",
            "label": int(info["phenotype"] == "leukemia"),
        }
        for info in fields
        if info.get("kind") == 1
    ]
    path = "C-NMC_Leukemia/validation_data/C-NMC_test_prelim_phase_data_labels.csv"
    return {path: table(rows, {"Patient_ID": "patient", "new_names": "name", "labels": "label"})}


def _worm(i: int, rng: np.random.Generator) -> Info:
    return {"phenotype": ("interphase", "mitosis")[i % 2], "number": 1667 + i // 8, "part": i // 2 % 4 + 1}


def _kinase(i: int, rng: np.random.Generator) -> Info:
    group = KINASES[i % len(KINASES)]
    return {"image": 53464 + i, "archive": f"{53464 + i}.zip", "group": group, "cell_visible": f"{group} kinase"}


ATLAS = {stain: f"train/{{image}}_{colour}.png" for colour, stain in STAINS.items()}

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        source="kag_hpa",
        files=ATLAS,
        field=_protein,
        tables=lambda fields: {"train.csv": table(fields, {"Id": "image", "Target": "codes"}, end="\r\n")},
    ),
    Layout(
        source="kag_hpa_single",
        files=ATLAS,
        field=_protein_single,
        tables=lambda fields: {"train.csv": table(fields, {"ID": "image", "Label": "codes"}, encoding="utf-8-sig")},
    ),
    Layout(
        source="kag_leukemia", files={"brightfield": "{path}"}, field=_leukemia, tables=_leukemia_table, depth="rgb"
    ),
    Layout(
        source="kag_cell_cycle",
        files={"nucleus": "nematode cells/nematode cells/{phenotype}/IMG_{number}-{part}.jpg"},
        field=_worm,
        depth="rgb",
    ),
    Layout(
        source="cil_kinome",
        files={"protein": "{image}.tif"},
        field=_kinase,
        tables=lambda fields: {
            "cil_kinome_mapping.csv": table(fields, {"file_name": "archive", "kinase": "group"}, end="\r")
        },
        depth="rgb",
    ),
)
