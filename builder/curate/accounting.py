"""Nothing lost: what went in is what was kept plus what was left out, per source and per class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import schema, storage
from ..errors import CheckFailedError
from . import accounting as bookkeeping
from .decide import CODE, GLOBAL, KEPT, Decision
from .tried import BATCH, Classes, Lines

PHASE = np.array([1 + GLOBAL.index(reason) if reason in GLOBAL else 0 for reason in schema.REASONS] + [0])
"""When a reason is given: by a worker (0), or later. The last one given to a row's images is the row's own."""


def row_reasons(rows: NDArray[np.int64], number: NDArray[np.integer], reason: NDArray[np.int8], count: int) -> NDArray:
    """Give every source image one outcome.

    Parameters
    ----------
    rows, number, reason : arrays, shape (lines,)
        Source image, place within it, and outcome of every image tried.
    count : int
        Source images.

    Returns
    -------
    int8 array, shape (count,)
        `KEPT` if at least one of its images is, else the reason given last.

    Raises
    ------
    CheckFailedError
        If no image of a source image was tried: it was lost.
    """
    seen = np.bincount(rows, minlength=count) if len(rows) else np.zeros(count, int)
    if (seen == 0).any():
        raise CheckFailedError(
            f"{int((seen == 0).sum())} source images were lost", next="This is a defect of the program: report it."
        )
    order = np.lexsort((number, PHASE[reason], reason == KEPT, rows))
    last = np.append(rows[order][1:] != rows[order][:-1], True)
    return reason[order[last]]


def tally(
    groups: Sequence[str],
    row_group: NDArray[np.int64],
    row_reason: NDArray[np.int8],
    line_group: NDArray[np.int64],
    line_reason: NDArray[np.int8],
    earlier: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Any]:
    """Count rows and images of each group (a source or a class) by outcome.

    Parameters
    ----------
    groups : sequence of str
        Names.
    row_group, row_reason : arrays, shape (rows,)
    line_group, line_reason : arrays, shape (images tried,)
    earlier : mapping, optional
        Per group, rows left out before curation by reason.

    Returns
    -------
    dict
        Per group `{"rows": {"in", "kept", "rejected": {...}}, "images": {"tried", "kept", "rejected": {...}}}`.
    """
    rows = _count(len(groups), row_group, row_reason)
    lines = _count(len(groups), line_group, line_reason)
    told = {}
    for group, row, line in zip(groups, rows, lines, strict=True):
        left_out = {**_named(row), **(earlier or {}).get(group, {})}
        told[group] = {
            "rows": {"in": int(row.sum()) + sum((earlier or {}).get(group, {}).values()), "kept": int(row[KEPT]),
                     "rejected": left_out},
            "images": {"tried": int(line.sum()), "kept": int(line[KEPT]), "rejected": _named(line)},
        }  # fmt: skip
    for group, counts in (earlier or {}).items():
        if group not in told:
            told[group] = {
                "rows": {"in": sum(counts.values()), "kept": 0, "rejected": dict(counts)},
                "images": {"tried": 0, "kept": 0, "rejected": {}},
            }
    return dict(sorted(told.items()))


def total(groups: Mapping[str, Any]) -> dict[str, Any]:
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


def check(
    groups: Mapping[str, Any], kept_rows: Mapping[str, int], kept: Mapping[str, int], rejected: Mapping[str, int]
) -> None:
    """Hold the counts against the tables that were written.

    Parameters
    ----------
    groups : mapping
        From `tally`.
    kept_rows, kept, rejected : mapping of str to int
        Per group, counted in the written tables: source images with a kept image, kept images, images left out.

    Raises
    ------
    CheckFailedError
        If rows in are not rows kept + left out, or images tried not images kept + left out, in any group.
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


def _count(groups: int, group: NDArray[np.int64], reason: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return a table of groups by reasons; `KEPT`, being -1, is its last column."""
    kinds = len(CODE) + 1
    flat = np.bincount(group * kinds + reason % kinds, minlength=groups * kinds)
    return flat.reshape(groups, kinds)


def _named(counts: NDArray[np.int64]) -> dict[str, int]:
    return {reason: int(n) for reason, n in zip(schema.REASONS, counts, strict=False) if n}


def lines(told: Mapping[str, Any], most: int) -> list[str]:
    """Write the two sums out, of every source and of up to `most` classes.

    Parameters
    ----------
    told : mapping
        What `curated.json` holds.
    most : int
        If there are more classes, they are only summed up.
    """
    sums = [_sum(f"source {name}", group) for name, group in told["by_source"].items()]
    if len(told["by_class"]) > most:
        sums.append(f"{len(told['by_class']):,} classes, the two sums of each in curated.json")
    else:
        sums += [_sum(f"class {name}", group) for name, group in told["by_class"].items()]
    return [*sums, _sum("all", told["counts"])]


def _sum(name: str, group: Mapping[str, Any]) -> str:
    rows, images = group["rows"], group["images"]
    rows_out = "".join(f" + {n:,} {reason}" for reason, n in rows["rejected"].items())
    images_out = "".join(f" + {n:,} {reason}" for reason, n in images["rejected"].items())
    return (
        f"{name}: {rows['in']:,} rows = {rows['kept']:,} with images{rows_out}; "
        f"{images['tried']:,} images tried = {images['kept']:,} kept{images_out}"
    )


def account(
    selection: pa.Table, classes: Classes, lines: Lines, decision: Decision, earlier: str | None = None
) -> dict[str, Any]:
    """Count rows and images by source and by class; every source image has one outcome."""
    number = lines.said["number"].to_numpy()
    outcome = bookkeeping.row_reasons(lines.rows, number, decision.reason, len(selection))
    sources = selection["dir_name"].combine_chunks().dictionary_encode()
    source = _codes(sources)
    by_source = bookkeeping.tally(
        _words(sources), source, outcome, source[lines.rows], decision.reason, _earlier(earlier)
    )
    by_class = bookkeeping.tally(classes.names, classes.of, outcome, classes.of[lines.rows], decision.reason)
    return {"counts": bookkeeping.total(by_source), "by_source": by_source, "by_class": by_class}


def _batches(path: str | None) -> Iterator[pa.Table]:
    """Yield the lines of what an earlier stage left out, without holding them all."""
    if path is None:
        return
    fs, inner = storage.filesystem(path)
    with fs.open(inner, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=schema.REJECTED.names):
            yield pa.table(batch).cast(schema.REJECTED)


def _earlier(path: str | None) -> dict[str, dict[str, int]]:
    """Count, per source, the rows an earlier stage left out."""
    counts: dict[str, dict[str, int]] = {}
    for table in _batches(path):
        grouped = table.group_by(["dir_name", "reason"]).aggregate([([], "count_all")])
        for line in grouped.to_pylist():
            reasons = counts.setdefault(line["dir_name"], {})
            reasons[line["reason"]] = reasons.get(line["reason"], 0) + line["count_all"]
    return counts


def _codes(column: pa.DictionaryArray | pa.ChunkedArray) -> NDArray[np.int64]:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.indices.to_numpy().astype(np.int64)


def _words(column: pa.DictionaryArray | pa.ChunkedArray) -> list[str]:
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.dictionary.to_pylist()
