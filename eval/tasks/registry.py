"""The tasks by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...builder.errors import UsageError
from .bbbc021 import BBBC021
from .coos7 import COOS7
from .cyclops import CYCLOPS
from .record import Task

TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in (BBBC021, COOS7, CYCLOPS)})
"""The three tasks of the preprint, in its order."""


def find(task: str | Task) -> Task:
    """Return a task by its name; a task is returned as it is.

    Raises
    ------
    UsageError
        If there is no task of this name.

    Examples
    --------
    >>> find("coos7").unit
    'cells'
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise UsageError(f"There is no task {task!r}", next=f"The tasks are {', '.join(TASKS)}")
    return TASKS[task]
