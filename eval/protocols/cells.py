"""What COOS-7 and CYCLoPs share: 11 neighbours vote, and a probe on the same cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...builder.errors import UsageError
from ..neighbours import Metric
from ..standardise import Way, standardise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..settings import Settings

NEIGHBOURS = 11  # preprint, 4.1
METRIC: Metric = "euclidean"


def scaled(
    values: NDArray[np.floating], settings: Settings, task: str, ways: tuple[Way, ...], fit: NDArray[np.bool_] | None
) -> tuple[NDArray[np.floating], dict[str, Any]]:
    """Standardise features in one of the ways this task has; return them and the settings to note.

    Raises
    ------
    UsageError
        If the task has no DMSO wells, or no training set, to standardise by.
    """
    if settings.standardise not in ways:
        raise UsageError(
            f"--standardise {settings.standardise} does not exist for {task}", next=f"Use one of {', '.join(ways)}"
        )
    done, dropped = standardise(values, settings.standardise, fit=fit if settings.standardise == "train" else None)
    return done, {"metric": METRIC, "k": NEIGHBOURS, "features": done.shape[1], "dropped": dropped}
