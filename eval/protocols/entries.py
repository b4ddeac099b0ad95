"""Entries of results.json: a score with its interval, and the controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING as TYPE_CHECKING
from typing import Any

import numpy as np
import pandas as pd

from ..scores.accuracy import accuracy
from ..scores.intervals import LEVEL, grouped_bootstrap, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .settings import Settings


Scored = tuple[dict[str, Any], "pd.DataFrame | None"]
"""A partial entry (score, split, figures, settings of its own) and its predictions."""


def scored(
    score: str,
    ids: Sequence[str] | pd.Series | NDArray,
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    classes: Sequence[str],
    settings: Settings,
    used: Mapping[str, Any],
    *,
    split: str = "",
    groups: NDArray | None = None,
    grouped_by: str = "",
) -> Scored:
    """Make the entry of a list of predictions: accuracies, confusion, intervals.

    `used` are the settings that this score rests on beyond the common ones (metric, k, ...).
    """
    figures = accuracy(true, predicted, classes)
    low, high = wilson(figures["correct"], figures["n"])
    entry = {
        "score": score,
        "split": split,
        **figures,
        "interval": {"method": "Wilson", "level": LEVEL, "low": low, "high": high},
        "bootstrap": None,
        "settings": dict(used),
    }
    names = np.array([*classes, ""], dtype=object)
    table = pd.DataFrame({"id": list(ids), "label": names[true], "predicted": names[predicted], "group": ""})
    if groups is not None:
        entry["bootstrap"] = bootstrap(true == predicted, groups, grouped_by, settings)
        table["group"] = [str(group) for group in groups]
    return entry, table.astype("str")


def bootstrap(values: NDArray, groups: NDArray, grouped_by: str, settings: Settings) -> dict[str, Any]:
    """Return the interval over groups as an entry holds it."""
    low, high, n = grouped_bootstrap(values, groups, draws=settings.draws, seed=settings.seed)
    return {
        "groups": grouped_by,
        "n_groups": n,
        "draws": settings.draws,
        "seed": settings.seed,
        "level": LEVEL,
        "low": low,
        "high": high,
    }


def control(figures: dict[str, Any], used: Mapping[str, Any], of: str, *, split: str = "") -> Scored:
    """Make the entry of a shuffled control."""
    entry = {
        "score": "shuffled",
        "split": split,
        "of": of,
        "correct": None,
        "bootstrap": None,
        **figures,
        "settings": dict(used),
    }
    return entry, None


def codes(labels: Sequence[str] | pd.Series | NDArray) -> tuple[NDArray[np.int64], list[str]]:
    """Return class codes and the sorted class names."""
    classes, code = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    return code.astype(np.int64), [str(c) for c in classes]
