"""Comparisons of two models on the same samples, computed from their predictions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .score import CHOICES

if TYPE_CHECKING:
    import pandas as pd

RANDOM = re.compile(r"random(:\d+)?$").match
CONTROL = "mean-intensity"  # a model that any other must beat
MAX_MODELS = 40  # per task, score and settings; every two are compared: 780 pairs


def compare(out: Path, entries: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare every two models that were scored in the same test with the same settings.

    Their samples are joined by id.

    Returns
    -------
    paired, not_compared : list of dict
        The comparisons; and the pairs of models that can't be compared, with the reason.
    """
    import pandas as pd

    comparable: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if (out / "predictions" / f"{entry['key']}.parquet").is_file() and not entry["beside"]:
            chosen = {name: entry["settings"][name] for name in CHOICES if name in entry["settings"]}
            what = [entry[name] for name in ("task", "split", "score", "preprocess")]
            comparable.setdefault(json.dumps([what, chosen], sort_keys=True), []).append(entry)
    comparisons: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for group in comparable.values():
        group.sort(key=lambda entry: entry["model"])
        test = {name: group[0][name] for name in ("task", "split", "score", "preprocess")}
        if len(group) > MAX_MODELS:
            left_out = [entry["model"] for entry in group[MAX_MODELS:]]
            reason = f"only {MAX_MODELS} models of a test are compared, the first in alphabetical order"
            refused.append({**test, "models": left_out, "reason": reason})
        tables = {e["key"]: pd.read_parquet(out / "predictions" / f"{e['key']}.parquet") for e in group[:MAX_MODELS]}
        for first, second in combinations(group[:MAX_MODELS], 2):
            of = {**test, "models": [first["model"], second["model"]], "keys": [first["key"], second["key"]]}
            figures = _compare(tables[first["key"]], tables[second["key"]])
            if isinstance(figures, str):
                refused.append({**of, "reason": figures})
            else:
                comparisons.append({**of, **figures})
    _correct(comparisons)
    return comparisons, refused


def _compare(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any] | str:
    """Compare the predictions of two models for the samples that both have, or return why that is not possible."""
    from ..scores.intervals import LEVEL, paired_interval
    from ..scores.paired import grouped_permutation, mcnemar

    if first["id"].duplicated().any() or second["id"].duplicated().any():
        return "an id is repeated"
    both = first.merge(second, on="id", suffixes=("", "_second"))
    if both.empty:
        return "no sample was scored by both"
    other = both[both["label"] != both["label_second"]]
    if len(other):
        one = other.iloc[0]
        labels = f"{one['label']!r} and {one['label_second']!r}"
        return f"{len(other):,} samples have different labels, such as {one['id']!r}: {labels}"
    right, right_second = (
        ((both["label"] == both[name]) & (both[name] != "")).to_numpy() for name in ("predicted", "predicted_second")
    )
    groups = both["group"].to_numpy() if both["group"].any() else None
    interval = paired_interval(right, right_second, groups)
    return {
        "n": len(both),
        "left_out": len(first) + len(second) - 2 * len(both),
        "difference": float(right.mean() - right_second.mean()),
        "interval": None if interval is None else {"level": LEVEL, "low": interval[0], "high": interval[1]},
        "n_groups": None if groups is None else int(both["group"].nunique()),
        "mcnemar": mcnemar(right, right_second),
        "grouped_p": None if groups is None else grouped_permutation(right, right_second, groups),
    }


def _correct(comparisons: Sequence[dict[str, Any]]) -> None:
    """Add `p_holm`: the p-value (by groups where they are known), corrected for all comparisons of the same score.

    Comparisons of two random networks, and with the control, answer no question and are not counted; theirs is None.
    """
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in comparisons:
        one["p_holm"] = None
        if CONTROL not in one["models"] and not all(RANDOM(model) for model in one["models"]):
            families.setdefault((one["score"], one["preprocess"]), []).append(one)
    for family in families.values():
        p_values = [one["mcnemar"]["p"] if one["grouped_p"] is None else one["grouped_p"] for one in family]
        for one, p in zip(family, corrected(p_values), strict=True):
            one["p_holm"] = p


def corrected(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's method.

    Examples
    --------
    >>> corrected([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    from ..scores.paired import holm

    return holm(p_values)
