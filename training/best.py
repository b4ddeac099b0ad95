"""The epoch with the highest validation accuracy: its weights are kept in addition to those of the last epoch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

BEST = "best"  # folder of its weights in a finished run


class Best(NamedTuple):
    """The best evaluation of a run so far.

    Parameters
    ----------
    step, epoch : int
        Number of steps and epochs before the evaluation.
    accuracy : float
        Of the validation images, in [0, 1].
    evaluations_since : int
        Number of later evaluations, none of which was better.
    """

    step: int
    epoch: int
    accuracy: float
    evaluations_since: int = 0


def update(best: Best | None, *, step: int, epoch: int, accuracy: float) -> Best:
    """Return the best evaluation after one more; of equal accuracies the earlier one is better.

    Examples
    --------
    >>> first = update(None, step=8, epoch=1, accuracy=0.5)
    >>> update(first, step=16, epoch=2, accuracy=0.5)
    Best(step=8, epoch=1, accuracy=0.5, evaluations_since=1)
    """
    if best is None or accuracy > best.accuracy:
        return Best(step, epoch, accuracy)
    return best._replace(evaluations_since=best.evaluations_since + 1)


def best_folder(run: Path, step: int) -> Path:
    """Return the folder of the best weights during training: `best-<step>` in the run folder."""
    return run / f"{BEST}-{step}"


def keep_beside(run: Path, step: int) -> None:
    """Give the best weights their final name, `best` in the run folder."""
    if best_folder(run, step).exists():  # else an interrupted run has done so
        shutil.rmtree(run / BEST, ignore_errors=True)
        best_folder(run, step).rename(run / BEST)


def remove_others(run: Path, step: int | None) -> None:
    """Remove the best weights of other steps: earlier ones, and those written after the checkpoint that is resumed."""
    for folder in run.glob(f"{BEST}-*"):
        if step is None or folder != best_folder(run, step):
            shutil.rmtree(folder, ignore_errors=True)
