"""The three evaluation sets: where their files lie, what a sample is, how its pixels are read.

Each task module (`bbbc021`, `coos7`, `cyclops`) offers the same two functions:

`read(root, ...) -> Samples`
    Find and check the files under `root` (every file present, whole and of the right shape, before any computing) and
    list the samples.
`load(samples, i) -> array (channels, height, width)`
    Decode sample `i` once: its raw pixels in the type of the file, channels in the order of `samples.channels`.
    Nothing is scaled. It opens what it needs by path, so `samples` can be sent to another process.

`samples.table` has one row per sample and always these columns; further ones are the task's own:

========== ==========================================================================================================
id         text, unique, the same whatever the layout on disk and the order of the files
label      class name; "" where the sample has none
split      "" or, for COOS-7, "train", "test1" ... "test4"
========== ==========================================================================================================

BBBC021 adds compound, concentration (float, µM), plate, well, site, week; COOS-7 adds date, microscope, plate, well;
the locators of the pixels (columns `file`, `row`, ... or one per channel) are the task's own business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...builder.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TASKS = ("bbbc021", "coos7", "cyclops")


@dataclass(frozen=True)
class Samples:
    """The samples of one task, checked and ready to be decoded.

    Attributes
    ----------
    task : str
        One of `TASKS`.
    root : Path
        The folder they were read from.
    table : DataFrame
        One row per sample; see the module.
    channels : tuple of str
        Names of the channels, in the order `load` returns them.
    shape : tuple of int
        Height and width of every sample, in pixels.
    left_out : mapping of str to int
        What was not taken, and how many of it.
    """

    task: str
    root: Path
    table: pd.DataFrame
    channels: tuple[str, ...]
    shape: tuple[int, int]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """The ids, in the order of the table."""
        return self.table["id"].tolist()

    def load(self, i: int) -> NDArray[np.generic]:
        """Return the raw pixels of sample `i`, shape (channels, height, width)."""
        return load(self, i)

    def digest(self, kept: Path | None = None) -> str:
        """Return a SHA-256 of the image list and of all its pixels: ids, channels, shape, and the bytes of every file.

        Parameters
        ----------
        kept : path, optional
            Where digests of files are kept, so that the next call reads only files that have changed.
        """
        from .fingerprint import fingerprints

        places = self.table[["file"] if "file" in self.table else list(self.channels)]
        of = fingerprints((name for column in places for name in places[column]), kept)
        rows = self.table[[name for name in ("id", "key", "row") if name in self.table]].astype(str)
        rows = rows.assign(**{str(column): places[column].map(of) for column in places})
        found = hashlib.sha256("\n".join([self.task, *self.channels, str(self.shape)]).encode())
        found.update(rows.to_csv(index=False).encode())
        return found.hexdigest()


def module(task: str) -> Any:
    """Return the module of a task.

    Raises
    ------
    UsageError
        If there is no such task.
    """
    if task not in TASKS:
        raise UsageError(f"No task is called {task!r}", next=f"The tasks are {', '.join(TASKS)}")
    return import_module(f"{__name__}.{task}")


def read(task: str, root: str | PathLike[str], **options: Any) -> Samples:
    """Find, check and list the samples of a task; see the module of the task for its options."""
    return module(task).read(root, **options)


def load(samples: Samples, i: int) -> NDArray[np.generic]:
    """Return the raw pixels of sample `i`, shape (channels, height, width), in the type of the file."""
    return module(samples.task).load(samples, i)
