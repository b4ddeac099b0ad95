"""Accuracy by class, and the class that each class is most often confused with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..loaders.index import Index
from .confusion import Confusion


def per_class(index: Index, confusion: Confusion, *, trained: Index, validation: Index | None) -> pd.DataFrame:
    """Return the table of classes.

    Parameters
    ----------
    index : Index
        Index with the names of the classes.
    confusion : Confusion
        Result of an evaluation.
    trained, validation : Index
        Images that are counted in the columns `train` and `validation`.

    Returns
    -------
    DataFrame
        One row per class, in the order of `index.class_names`: `label`, `category`; numbers of images in `train`,
        `validation`, `evaluated` and `right`; `accuracy`, `accuracy_any_label` (the answer may also be another right
        label of the image) and `top7` in [0, 1], NaN without evaluated images;
        `taken_for` (the most frequent wrong answer, empty if there is none) and `taken_for_share` (its share of the
        evaluated images).
    """
    pairs, k = confusion.pairs, len(index.class_names)
    evaluated = pairs.sum(1)
    right = np.diag(pairs)
    wrong = pairs - np.diag(right)
    most_frequent = wrong.argmax(1)
    times = wrong[np.arange(k), most_frequent]
    return pd.DataFrame(
        {
            "label": index.class_names,
            "category": index.categories,
            "train": np.bincount(trained.label, minlength=k),
            "validation": np.bincount(validation.label, minlength=k) if validation is not None else 0,
            "evaluated": evaluated,
            "right": right,
            "accuracy": _share(right, evaluated),
            "accuracy_any_label": _share(confusion.any_label, evaluated),
            "top7": _share(confusion.in_top_k, evaluated),
            "taken_for": [index.class_names[c] if n else "" for c, n in zip(most_frequent, times, strict=True)],
            "taken_for_share": _share(times, evaluated),
        }
    )


def summarise(classes: pd.DataFrame) -> dict[str, Any]:
    """Count the classes without a right answer, in total and by category.

    The preprint (3.2) reports 402 of 894 classes, 375 of them compounds.

    Parameters
    ----------
    classes : DataFrame
        As `per_class` returns it. Classes without evaluated images are not counted.

    Returns
    -------
    dict
        `classes`: number of classes; `nothing_right`: number of classes without a right answer; `categories`: category
        -> the same two numbers and `accuracy`, the mean over its classes.
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
