"""A task of a user's own: any labelled samples, made into a record when the evaluation runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING

from ...builder.errors import UsageError
from ..protocols import own as protocol
from ..tables.align import align_cells, take, with_own_columns
from .record import Task
from .registry import TASKS

if TYPE_CHECKING:
    from ..protocols.settings import EvaluationSettings
    from ..sets.samples import Samples
    from ..tables.feature_table import FeatureTable

COLUMNS = ("label", "group", "split")
"""What is known about a sample; each may be empty."""

INPUT_SIZE = 224
"""Side in pixels to which a user's images are resized: what most networks were trained at."""


def own_task(
    name: str,
    samples: Samples | None = None,
    *,
    grouped_by: str = "groups",
    columns: Mapping[str, str] | None = None,
) -> Task:
    """Return a task of a user's own.

    Parameters
    ----------
    name : str
        In results.json and in the report.
    samples : Samples, optional
        With the columns label, group and split. None if tables of features contain these themselves.
    grouped_by : str
        What the groups are, in the plural.
    columns : mapping of str to str, optional
        Names of the columns that were chosen as label, group and split; written to the settings of each score.

    Returns
    -------
    Task
        Its `read` returns `samples`, whatever folder is named.

    Raises
    ------
    UsageError
        If a task of the preprint has this name.

    Examples
    --------
    >>> task = own_task("nuclei", grouped_by="movies")
    >>> task.name, task.headline, task.standardisations
    ('nuclei', 'knn', ('train', 'none'))
    """
    if name in TASKS:
        raise UsageError(f"{name} is the name of a task of the preprint", next="Rename your table, folder or zip")

    def read(root: str | PathLike[str], settings: EvaluationSettings, *, images: bool = True) -> Samples:
        if samples is None:
            raise UsageError(f"{name} has no images", where=root)
        return samples

    return Task(
        name=name,
        title=name,
        question="Do the 11 nearest other samples have the same label?",
        how_to_get="Your own images",
        read=read,
        align=partial(_align, task=name),
        score=partial(protocol.score, grouped_by=grouped_by, columns=columns),
        standardisations=protocol.STANDARDISATIONS,
        network_standardisation="train",
        table_standardisation="train",
        input_size=INPUT_SIZE,
        options=("ties",),
        headline="knn",
    )


def _align(features: FeatureTable, samples: Samples | None, *, task: str) -> FeatureTable:
    """Give each row its label, group and split; rows without a label are left out."""
    if samples is not None:
        aligned = align_cells(features, samples, task=task)
    elif "label" not in features.keys:
        columns = ", ".join(map(str, features.keys)) or "no column that describes a row"
        raise UsageError(
            f"The table has no label: it has {columns}",
            where=features.source,
            next="Name its column with --label, or your images with --task",
        )
    else:
        aligned = with_own_columns(features, ("label",), task)
    keys = aligned.keys.assign(**{name: "" for name in COLUMNS if name not in aligned.keys})[["id", *COLUMNS]]
    labelled = (keys["label"] != "").to_numpy()
    if not labelled.any():
        raise UsageError("No sample has a label", where=features.source)
    rows = labelled.nonzero()[0]
    return take(aligned, rows, keys[labelled])
