"""Check that every image in is either kept or rejected with a reason, per source and per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .. import schema
from ..errors import CheckFailedError
from . import naming
from .decide import CODE, KEPT, STAGE, Decided
from .earlier import count_rejected


def account(decided: Decided, earlier: str | None = None) -> dict[str, Any]:
    """Count rows and images by source and by class.

    Parameters
    ----------
    decided : Decided
    earlier : str, optional
        Table of rows that `label` left out. They count as rejected rows of their source.

    Returns
    -------
    dict
        `counts` (of all), `by_source` and `by_class`, each as `_tally` describes; `classes`, those that have images:
        label, category, slug, and numbers of all, train and validation images.

    Raises
    ------
    CheckFailedError
        If no image of a source image was tried: it was lost.
    """
    tried = decided.tried
    outcome = row_reasons(tried.row, tried.number, decided.reason, len(tried.selection))
    sources = tried.selection["dir_name"].combine_chunks().dictionary_encode()
    sources = sources.combine_chunks() if isinstance(sources, pa.ChunkedArray) else sources
    source_of_row = sources.indices.to_numpy().astype(np.int64)
    by_source = _tally(
        sources.dictionary.to_pylist(),
        source_of_row,
        outcome,
        source_of_row[tried.row],
        decided.reason,
        count_rejected(earlier),
    )
    by_class = _tally(tried.classes, tried.class_of_row, outcome, tried.class_of_image, decided.reason)
    return {
        "counts": _total(by_source),
        "by_source": by_source,
        "by_class": by_class,
        "classes": [entry for entry in count_classes(decided) if entry["images"]],
    }


def count_classes(decided: Decided) -> list[dict[str, Any]]:
    """Return label, category, slug and numbers of images of every class of the selection, in the order of labels."""
    tried = decided.tried
    label = tried.class_of_image[decided.kept]
    first = np.searchsorted(tried.class_of_row, np.arange(len(tried.classes)))  # the selection is sorted by label
    category = tried.selection["category"].take(pa.array(first)).to_pylist()
    images = np.bincount(label, minlength=len(first))
    validation = np.bincount(label, weights=decided.validation, minlength=len(first)).astype(int)
    slugs = naming.slugs((category[c], tried.classes[c]) for c in np.flatnonzero(images))
    return [
        {"label": name, "category": kind, "slug": slugs.get(name, ""), "images": int(n), "train": int(n - v),
         "validation": int(v)}
        for name, kind, n, v in zip(tried.classes, category, images, validation, strict=True)
    ]  # fmt: skip


def row_reasons(
    row: NDArray[np.int64], number: NDArray[np.integer], reason: NDArray[np.int8], rows: int
) -> NDArray[np.int8]:
    """Give every source image one outcome.

    Parameters
    ----------
    row, number, reason : arrays, shape (images,)
        Source image, index within it, and outcome of every image that was tried.
    rows : int
        Number of source images.

    Returns
    -------
    int8 array, shape (rows,)
        `KEPT` if at least one image of the row is kept, else the reason of the latest stage.

    Raises
    ------
    CheckFailedError
        If no image of a source image was tried: it was lost.
    """
    lost = int((np.bincount(row, minlength=rows) == 0).sum())
    if lost:
        raise CheckFailedError(f"{lost} source images were lost", next="This is a defect of the program: report it.")
    order = np.lexsort((number, STAGE[reason], reason == KEPT, row))
    last = np.append(row[order][1:] != row[order][:-1], True)
    return reason[order[last]]


def check(
    groups: Mapping[str, Any], kept_rows: Mapping[str, int], kept: Mapping[str, int], rejected: Mapping[str, int]
) -> None:
    """Compare counts with the tables that were written.

    Parameters
    ----------
    groups : mapping
        `by_source` or `by_class` of `account`.
    kept_rows, kept, rejected : mapping of str to int
        Per group, counted in the written tables: source images with a kept image, kept images, rejected images.

    Raises
    ------
    CheckFailedError
        If, in a group, rows in are not rows kept + rejected, or images tried not images kept + rejected.
    """
    for group, counts in groups.items():
        rows, images = counts["rows"], counts["images"]
        sums = (
            ("rows", rows["in"], kept_rows.get(group, 0) + sum(rows["rejected"].values())),
            ("images", images["tried"], kept.get(group, 0) + rejected.get(group, 0)),
        )
        for what, came, went in sums:
            if came != went:
                raise CheckFailedError(
                    f"{came:,} {what} went in, {went:,} are accounted for",
                    where=group,
                    next="This is a defect of the program: report it with curated.json.",
                )


def counted(column: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    """Count the values of a column."""
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def describe(report: Mapping[str, Any], max_classes: int) -> list[str]:
    """Write both sums as lines of text: of every source, of every class, and of all.

    Parameters
    ----------
    report : mapping
        The content of `curated.json`.
    max_classes : int
        If there are more classes, only their number is given.
    """
    sums = [_sum(f"source {name}", group) for name, group in report["by_source"].items()]
    if len(report["by_class"]) > max_classes:
        sums.append(f"{len(report['by_class']):,} classes; curated.json contains both sums of each")
    else:
        sums += [_sum(f"class {name}", group) for name, group in report["by_class"].items()]
    return [*sums, _sum("all", report["counts"])]


def _sum(name: str, group: Mapping[str, Any]) -> str:
    rows, images = group["rows"], group["images"]
    rows_out = "".join(f" + {n:,} {reason}" for reason, n in rows["rejected"].items())
    images_out = "".join(f" + {n:,} {reason}" for reason, n in images["rejected"].items())
    return (
        f"{name}: {rows['in']:,} rows = {rows['kept']:,} with images{rows_out}; "
        f"{images['tried']:,} images tried = {images['kept']:,} kept{images_out}"
    )


def _tally(
    groups: Sequence[str],
    row_group: NDArray[np.int64],
    row_reason: NDArray[np.int8],
    image_group: NDArray[np.int64],
    image_reason: NDArray[np.int8],
    earlier: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """Count rows and images of each group (a source or a class) by outcome.

    Parameters
    ----------
    groups : sequence of str
        Names.
    row_group, row_reason : arrays, shape (rows,)
    image_group, image_reason : arrays, shape (images,)
    earlier : mapping, optional
        Per group, rows left out before curation by reason.

    Returns
    -------
    dict
        Per group `{"rows": {"in", "kept", "rejected": {...}}, "images": {"tried", "kept", "rejected": {...}}}`.
    """
    earlier = earlier or {}
    rows = _by_reason(len(groups), row_group, row_reason)
    images = _by_reason(len(groups), image_group, image_reason)
    counts = {}
    for group, row, image in zip(groups, rows, images, strict=True):
        before = earlier.get(group, {})
        counts[group] = {
            "rows": {"in": int(row.sum()) + sum(before.values()), "kept": int(row[KEPT]),
                     "rejected": {**_named(row), **before}},
            "images": {"tried": int(image.sum()), "kept": int(image[KEPT]), "rejected": _named(image)},
        }  # fmt: skip
    for group, before in earlier.items():
        if group not in counts:
            counts[group] = {
                "rows": {"in": sum(before.values()), "kept": 0, "rejected": dict(before)},
                "images": {"tried": 0, "kept": 0, "rejected": {}},
            }
    return dict(sorted(counts.items()))


def _total(groups: Mapping[str, Any]) -> dict[str, Any]:
    """Add up the counts of all groups."""
    sums: dict[str, Any] = {"rows": {"in": 0, "kept": 0}, "images": {"tried": 0, "kept": 0}}
    for kind, first in (("rows", "in"), ("images", "tried")):
        rejected: dict[str, int] = {}
        for counts in groups.values():
            sums[kind][first] += counts[kind][first]
            sums[kind]["kept"] += counts[kind]["kept"]
            for reason, n in counts[kind]["rejected"].items():
                rejected[reason] = rejected.get(reason, 0) + n
        sums[kind]["rejected"] = dict(sorted(rejected.items()))
    return sums


def _by_reason(groups: int, group: NDArray[np.int64], reason: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return a table of groups by reasons; `KEPT`, being -1, is its last column."""
    outcomes = len(CODE) + 1
    flat = np.bincount(group * outcomes + reason % outcomes, minlength=groups * outcomes)
    return flat.reshape(groups, outcomes)


def _named(counts: NDArray[np.int64]) -> dict[str, int]:
    return {reason: int(n) for reason, n in zip(schema.REASONS, counts, strict=False) if n}
