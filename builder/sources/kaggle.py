"""The four sources of Kaggle."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .bbbc_labels import phase
from .folder import Folder
from .record import BRIGHTFIELD, KAGGLE, Labels, Source
from .rows import join_labels

SINGLE_CELL = (
    # class numbers of the single-cell competition -> label; 18 is "negative"
    *("nucleoplasm", "nuclear membrane", "nucleoli", "nucleoli", "nuclear speckles", "nuclear bodies", "er", "golgi"),
    *("intermediate filaments", "actin", "microtubules", "mitotic spindle", "centrosome", "cell membrane"),
    *("mitochondria", "aggresome", "cell body", "vesicles", ""),
)
WHOLE_IMAGE = (
    # class numbers of the first competition -> label, in the words of the second where both have one
    *("nucleoplasm", "nuclear membrane", "nucleoli", "nucleoli", "nuclear speckles", "nuclear bodies", "er", "golgi"),
    *("peroxisomes", "endosomes", "lysosomes", "intermediate filaments", "actin", "focal adhesion sites"),
    *("microtubules", "microtubule ends", "cytokinetic bridge", "mitotic spindle", "microtubule organizing center"),
    *("centrosome", "lipid droplets", "cell membrane", "cell junctions", "mitochondria", "aggresome", "cell body"),
    *("cytoplasmic bodies", "rods & rings"),
)
COMMON = ("nucleus", "er", "golgi", "nucleoli", "mitochondria", "actin")
"""Parts that many images of other sources show: removed from an image's labels in this order while others remain."""

STAINS = {"blue": "nucleus", "red": "microtubules", "yellow": "er", "green": "protein"}


def places(codes: str, names: tuple[str, ...]) -> str:
    """Return the labels of class numbers, joined by `|`, without repeats and without the common ones.

    Examples
    --------
    >>> places("7 1 2 0", WHOLE_IMAGE)
    'nuclear membrane|nucleoplasm'
    >>> places("6 7", WHOLE_IMAGE)
    'golgi'
    """
    labels = [label for label in dict.fromkeys(names[int(code)] for code in codes.split()) if label]
    for common in COMMON:
        if len(labels) > 1 and common in labels:
            labels.remove(common)
    return "|".join(labels)


def _protein(identifier: str, codes: str, names: tuple[str, ...]) -> Labels:
    """Return the function that labels the green channel with the places of its protein, the others with their stain."""
    code = "|".join(str(i) for i in range(len(names)))

    def label(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        green = rows["channel"] == "green"
        visible = rows["stains"].where(~green, "")
        table = folder.table(
            "*train.csv",
            {"image": identifier, "codes": codes},
            must={"codes": rf"(({code})([ |]+({code}))*)?"},
            required=False,
        )
        if table is None:
            folder.counts.unlabelled += int(green.sum())
        else:
            found = {text: places(text.replace("|", " "), names) for text in table["codes"].unique()}
            table = table.assign(found=table["codes"].map(found).astype("str"))[["image", "found"]]
            visible = visible.where(~green, join_labels(rows[green], table, ["image"], folder)["found"])
        return rows.assign(cell_visible=visible)

    return label


def leukemia(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Label a cell by the end of its file name, or, if it has a number, by the table of the validation set.

    Both also name the patient. The images of the final test set are numbered from 1 again and have no labels: their
    numbers do not refer to the table.
    """
    end = rows["image"].str.lower().str.extract(r"_(all|hem)$")[0]
    rows = rows.assign(phenotype=end.map({"all": "leukemia", "hem": "wildtype"}).fillna("").astype("str"))
    numbered = (rows["phenotype"] == "") & ~rows["file"].str.contains("test_final_phase", regex=False)
    folder.counts.unlabelled += int((rows["phenotype"] == "").sum() - numbered.sum())
    table = folder.table(
        "*labels*.csv",
        {"image": "new_names", "label": "labels"},
        optional={"name": "Patient_ID"},
        must={"label": "[01]"},
        required=False,
    )
    if table is None:
        folder.counts.unlabelled += int(numbered.sum())
        return rows
    table = pd.DataFrame(
        {
            "image": table["image"].str.replace(r"\.[A-Za-z]+$", "", regex=True),
            "found": table["label"].map({"1": "leukemia", "0": "wildtype"}).astype("str"),
            "of": table["name"].str.extract(r"(?i)^UID_([^/_]+)_")[0].fillna("").astype("str"),
        }
    )
    found = join_labels(rows[numbered], table, ["image"], folder)
    return rows.assign(
        phenotype=rows["phenotype"].where(~numbered, found["found"]),
        group=rows["group"].where(~numbered, found["of"]),
    )


def _kaggle(dir_name: str, name: str, page: str, command: str, **facts: Any) -> Source:
    """Return a record with the facts that all sets of Kaggle share."""
    return Source(
        dir_name=dir_name,
        database=KAGGLE,
        name=name,
        link=f"https://www.kaggle.com/{page}",
        **{
            "licence": "see the set's page",
            "citation": f"Kaggle, {name}, https://www.kaggle.com/{page}",
            "downloads": (f"kaggle {command}",),
            **facts,
        },
    )


def _atlas(dir_name: str, name: str, page: str, images: int, labels: Labels) -> Source:
    """Return the record of a Human Protein Atlas set: one row per stain, as published; labels are for the green one."""
    return _kaggle(
        dir_name,
        name,
        f"c/{page}/data",
        f"competitions download -c {page}",
        tried="real metadata",
        images=images,
        formats=("png",),
        organism="human",
        cell_type="u2os",
        microscopy="confocal",
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)_(?P<channel>blue|red|yellow|green)$",
        stains=STAINS,
        apart=tuple(STAINS),
        labels=labels,
    )


RECORDS: tuple[Source, ...] = (
    _atlas(
        "kag_hpa",
        "Human Protein Atlas Image Classification",
        "human-protein-atlas-image-classification",
        124_288,
        _protein("Id", "Target", WHOLE_IMAGE),
    ),
    _atlas(
        "kag_hpa_single",
        "Human Protein Atlas - Single Cell Classification",
        "hpa-single-cell-image-classification",
        87_224,
        _protein("ID", "Label", SINGLE_CELL),
    ),
    _kaggle(
        "kag_leukemia",
        "Leukemia Classification",
        "andrewmvd/leukemia-classification",
        "datasets download -d andrewmvd/leukemia-classification",
        tried="simulated",
        images=15_114,
        formats=("bmp",),
        organism="human",
        cell_type="white blood cell",
        microscopy=BRIGHTFIELD,
        pattern=r"^(?P<folder>.*/)?(?P<image>UID_(?P<patient>[^/_]+)_[^/]+_(?:all|hem)|\d+)$",
        group=("patient",),
        stains={"": BRIGHTFIELD},
        labels=leukemia,
    ),
    _kaggle(
        "kag_cell_cycle",
        "Cell Cycle Experiments",
        "paultimothymooney/cell-cycle-experiments",
        "datasets download -d paultimothymooney/cell-cycle-experiments",
        tried="real metadata",
        images=90,
        formats=("jpg",),
        organism="nematode",
        cell_visible="nucleus",
        microscopy="light",
        pattern=r"^(?P<folder>.*/)?(?P<phase>interphase|mitosis)/(?P<image>[^/]+)$",
        stains={"": ""},
        labels=phase,
    ),
)
