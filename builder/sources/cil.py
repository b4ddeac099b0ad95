"""The source of the Cell Image Library."""

from __future__ import annotations

import pandas as pd

from .folder import Folder
from .record import CIL, Source
from .rows import escape_bars, join_labels


def kinases(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Label an image with the group of its kinase. The table lists archives, each with one image."""
    table = folder.table("*kinome_mapping.csv", {"image": "file_name", "group": "kinase"}, required=False)
    if table is not None:
        image = table["image"].str.replace(r"\.[A-Za-z]+$", "", regex=True)
        table = pd.DataFrame({"image": image, "cell_visible": escape_bars(table["group"]) + " kinase"})
    return join_labels(rows, table, ["image"], folder)


RECORDS: tuple[Source, ...] = (
    Source(
        dir_name="cil_kinome",
        database=CIL,
        name="Kinome Atlas",
        link="http://cellimagelibrary.org/pages/kinome_atlas",
        licence="see the library's page",
        citation="Cell Image Library, Kinome Atlas, http://cellimagelibrary.org/pages/kinome_atlas",
        downloads=("http://cellimagelibrary.org/pages/kinome_atlas",),
        tried="real metadata",
        images=908,
        formats=("tif",),
        organism="human",
        cell_type="hela",
        cell_visible="",
        microscopy="confocal",
        pattern=r"^(?P<folder>.*/)?(?P<image>\d+)$",
        stains={"": "nucleus/protein"},
        labels=kinases,
    ),
)
