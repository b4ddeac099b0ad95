"""The lines of `rejected.parquet`: every image that curation left out, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import schema
from .decide import CODE, Decision
from .lines import BATCH, Classes, Lines, as_table, places

if TYPE_CHECKING:
    from .curate import Settings


def left_out(
    selection: pa.Table,
    classes: Classes,
    lines: Lines,
    left: NDArray[np.int64],
    decision: Decision,
    evaluation: Mapping[str, str],
    settings: Settings,
) -> Iterator[pa.Table]:
    """Yield a line for every image that is not kept, those of one source image together, the last reason last."""
    for start in range(0, len(left), BATCH):
        part = left[start : start + BATCH]
        rows, code, twin = lines.rows[part], decision.reason[part], decision.twin[part]
        source = selection.take(pa.array(rows))
        detail = lines.said["detail"].take(pa.array(part)).to_pylist()
        copies = np.flatnonzero(twin >= 0)
        for at, of, file in zip(
            copies, classes.of[lines.rows[twin[copies]]], places(selection, lines, twin[copies]), strict=True
        ):
            detail[at] = f"same pixels as {file} of {classes.names[of]!r}"
        for at in np.flatnonzero(
            np.isin(code, [CODE["class_full"], CODE["class_too_small"], CODE["in_evaluation_set"]])
        ):
            row, images = int(rows[at]), decision.left[classes.of[rows[at]]]
            detail[at] = {
                "class_full": f"{images} images, at most {settings.max_images}",
                "class_too_small": f"{images} images, at least {settings.min_class_size}",
                "in_evaluation_set": f"same pixels as {decision.known.get(row)}",
            }[schema.REASONS[code[at]]]
        columns = {
            "idx": source["idx"],
            "file": places(selection, lines, part),
            "dir_name": source["dir_name"],
            "label": source["label"],
            "stage": ["curate"] * len(part),
            "reason": [schema.REASONS[c] for c in code],
            "detail": detail,
        }
        yield as_table(columns, schema.REJECTED)
