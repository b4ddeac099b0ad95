"""The 18 sources of the Broad Bioimage Benchmark Collection."""

from __future__ import annotations

from typing import Any

import pandas as pd

from .folder import Folder
from .record import BRIGHTFIELD, BROAD, Source

CITATION = (
    "Ljosa V, Sokolnicki KL, Carpenter AE (2012). Annotated high-throughput microscopy image sets for validation. "
    "Nature Methods 9:637."
)
ADDRESS = "https://data.broadinstitute.org/bbbc"


def _bbbc(number: int, name: str, *, downloads: tuple[str, ...], **facts: Any) -> Source:
    """Fill in what all sets of the collection share."""
    facts = {"licence": "see the set's page", "citation": CITATION, "microscopy": "fluorescence", **facts}
    return Source(
        dir_name=f"bbbc{number:03}",
        database=BROAD,
        name=name,
        link=f"https://bbbc.broadinstitute.org/BBBC{number:03}",
        downloads=tuple(f"{ADDRESS}/BBBC{number:03}/{file}" for file in downloads),
        **facts,
    )


def _dead_or_alive(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Plate columns 1-12 were given an antibiotic after the pathogen and live, 13-24 were not and are dead."""
    alive = rows["column"].astype(int) <= 12
    return rows.assign(phenotype=alive.map({True: "wildtype", False: "dead"}))


def _fat(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Wild type, or an insulin receptor that is inhibited: fat."""
    return rows.assign(phenotype=rows["kind"].str.lower().map({"wt": "wildtype", "fat": "fat"}))


RECORDS: tuple[Source, ...] = (
    _bbbc(
        10,
        "C. elegans live/dead assay",
        downloads=("BBBC010_v2_images.zip",),
        tried="real images",
        images=195,
        formats=("tif",),
        organism="nematode",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<row>[A-P])(?P<column>\d\d)_w(?P<channel>[12])_[^/]*$",
        stains={"1": "intestine", "2": BRIGHTFIELD},
        apart=("2",),
        labels=_dead_or_alive,
    ),
    _bbbc(
        11,
        "C. elegans metabolism assay",
        downloads=("BBBC011_v1_images.zip",),
        tried="real images",
        images=50,
        formats=("png",),
        organism="nematode",
        pattern=r"^(?P<folder>.*/)?(?P<kind>wt|fat)(?P<rest>[^/a-z][^/]*)?$",
        stains={"": BRIGHTFIELD},
        microscopy=BRIGHTFIELD,
        labels=_fat,
    ),
    _bbbc(
        12,
        "C. elegans infection marker",
        downloads=("BBBC012_v1_images.zip",),
        tried="real images",
        images=240,
        formats=("tif",),
        organism="nematode",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<well>[A-P]\d\d)_w(?P<channel>[123])_[^/]*$",
        stains={"1": BRIGHTFIELD, "2": "intestine", "3": "pharynx"},
        apart=("1",),
    ),
    _bbbc(
        13,
        "Human U2OS cells cytoplasm–nucleus translocation",
        downloads=("BBBC013_v1_images_bmp.zip",),
        tried="real images",
        images=96,
        formats=("bmp",),
        organism="human",
        cell_type="u2os",
        cell_visible="nucleus",
        pattern=r"^(?P<folder>.*/)?Channel(?P<channel>[12])-(?P<number>\d\d)-(?P<well>[A-H]-\d\d)$",
        stains={"1": "fkhr-gfp", "2": "nucleus"},
    ),
    _bbbc(
        14,
        "Human U2OS cells cytoplasm–nucleus translocation (2)",
        downloads=("BBBC014_v1_images.zip",),
        tried="real images",
        images=96,
        formats=("bmp",),
        organism="human",
        cell_type="mcf7|a549",
        cell_visible="nucleus",
        pattern=r"^(?P<folder>.*/)?Channel (?P<channel>[12])-(?P<number>\d\d)-(?P<well>[A-H]-\d\d)-\d\d$",
        stains={"1": "nucleus", "2": "nfkb"},
    ),
    _bbbc(
        38,
        "Kaggle 2018 Data Science Bowl",
        downloads=("stage1_train.zip", "stage1_test.zip", "stage2_test_final.zip"),
        tried="real images",
        images=3754,
        formats=("png",),
        organism="human|mouse|fly",
        cell_visible="nucleus",
        microscopy="brightfield/fluorescence",
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)/images/[^/]+$",
        stains={"": "nucleus"},
    ),
)
