"""Count what the split kept together: groups, plates and wells, on each side."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .. import schema
from .decide import Decided
from .split import TOGETHER

NAMES = {"group": "groups", "plate": "plates", "well": "wells"}  # by the last column of an entry of `TOGETHER`


def count_split(decided: Decided) -> dict[str, dict[str, int]]:
    """Count the groups, plates or wells in each split, among the source images with a kept image.

    Returns
    -------
    dict
        For each entry of `split.TOGETHER` of the rule of the run, by its name: `train` and `validation`, numbers of
        groups, plates or wells; `unknown`, source images of which it is not known, which are split by image. Where it
        is known of no source image, there are no `groups`. Empty for the published rule.

    Examples
    --------
    >>> count_split(decided)                                                                  # doctest: +SKIP
    {'plates': {'train': 54, 'validation': 6, 'unknown': 120}}
    """
    rows, first = np.unique(decided.tried.row[decided.kept], return_index=True)
    side = pa.array(decided.validation[first])  # all images of a row are in one split
    source = decided.tried.selection.take(pa.array(rows))
    counts = {}
    for columns in TOGETHER.get(decided.settings.split, ()):
        table = pa.table([side, *(source[name].cast(pa.string()) for name in columns)],
                         names=["side", *columns])  # fmt: skip
        for name in columns:
            table = table.filter(pc.not_equal(table[name], ""))
        found = table.group_by(table.column_names).aggregate([])["side"].to_numpy()
        if len(table) or columns[-1] != "group":
            counts[NAMES[columns[-1]]] = {
                split: int((found == validation).sum()) for validation, split in enumerate(schema.SPLITS)
            } | {"unknown": len(rows) - len(table)}
    return counts
