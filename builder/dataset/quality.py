"""The table of an audit, `quality.parquet`: one row per image, in the order of `metadata.parquet`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from .. import schema
from ..errors import CheckFailedError, UsageError
from ..storage import join
from .manifest import Manifest
from .names import QUALITY

DUPLICATE_OF_TRAIN = "duplicate_of_train"
DUPLICATE_ACROSS_CLASSES = "duplicate_across_classes"
WRONG_LABEL = "label"
OUTLIER = "outlier"
IN_EVALUATION_SET = "in_evaluation_set"
FLAGS = (DUPLICATE_OF_TRAIN, DUPLICATE_ACROSS_CLASSES, WRONG_LABEL, OUTLIER, IN_EVALUATION_SET)
"""What an image can be flagged for. `duplicate_of_train`: a validation image with a near duplicate in train."""

CLEAN_WITHOUT = (DUPLICATE_OF_TRAIN, WRONG_LABEL, OUTLIER, IN_EVALUATION_SET)
"""The flags that the clean part of the dataset leaves out. Near duplicates within train stay."""

ALL, CLEAN = "all", "clean"
PARTS = (ALL, CLEAN)
"""The parts of a dataset that can be loaded or trained on."""


def _columns(names: str, kind: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name in names.split()]


COLUMNS = pa.schema(
    [
        *_columns("key", pa.string()),
        *_columns("duplicate_group", pa.int64()),
        *_columns("nearest_key", pa.string()),
        *_columns("nearest_distance overlap", pa.float64()),
        *_columns("overlap_key", pa.string()),
        *_columns("outlier_score", pa.float64()),
        *_columns("outlier_kind", pa.string()),
        *_columns("label_probability", pa.float64()),
        *_columns("suggested_label", pa.string()),
        *_columns("suggested_probability label_suspicion", pa.float64()),
        *_columns("alternatives evaluation_match flags", pa.string()),
    ]
)
"""The columns of `quality.parquet`; docs/quality.md explains them."""


_SUMMARY: dict[str, Any] = {
    "images": int, "classes": int, "judged": int, "duplicate_images": int, "duplicate_groups": int,
    "duplicate_groups_across_split": int, "duplicate_groups_across_classes": int,
    "wrong_labels": [float, float, float], "flagged": dict.fromkeys(FLAGS, int), "compared_with": {},
    "clean": {"train": int, "validation": int},
}  # fmt: skip


def summary_of(manifest: Manifest) -> Mapping[str, Any] | None:
    """Return the summary of the last audit of the images of a folder, or None if there is none or it is incomplete.

    Parameters
    ----------
    manifest : Manifest
        Of the folder; it may come from anybody.
    """
    settings = manifest.derived.get(QUALITY, {"settings": {}})["settings"]
    summary = settings.get("summary")
    return summary if settings.get("dataset") == manifest.digest and _has_form(summary, _SUMMARY) else None


def _has_form(value: Any, form: Any) -> bool:
    """Return whether a value has the types of a form, and at least its keys."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(name in value and _has_form(value[name], form[name]) for name in form)
    if isinstance(form, list):
        return isinstance(value, list) and len(value) == len(form) and all(map(_has_form, value, form))
    return type(value) is form or (form is float and type(value) is int)


def read_quality(manifest: Manifest, columns: list[str] | None = None) -> pd.DataFrame:
    """Read the table of the last audit of a dataset folder.

    Parameters
    ----------
    manifest : Manifest
        Of the folder.
    columns : list of str, optional
        Only these columns.

    Raises
    ------
    UsageError
        If the folder was not audited.
    CheckFailedError
        If the table belongs to other images.
    """
    entry = manifest.derived.get(QUALITY)
    if entry is None:
        raise UsageError(
            "This dataset folder was not audited: it has no quality.parquet",
            where=manifest.root,
            next=f"Run: cytoimagenet audit {manifest.root}",
        )
    table = schema.read(join(manifest.root, QUALITY), COLUMNS, columns)
    images = sum(entry["train"] + entry["validation"] for entry in manifest.classes)
    if entry["settings"].get("dataset") != manifest.digest or len(table) != images:
        raise CheckFailedError(
            "quality.parquet belongs to other images than those of this folder",
            where=manifest.root,
            next=f"Run the audit again: cytoimagenet audit {manifest.root}",
        )
    return table


def has_flag(flags: pd.Series, name: str) -> NDArray[np.bool_]:
    """Return which images have a flag.

    Examples
    --------
    >>> has_flag(pd.Series(["", "label|outlier"]), "outlier").tolist()
    [False, True]
    """
    values, codes = np.unique(flags.to_numpy(dtype=object).astype(str), return_inverse=True)
    return np.array([name in value.split("|") for value in values], bool)[codes]


def is_clean(flags: pd.Series) -> NDArray[np.bool_]:
    """Return which images belong to the clean part.

    Parameters
    ----------
    flags : Series of str
        The column `flags`.

    Examples
    --------
    >>> is_clean(pd.Series(["", "label|outlier", "duplicate_across_classes"])).tolist()
    [True, False, True]
    """
    left_out = np.zeros(len(flags), bool)
    for name in CLEAN_WITHOUT:
        left_out |= has_flag(flags, name)
    return ~left_out


def part(manifest: Manifest, name: str) -> NDArray[np.bool_]:
    """Return which images belong to a part of a dataset, in the order of `metadata.parquet`.

    Parameters
    ----------
    manifest : Manifest
        Of the dataset folder.
    name : {"all", "clean"}

    Raises
    ------
    UsageError
        If there is no such part, or the folder was not audited.
    CheckFailedError
        If the audit belongs to other images.
    """
    if name not in PARTS:
        raise UsageError(f"No part {name!r} of a dataset", next=f"There are {', '.join(PARTS)}")
    if name == ALL:
        return np.ones(sum(entry["train"] + entry["validation"] for entry in manifest.classes), bool)
    return is_clean(read_quality(manifest, ["flags"])["flags"])
