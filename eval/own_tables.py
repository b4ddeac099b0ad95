"""Tables of features of a user's own samples as a task: which columns are used, which rows belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import pandas as pd

from ..builder.errors import UsageError
from .sets.samples import Samples
from .tables.align import with_own_columns
from .tables.feature_table import FeatureTable, read_table
from .tasks.own import COLUMNS, own_task
from .tasks.record import Task


@dataclass(frozen=True)
class Columns:
    """Names of columns that are not called `label`, `group`, `split` or `id`, and how names of features start."""

    label: str | None = None
    group: str | None = None
    split: str | None = None
    id: str | None = None
    features: tuple[str, ...] = ()

    @property
    def named(self) -> dict[str, str]:
        """The names that were given, by key."""
        every = {"label": self.label, "group": self.group, "split": self.split, "id": self.id}
        return {key: name for key, name in every.items() if name}

    @property
    def chosen(self) -> dict[str, str]:
        """The names of label, group and split that were given, without `Metadata_`."""
        return {key: name.removeprefix("Metadata_") for key, name in self.named.items() if key != "id"}

    @property
    def grouped_by(self) -> str:
        """What the groups are, in the plural."""
        return f"{self.chosen['group']}s" if self.group else "groups"


def task_name(name: str) -> str:
    """Return the name of a task, after a file or folder; it is safe as the name of a file.

    Examples
    --------
    >>> task_name("plate 7"), task_name("../a|b")
    ('plate 7', '-a-b')
    """
    return re.sub(r"[^\w.+() -]", "-", name).strip(". ") or "samples"


def own_tables(
    tables: Mapping[str, str | PathLike[str] | pd.DataFrame | FeatureTable],
    columns: Columns,
    of: tuple[Task, Samples] | None = None,
) -> Iterator[tuple[str, FeatureTable, Task, Samples]]:
    """Yield tables of features of the same samples, one at a time.

    Parameters
    ----------
    tables : mapping of str to path, DataFrame or FeatureTable
        By their names.
    columns : Columns
        Which of their columns are label, group, split and id.
    of : (Task, Samples), optional
        The samples that the tables are joined to by id. Without it, they are those of the first table, which contains
        the labels and gives the task its name; the others are joined to it by id.

    Yields
    ------
    name : str
    table : FeatureTable
    task : Task
    samples : Samples
        The same for all tables.

    Raises
    ------
    UsageError
        If a table can't be read, has no label, lacks a sample, or has another label for it.
    """
    task, samples = of or (None, None)
    for name, source in tables.items():
        absent = () if samples is None else COLUMNS
        table = read_table(source, columns.named, may_be_absent=absent, may_be_empty=COLUMNS, prefixes=columns.features)
        if task is None or samples is None:
            task = own_task(task_name(name), grouped_by=columns.grouped_by, columns=columns.chosen)
            if len(tables) > 1 and "id" not in table.keys:
                raise UsageError(
                    "Tables are joined by id, and this one has none",
                    where=table.source,
                    next="Name its column with --id",
                )
            samples = Samples(task.name, Path(table.source), task.align(table, None).keys, (), (0, 0))
            table = with_own_columns(table, (), task.name)
        else:
            _refuse_other_labels(table, samples)
        yield name, table, task, samples
        del table


def _refuse_other_labels(table: FeatureTable, samples: Samples) -> None:
    """Raise a `UsageError` if a table has another label for a sample."""
    if not {"id", "label"} <= set(table.keys):
        return
    both = samples.table[["id", "label"]].merge(table.keys[["id", "label"]], on="id")
    other = both[(both["label_x"] != both["label_y"]) & (both["label_y"] != "")]
    if len(other):
        one = other.iloc[0]
        raise UsageError(
            f"{len(other):,} samples have another label here: "
            f"{one['id']} has {one['label_y']!r} instead of {one['label_x']!r}",
            where=table.source,
        )
