"""Entries of results.json: a score with its intervals, and the control with shuffled labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...builder.errors import UsageError
from ..scores.accuracy import accuracy
from ..scores.intervals import LEVEL, MIN_GROUPS, RESAMPLES, grouped_bootstrap, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .settings import EvaluationSettings


Scored = tuple[dict[str, Any], "pd.DataFrame | None"]
"""A part of an entry (score, split, figures, its own settings), and its predictions where it has any."""


def scored(
    score: str,
    ids: Sequence[str] | pd.Series | NDArray[Any],
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    classes: Sequence[str],
    settings: EvaluationSettings,
    used: Mapping[str, Any],
    *,
    split: str = "",
    groups: NDArray[Any] | None = None,
    grouped_by: str = "",
) -> Scored:
    """Return the entry of a list of predictions: accuracies, confusion, intervals.

    Parameters
    ----------
    score : str
        Short name, see `results.score.NAMES`.
    ids : sequence of str, length n
    true, predicted : int array, shape (n,)
        Codes into `classes`; a prediction may be `UNCLASSIFIED`.
    classes : sequence of str
    settings : EvaluationSettings
    used : mapping
        Settings of this score in addition to the common ones (metric, k, ...).
    split : str
        Test set of COOS-7.
    groups : array, shape (n,), optional
        Compound or well of each sample: the bootstrap resamples these.
    grouped_by : str
        Name of the groups, in the plural.
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
    names = np.array([*classes, ""], dtype=object)  # the last is the name of UNCLASSIFIED, -1
    table = pd.DataFrame({"id": list(ids), "label": names[true], "predicted": names[predicted], "group": ""})
    if groups is not None:
        entry["bootstrap"] = without_few_groups(bootstrap(true == predicted, groups, grouped_by, settings))
        table["group"] = [str(group) for group in groups]
    return entry, table.astype("str")


def bootstrap(
    values: NDArray[Any], groups: NDArray[Any], grouped_by: str, settings: EvaluationSettings
) -> dict[str, Any]:
    """Return the field `bootstrap` of an entry: the interval of the mean of `values` from resampling groups."""
    low, high, n = grouped_bootstrap(values, groups, draws=RESAMPLES, seed=settings.seed)
    return {
        "groups": grouped_by,
        "n_groups": n,
        "draws": RESAMPLES,
        "seed": settings.seed,
        "level": LEVEL,
        "low": low,
        "high": high,
    }


def without_few_groups(spread: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field `bootstrap` without its interval if there are fewer than `MIN_GROUPS` groups.

    Of one group it would be an interval of width zero.
    """
    known = spread["n_groups"] >= MIN_GROUPS
    return {**spread, **({} if known else {"low": None, "high": None})}


def control(figures: dict[str, Any], used: Mapping[str, Any], of: str, *, split: str = "") -> Scored:
    """Return the entry of a control with shuffled labels; `of` is the score it controls."""
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


def refuse_one_class(classes: Sequence[str], source: str) -> None:
    """Raise a `UsageError` if there is one class only: any features would be right."""
    if len(classes) < 2:
        raise UsageError(f"All samples have the label {classes[0]}: there is nothing to tell apart", where=source)


def codes(labels: Sequence[str] | pd.Series | NDArray[Any]) -> tuple[NDArray[np.int64], list[str]]:
    """Return the code of each label and the sorted names of the classes.

    Examples
    --------
    >>> codes(["b", "a", "b"])
    (array([1, 0, 1]), ['a', 'b'])
    """
    classes, code = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    return code.astype(np.int64), [str(c) for c in classes]
