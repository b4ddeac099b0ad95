"""Features of two networks side by side, joined by id."""

from __future__ import annotations

import numpy as np

from ...builder.errors import UsageError
from .extract import Features

NAMED = 5  # ids an error names


def fuse(first: Features, second: Features) -> Features:
    """Put the features of two networks side by side.

    Parameters
    ----------
    first, second : Features
        Of the same samples, in any order. The result has the order of `first`.

    Returns
    -------
    Features
        As many columns as both together.

    Raises
    ------
    UsageError
        If an id is in one and not in the other, or twice in one.

    Notes
    -----
    The published code joined two caches by row number although their file lists were in arbitrary order, so that rows
    of different cells may have been paired. Joined by id, the score may be lower than the published one.
    """
    for side in (first, second):
        if len(set(side.ids)) != len(side.ids):
            twice = sorted({i for i in side.ids if side.ids.count(i) > 1})[:NAMED]
            raise UsageError(f"An id names two rows of {side.settings.get('model', 'features')}: {', '.join(twice)}")
    row_of = {name: row for row, name in enumerate(second.ids)}
    alone = [name for name in first.ids if name not in row_of] + sorted(set(second.ids) - set(first.ids))
    if alone:
        more = f" and {len(alone) - NAMED} more" if len(alone) > NAMED else ""
        raise UsageError(
            f"{len(alone)} samples have features of one network only: {', '.join(alone[:NAMED])}{more}",
            next="Extract both from the same image list",
        )
    order = [row_of[name] for name in first.ids]
    beside = second.values if order == list(range(len(order))) else second.values[order]
    settings = {
        **first.settings,
        "model": "fusion",
        "fused": [dict(first.settings), dict(second.settings)],
        "weights": [first.settings.get("weights"), second.settings.get("weights")],
    }
    return Features(list(first.ids), np.hstack([first.values, beside]), settings)
