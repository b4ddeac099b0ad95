"""What the protocols of COOS-7 and CYCLoPs share: 11 neighbours vote, by Euclidean distance."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scores.neighbours import Metric
from ..scores.standardise import scaler

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from .settings import EvaluationSettings

NEIGHBOURS = 11  # preprint, 4.1
METRIC: Metric = "euclidean"


def order_of(ids: pd.Series) -> NDArray[np.int64]:
    """Return the rank of each id in alphabetical order: equally near neighbours are taken in this order.

    Examples
    --------
    >>> import pandas as pd
    >>> order_of(pd.Series(["c", "a", "b"]))
    array([2, 0, 1])
    """
    rank = np.empty(len(ids), np.int64)
    rank[np.argsort(ids.to_numpy(dtype=object).astype(str), kind="stable")] = np.arange(len(ids))
    return rank


def fit_scale(
    values: NDArray[np.floating], settings: EvaluationSettings, train: NDArray[np.bool_] | None = None
) -> tuple[Callable[[slice | NDArray[Any]], NDArray[np.floating]], dict[str, Any]]:
    """Fit the standardisation of the settings.

    Parameters
    ----------
    values : array, shape (rows, features)
    settings : EvaluationSettings
        With a standardisation that needs no DMSO wells.
    train : bool array, shape (rows,), optional
        The rows on which "train" is fitted.

    Returns
    -------
    scaled : function
        From a slice or index of rows to those rows, scaled. A table may take half of the memory, so a scaled copy of it
        must not be made.
    used : dict
        The settings to write to the entry.
    """
    assert settings.standardise is not None, "resolved by the task"
    scaled, dropped = scaler(values, settings.standardise, fit=train if settings.standardise == "train" else None)
    return scaled, {"metric": METRIC, "k": NEIGHBOURS, "features": values.shape[1] - dropped, "dropped": dropped}
