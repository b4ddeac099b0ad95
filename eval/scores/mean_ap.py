"""Mean average precision: are treatments of the same mechanism ranked before the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


def average_precision(features: NDArray[np.floating], labels: NDArray, groups: NDArray) -> NDArray[np.float64]:
    """Return the average precision of each row's ranking of the others by cosine similarity.

    Positives have the same label and another group (mechanism, compound); negatives have another label. Rows of the
    same label and group are neither. Computed with copairs (Kalinin et al. 2025).

    Parameters
    ----------
    features : array, shape (n, features)
    labels, groups : array, shape (n,)

    Returns
    -------
    array, shape (n,), float64
        NaN where a row has no positive or no negative.
    """
    from copairs.map import average_precision as precisions

    meta = pd.DataFrame({"label": np.asarray(labels).astype(str), "group": np.asarray(groups).astype(str)})
    kinds = meta.drop_duplicates().groupby("label")["group"].size()
    if len(kinds) < 2 or kinds.max() < 2:
        return np.full(len(features), np.nan)  # copairs fails without a single pair of one kind
    scored = precisions(meta, np.asarray(features, np.float32), ["label"], ["group"], [], ["label"], progress_bar=False)
    return scored["average_precision"].to_numpy(np.float64)
