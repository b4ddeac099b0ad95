"""Small simulated BBBC021, COOS-7 and CYCLoPs WT2, for the demo and the tests.

Files, names and pitfalls are those of the publishers: one zip per plate, UUIDs directly after the digit of the channel,
four kinds of file name, HDF5 keys, one-hot labels whose names are attributes of the file. Only the pixels are
simulated. Classes differ in shape, texture and stain pattern; plates, days and microscopes add batch effects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from ...builder.errors import UsageError
from .bbbc021 import simulate_bbbc021
from .coos7 import simulate_coos7
from .cyclops import simulate_cyclops


def simulate(
    root: str | PathLike[str], *, tasks: Sequence[str] = ("bbbc021", "coos7", "cyclops"), seed: int = 0
) -> dict[str, Path]:
    """Write small evaluation sets below `root`, one folder per task.

    Parameters
    ----------
    root : path
        Folder in which `bbbc021/`, `coos7/` and `cyclops/` are written; existing files are overwritten.
    tasks : sequence of str
        The sets to write.
    seed : int
        Random seed; equal seeds give byte-identical files.

    Returns
    -------
    dict of task -> folder

    Raises
    ------
    UsageError
        If there is no such set.
    """
    writers: dict[str, Callable[..., Path]] = {
        "bbbc021": simulate_bbbc021,
        "coos7": simulate_coos7,
        "cyclops": simulate_cyclops,
    }
    unknown = [task for task in tasks if task not in writers]
    if unknown:
        raise UsageError(f"There is no evaluation set {', '.join(unknown)}", next=f"Use one of {', '.join(writers)}")
    return {task: writers[task](Path(root) / task, seed=seed) for task in tasks}
