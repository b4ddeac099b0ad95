"""The classes that a training run never predicts correctly."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from ...builder.errors import UsageError
from ...training.per_class import never_right, summarise

COLUMNS = ("label", "category", "evaluated", "right", "accuracy")


def read_per_class(run: str | PathLike[str]) -> pd.DataFrame:
    """Read the table of classes of a training run.

    Parameters
    ----------
    run : path
        A run folder, which contains `per_class.csv`, or such a table.

    Raises
    ------
    UsageError
        If there is no such table, or it lacks a column.
    """
    path = Path(run)
    path = path / "per_class.csv" if path.is_dir() else path
    if not path.is_file():
        raise UsageError("There is no per_class.csv", where=run, next="Train a network first: cytoimagenet train DIR")
    table = pd.read_csv(path, keep_default_na=False, na_values={"accuracy": [""], "top7": [""]})
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise UsageError(f"This is not a table of classes: it has no column {', '.join(missing)}", where=path)
    return table


def missed_classes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of classes with evaluated images of which none is correct, by category and label."""
    return never_right(table).sort_values(["category", "label"]).reset_index(drop=True)


def by_category(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Count, by category, all classes and those without a correct image (published: 402 of 894, 375 compounds)."""
    return [
        {"category": name, "classes": counts["classes"], "nothing_right": counts["nothing_right"]}
        for name, counts in summarise(table)["categories"].items()
    ]
