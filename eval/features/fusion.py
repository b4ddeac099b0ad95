"""Fusion: the features of two networks side by side, joined by id."""

from __future__ import annotations

import numpy as np

from ...builder.errors import UsageError
from .table import Features

MAX_IDS_IN_ERROR = 5


def fuse(first: Features, second: Features) -> Features:
    """Concatenate the features of two networks.

    Parameters
    ----------
    first, second : Features
        Features of the same samples, in any order. The result has the order of `first`.

    Returns
    -------
    Features
        With the columns of both.

    Raises
    ------
    UsageError
        If an id is missing from one of them, or repeated.

    Notes
    -----
    The published code joined two caches by row number, although their lists of files were in arbitrary order, so it may
    have paired rows of different cells. Joined by id, the score may differ from the published one.
    """
    for side in (first, second):
        if len(set(side.ids)) != len(side.ids):
            twice = sorted({i for i in side.ids if side.ids.count(i) > 1})[:MAX_IDS_IN_ERROR]
            raise UsageError(
                f"Two rows of {side.settings.get('model', 'features')} have the same id: {', '.join(twice)}"
            )
    row_of = {name: row for row, name in enumerate(second.ids)}
    alone = [name for name in first.ids if name not in row_of] + sorted(set(second.ids) - set(first.ids))
    if alone:
        more = f" and {len(alone) - MAX_IDS_IN_ERROR} more" if len(alone) > MAX_IDS_IN_ERROR else ""
        raise UsageError(
            f"{len(alone)} samples have features of only one network: {', '.join(alone[:MAX_IDS_IN_ERROR])}{more}",
            next="Compute both from the same list of images",
        )
    order = [row_of[name] for name in first.ids]
    joined = second.values if order == list(range(len(order))) else second.values[order]
    settings = {
        **first.settings,
        "model": "fusion",
        "fused": [dict(first.settings), dict(second.settings)],
        "weights": [first.settings.get("weights"), second.settings.get("weights")],
    }
    return Features(list(first.ids), np.hstack([first.values, joined]), settings)
