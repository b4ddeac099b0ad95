"""What COOS-7 and CYCLoPs share: 11 neighbours vote, and a probe on the same cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...builder.errors import UsageError
from ..scores.neighbours import Metric
from ..scores.standardise import Way, scaler

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .settings import Settings

NEIGHBOURS = 11  # preprint, 4.1
METRIC: Metric = "euclidean"


def scaled(
    values: NDArray[np.floating], settings: Settings, task: str, ways: tuple[Way, ...], fit: NDArray[np.bool_] | None
) -> tuple[Callable[[slice | NDArray], NDArray[np.floating]], dict[str, Any]]:
    """Fit one of the ways to standardise that this task has.

    Returns
    -------
    bring : function
        From a slice or index of rows to those rows, scaled: a table may fill half of the memory, its copies all of it.
    used : dict
        The settings to note.

    Raises
    ------
    UsageError
        If the task has no DMSO wells, or no training set, to standardise by.
    """
    if settings.standardise not in ways:
        raise UsageError(
            f"--standardise {settings.standardise} does not exist for {task}", next=f"Use one of {', '.join(ways)}"
        )
    bring, dropped = scaler(values, settings.standardise, fit=fit if settings.standardise == "train" else None)
    return bring, {"metric": METRIC, "k": NEIGHBOURS, "features": values.shape[1] - dropped, "dropped": dropped}
