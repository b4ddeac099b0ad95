"""Accuracy by class and category, and the classes that are never right."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from ...builder.errors import UsageError


def never_right(run: str | PathLike[str]) -> pd.DataFrame:
    """Return the classes of a training run of which no validation image was classified right.

    Parameters
    ----------
    run : path
        A run folder (its `per_class.csv`), or such a table.

    Returns
    -------
    DataFrame
        The rows of the table with images evaluated and none right, by category and label.

    Raises
    ------
    UsageError
        If there is no such table.
    """
    table = read_per_class(run)
    missed = table[(table["evaluated"] > 0) & (table["right"] == 0)]
    return missed.sort_values(["category", "label"]).reset_index(drop=True)


def read_per_class(run: str | PathLike[str]) -> pd.DataFrame:
    """Read the table of classes of a training run."""
    path = Path(run)
    path = path / "per_class.csv" if path.is_dir() else path
    if not path.is_file():
        raise UsageError("There is no per_class.csv", where=run, next="Train a network first: cytoimagenet train DIR")
    table = pd.read_csv(path, keep_default_na=False, na_values={"accuracy": [""], "top7": [""]})
    absent = {"label", "category", "evaluated", "right"} - set(table.columns)
    if absent:
        raise UsageError(f"This is no table of classes: no column {', '.join(sorted(absent))}", where=path)
    return table


def by_category(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Count by category the classes and those of which nothing is right (published: 402 of 894, 375 compounds)."""
    seen = table[table["evaluated"] > 0]
    groups = seen.groupby("category", sort=True)
    return [
        {"category": str(name), "classes": len(part), "nothing_right": int((part["right"] == 0).sum())}
        for name, part in groups
    ]
