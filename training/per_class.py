"""What a network gets right, class by class: accuracy, and what the rest is taken for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..loaders.index import Index
from .trainer import Confusion


def per_class(index: Index, counted: Confusion, *, trained: Index, held_out: Index | None) -> pd.DataFrame:
    """Make the table of classes.

    Parameters
    ----------
    index : Index
        Names the classes.
    counted : Confusion
        From an evaluation.
    trained, held_out : Index
        Whose images are counted as `train` and `validation`.

    Returns
    -------
    DataFrame
        A row a class, in index order: `label`, `category`, `train`, `validation` (images), `evaluated`, `right`,
        `accuracy`, `top7`, `taken_for` (the commonest wrong answer) and `taken_for_share`.
    """
    pairs, k = counted.pairs, len(index.class_names)
    evaluated = pairs.sum(1)
    right = np.diag(pairs)
    wrong = pairs - np.diag(right)
    commonest = wrong.argmax(1)
    often = wrong[np.arange(k), commonest]
    return pd.DataFrame(
        {
            "label": index.class_names,
            "category": index.categories,
            "train": np.bincount(trained.label, minlength=k),
            "validation": np.bincount(held_out.label, minlength=k) if held_out is not None else 0,
            "evaluated": evaluated,
            "right": right,
            "accuracy": _share(right, evaluated),
            "top7": _share(counted.among, evaluated),
            "taken_for": [index.class_names[c] if n else "" for c, n in zip(commonest, often, strict=True)],
            "taken_for_share": _share(often, evaluated),
        }
    )


def summarise(classes: pd.DataFrame) -> dict[str, Any]:
    """Say how many classes the network gets nothing right of, over all and by category.

    The preprint (3.2) counts 402 of 894, 375 of them compounds.

    Returns
    -------
    dict
        `classes`, `nothing_right`, and `categories`: name -> the same two and the mean accuracy of its classes.
    """
    seen, missed = classes[classes["evaluated"] > 0], never_right(classes)
    categories = {
        str(name): {
            "classes": len(part),
            "nothing_right": int((missed["category"] == name).sum()),
            "accuracy": float(part["accuracy"].mean()),
        }
        for name, part in seen.groupby("category", sort=True)
    }
    return {"classes": len(seen), "nothing_right": len(missed), "categories": categories}


def never_right(classes: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of classes with evaluated images of which none was predicted correctly."""
    return classes[(classes["evaluated"] > 0) & (classes["right"] == 0)]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
