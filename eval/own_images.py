"""A user's own images as a task: which columns of their table are used, which samples are scored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike

import pandas as pd

from ..builder.errors import UsageError
from ..builder.image_table.table import ImageTable, read_image_table
from .features.image_samples import ImageSamples, rejections, samples_of
from .features.table import Features
from .own_tables import Columns, task_name
from .protocols.own import divided
from .tasks.own import COLUMNS, own_task
from .tasks.record import Task


@dataclass(frozen=True)
class OwnImages:
    """The labelled samples of an image table as a task.

    Attributes
    ----------
    task : Task
    samples : ImageSamples
        Those with a label.
    table : ImageTable
        The same samples; `rejected` are those whose images can't be used.
    notes : tuple of str
        What was left out, and what else a reader of the scores should know.
    """

    task: Task
    samples: ImageSamples
    table: ImageTable
    notes: tuple[str, ...] = ()

    def usable(self, features: Features, *, strict: bool = False) -> OwnImages:
        """Return the same without the samples whose images turned out to be unusable.

        Raises
        ------
        MetadataError
            If there is one and `strict` is set, or no sample is left.
        """
        if not features.refused:
            return self
        table = self.table.without(rejections(self.samples, features.refused), strict=strict)
        return replace(self, table=table, samples=samples_of(table))


def own_images(
    images: str | PathLike[str] | ImageTable,
    columns: Columns | None = None,
    *,
    pattern: str | None = None,
    strict: bool = False,
) -> OwnImages:
    """Read labelled images as a task, named after their table, folder or zip.

    Parameters
    ----------
    images : str, path or ImageTable
        See `builder.image_table.table.read_image_table`.
    columns : Columns, optional
        Which columns of the table are label, group and split.
    pattern, strict
        See `read_image_table`.

    Raises
    ------
    UsageError, MetadataError
        If the images can't be read, there is no such column, or no sample has a label.
    """
    columns = columns or Columns()
    table = images if isinstance(images, ImageTable) else read_image_table(images, pattern=pattern, strict=strict)
    rows = table.rows.copy()
    for key, name in columns.named.items():
        if key == "id":
            continue
        found = next((one for one in (name, f"Metadata_{name}") if one in rows), None)
        if found is None:
            known = [*(one for one in COLUMNS if table.has(one)), *table.metadata]
            raise UsageError(
                f"There is no column {name!r} for the {key}",
                where=table.root.path,
                next=f"Columns are {', '.join(known)}" if known else "The table has no column other than files",
            )
        rows[key] = table.rows[found].map(lambda value: "" if pd.isna(value) else str(value).strip()).astype("str")
    labelled = rows["label"] != ""
    if not labelled.any():
        raise UsageError(
            f"None of {len(rows):,} samples has a label",
            where=table.root.path,
            next="Add a column `label`, or name the column with --label",
        )
    notes = list(table.notes)
    if not labelled.all():
        notes.append(f"{int((~labelled).sum()):,} of {len(rows):,} samples have no label and are left out")
    name = task_name(table.name)
    table = replace(table, name=name, rows=rows[labelled].reset_index(drop=True))
    divided(table.rows, table.root.path)  # an error now, not after an hour of computing features
    samples = samples_of(table)
    task = own_task(name, samples, grouped_by=columns.grouped_by, columns=columns.chosen)
    return OwnImages(task, samples, table, tuple(notes))
