"""Numbers of images and classes of a dataset by origin."""

from __future__ import annotations

from os import PathLike

import pandas as pd

from ...builder.dataset.manifest import Manifest


def composition(data_dir: str | PathLike[str]) -> dict[str, pd.DataFrame]:
    """Count the images and classes of a dataset by category, database and source.

    Returns
    -------
    dict of str to DataFrame
        For each of `category`, `database` and `name` (the source): one row per value, with the numbers of images and
        classes, most images first.
    """
    rows = Manifest.load(data_dir).metadata(["label", "category", "database", "name"])
    tables = {}
    for column in ("category", "database", "name"):
        counted = rows.groupby(column).agg(images=("label", "size"), classes=("label", "nunique")).reset_index()
        tables[column] = counted.sort_values(["images", column], ascending=[False, True]).reset_index(drop=True)
    return tables
