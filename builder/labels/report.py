"""Report of the labelling: classes, labels that did not become one and why, and the effect of other thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .. import storage
from ..ambiguous import AmbiguousClass, ambiguous_classes, shortened, warnings
from ..errors import UsageError

if TYPE_CHECKING:
    from .assign import Assignment

LARGEST_LABELS = 5  # named where no label has enough rows
THRESHOLDS = (10, 20, 50, 100, 150, 200, 250, 287, 350, 400, 500, 700, 1000, 2000, 5000)


def summarise(result: Assignment, selection: pa.Table, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Summarise an assignment.

    Parameters
    ----------
    result : Assignment
    selection : Arrow table of `schema.SELECTION`
        The rows with a class.
    settings : mapping
        The settings of the run, `min_images` among them.

    Returns
    -------
    dict
        `settings`; `rows`, `selected` and `not_selected`, numbers of rows of the catalogue; `classes` (label, category,
        rows that have the label, rows left by rarer labels, images, images per database), rarest first; `by_category`
        and `by_database` (classes, images); `skipped`, the labels that are not a class (label, category, rows, left,
        why), the most frequent first; `thresholds` (min_images, labels with at least that many rows, counted before
        labels take rows from one another); `ambiguous`, the cells with several values of which one is true (column,
        values, rows); `may_be_wrong`, the classes with images of such rows (the fields of `AmbiguousClass`).
    """
    min_images = int(settings["min_images"])
    counted = selection.group_by(["label", "database"]).aggregate([([], "count_all")]).to_pylist()
    databases: dict[str, dict[str, int]] = {}
    for line in sorted(counted, key=lambda line: line["database"]):
        databases.setdefault(line["label"], {})[line["database"]] = line["count_all"]
    classes: list[dict[str, Any]] = [
        {
            "label": label.name,
            "category": label.column,
            "rows": label.rows,
            "left": label.left,
            "images": label.images,
            "databases": databases[label.name],
        }
        for label in result.labels
        if label.images
    ]
    skipped = [
        {
            "label": label.name,
            "category": label.column,
            "rows": label.rows,
            "left": label.left if label.rows >= min_images else label.rows,
            "why": label.outcome(min_images),
        }
        for label in result.labels
        if not label.images
    ]
    sizes = np.array([label.rows for label in result.labels])
    return {
        "settings": dict(settings),
        "rows": len(result.chosen),
        "selected": selection.num_rows,
        "not_selected": len(result.chosen) - selection.num_rows,
        "classes": classes,
        "by_category": _totals((c["category"], c["images"]) for c in classes),
        "by_database": _totals((name, n) for c in classes for name, n in c["databases"].items()),
        "skipped": sorted(skipped, key=lambda line: (-line["rows"], line["label"], line["category"])),
        "thresholds": [{"min_images": t, "labels": int((sizes >= t).sum())} for t in sorted({*THRESHOLDS, min_images})],
        "ambiguous": [{"column": one.column, "values": one.text, "rows": one.rows} for one in result.ambiguous],
        "may_be_wrong": [{**one._asdict(), "texts": list(one.texts)} for one in ambiguous_classes(selection)],
    }


def remarks(report: Mapping[str, Any]) -> list[str]:
    """Return sentences about values that were not used as labels, or that were and may be wrong.

    Parameters
    ----------
    report : mapping
        From `summarise`.

    Examples
    --------
    >>> several = {"column": "organism", "values": "human|mouse|fly", "rows": 3754}
    >>> remarks({"settings": {"labels": "unambiguous"}, "ambiguous": [several], "may_be_wrong": []})
    ['Not used as labels: the organism human|mouse|fly of 3,754 rows. Their source does not say which one is true.']
    """
    if report["settings"]["labels"] == "published":
        lines = warnings(AmbiguousClass(**one) for one in report["may_be_wrong"])
        return [*lines, "With --labels unambiguous these values give no class."] if lines else []
    columns: dict[str, list[dict[str, Any]]] = {}
    for one in report["ambiguous"]:
        columns.setdefault(one["column"], []).append(one)
    return [
        f"Not used as labels: the {column.replace('_', ' ')} {shortened([one['values'] for one in several])} of "
        f"{_rows(sum(one['rows'] for one in several))}. Their source does not say which one is true."
        for column, several in columns.items()
    ]


def _rows(count: int) -> str:
    return f"{count:,} row{'s' * (count != 1)}"


def nothing_selected(report: Mapping[str, Any], where: str) -> UsageError:
    """Return the error for a report without classes: the largest labels, and a threshold that gives a class.

    Parameters
    ----------
    report : mapping
        As `summarise` returns it.
    where : str
        What was read, for the error.

    Examples
    --------
    >>> labels = [{"label": "u2os", "category": "cell_type", "rows": 61}]
    >>> print(nothing_selected({"settings": {"min_images": 287}, "rows": 96, "skipped": labels}, "RAW"))
    No label has 287 images, so there is no class [RAW]
    Try --min-images 61. The largest labels: u2os (cell_type) 61
    """
    largest = report["skipped"][:LARGEST_LABELS]
    if not report["rows"]:
        return UsageError("There are no images to label", where=where, next="`cytoimagenet catalog` lists what is read")
    if not largest:
        return UsageError(
            f"None of the {report['rows']:,} images has a label",
            where=where,
            next="See `cytoimagenet catalog --explain`",
        )
    # labels with at least this number of rows exist, and the rarest of them keeps all of its rows
    enough = largest[min(2, len(largest) - 1)]["rows"]
    shown = ", ".join(f"{line['label']} ({line['category']}) {line['rows']:,}" for line in largest)
    return UsageError(
        f"No label has {report['settings']['min_images']:,} images, so there is no class",
        where=where,
        next=f"Try --min-images {enough}. The largest labels: {shown}",
    )


def plot(sizes: Sequence[int], min_images: int, path: str | PathLike[str]) -> None:
    """Plot the number of labels that each threshold would keep: the curve by which 287 was chosen.

    Parameters
    ----------
    sizes : sequence of int
        Rows of each label.
    min_images : int
        The threshold to mark.
    path : str or path
        PNG to write.
    """
    from matplotlib.figure import Figure  # pyplot would change the caller's backend

    ordered = np.sort(np.asarray(sizes))
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.step(ordered, len(ordered) - np.arange(len(ordered)), where="pre", color="#2a6f97")
    kept = int((ordered >= min_images).sum())
    axes.axvline(min_images, color="#c1121f", linestyle="--", linewidth=1)
    axes.annotate(
        f"{min_images:,} rows: {kept:,} labels",
        (min_images, kept),
        xytext=(8, 8),
        textcoords="offset points",
        color="#c1121f",
    )
    axes.set(
        xscale="log", yscale="log", xlabel="threshold: rows per label", ylabel="labels with at least that many rows"
    )
    axes.grid(alpha=0.3, which="both")
    with storage.atomic_writer(path) as file:
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})


def _totals(pairs: Any) -> dict[str, dict[str, int]]:
    """Count classes and sum images for each name."""
    classes: Counter[str] = Counter()
    images: Counter[str] = Counter()
    for name, n in pairs:
        classes[name] += 1
        images[name] += n
    return {name: {"classes": classes[name], "images": images[name]} for name, _ in images.most_common()}
