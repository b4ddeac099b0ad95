"""Small evaluation sets in the true formats of BBBC021, COOS-7 and CYCLoPs WT2, for the demo and the tests.

The containers, names and traps are the publishers': zips a plate, UUIDs glued to the channel digit, four kinds of file
name, HDF5 keys, one-hot labels whose names lie in the file's attributes. Only the pixels are drawn. Classes differ by
shape, texture and stain pattern; plates, days and microscopes add the shifts that must not matter.
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
    """Write small evaluation sets below `root`, one folder a task.

    Parameters
    ----------
    root : path
        Gets `bbbc021/`, `coos7/` and `cyclops/`. What is there under the same names is overwritten.
    tasks : sequence of str
        Which of the three.
    seed : int
        Equal seeds give equal bytes.

    Returns
    -------
    dict of task -> folder

    Raises
    ------
    UsageError
        If a task is not one of the three.
    """
    makers: dict[str, Callable[..., Path]] = {
        "bbbc021": simulate_bbbc021,
        "coos7": simulate_coos7,
        "cyclops": simulate_cyclops,
    }
    unknown = [task for task in tasks if task not in makers]
    if unknown:
        raise UsageError(f"No task named {', '.join(unknown)}", next=f"Use one of {', '.join(makers)}")
    return {task: makers[task](Path(root) / task, seed=seed) for task in tasks}
