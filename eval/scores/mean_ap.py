"""Mean average precision: whether treatments with the same mechanism are ranked before the others."""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


def average_precision(features: NDArray[np.floating], labels: NDArray[Any], groups: NDArray[Any]) -> pd.DataFrame:
    """Rank, for each row, the other rows by cosine similarity, and return the average precision of the ranking.

    Positives have the same label (mechanism) and another group (compound); negatives have another label. Rows with the
    same label and group are left out. Computed with copairs (Kalinin et al. 2025).

    Parameters
    ----------
    features : array, shape (n, features)
    labels, groups : array, shape (n,)

    Returns
    -------
    DataFrame
        One row per row of features: label, group, average_precision (NaN where a row has no positive or no negative),
        n_pos_pairs, n_total_pairs.
    """
    from copairs.map import average_precision as precisions

    meta = pd.DataFrame({"label": np.asarray(labels).astype(str), "group": np.asarray(groups).astype(str)})
    kinds = meta.drop_duplicates().groupby("label")["group"].size()
    if len(kinds) < 2 or kinds.max() < 2:  # copairs fails if there are no positives or no negatives at all
        return meta.assign(average_precision=np.nan, n_pos_pairs=0, n_total_pairs=0)
    values = np.asarray(features, np.float32)
    scored: pd.DataFrame = precisions(meta, values, ["label"], ["group"], [], ["label"], progress_bar=False)
    return scored


def against_chance(scored: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> tuple[float, dict[str, Any]]:
    """Compare mean average precisions with those of random rankings, by copairs.

    Parameters
    ----------
    scored : DataFrame
        The result of `average_precision`, with a number in at least one row.
    draws : int
        Number of random rankings for each number of positives and of pairs.
    seed : int
        Random seed of the rankings.

    Returns
    -------
    p : float
        One-sided p-value of the mean over all rows; at least 1 / (draws + 1).
    by_label : dict of label -> {"p", "q"}
        p-value of the mean over the rows of each label; q is corrected for the number of labels (Benjamini and
        Hochberg).

    Notes
    -----
    copairs samples one ranking for all rows with equal numbers of positives and pairs, as if their rankings were equal.
    Those of the doses of a compound nearly are; where rows are independent, p is larger than necessary.
    """
    from copairs.map import mean_average_precision

    found = {}
    for same in ("all", "label"):
        # copairs caches random rankings in the home folder by their size alone, so another table's could be reused
        with TemporaryDirectory() as fresh:
            found[same] = mean_average_precision(
                scored.assign(all=""), [same], draws, 0.05, seed, progress_bar=False, max_workers=1, cache_dir=fresh
            )
    by_label = found["label"].set_index("label")
    pairs = zip(by_label.index, by_label["p_value"], by_label["corrected_p_value"], strict=True)
    return float(found["all"]["p_value"].iloc[0]), {str(k): {"p": float(p), "q": float(q)} for k, p, q in pairs}
