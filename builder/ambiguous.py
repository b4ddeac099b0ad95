"""Values of which one is true and the source does not say which: `human|mouse|fly`, the organism of a mixed source.

Several values in one cell of the other label columns are true together: an image shows a nucleus and actin, a well got
two siRNAs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

EXCLUSIVE_COLUMNS = ("organism", "cell_type")
"""Label columns of which one value is true of a cell."""

COLUMNS = ("label", "category", *EXCLUSIVE_COLUMNS)
"""The columns that `ambiguous_classes` reads."""

TEXTS_SHOWN = 3  # in a sentence


class AmbiguousClass(NamedTuple):
    """A class with images whose source gives several values and does not say which one is true.

    Parameters
    ----------
    label, category : str
        The class.
    images : int
        Its images with several values.
    of : int
        All its images.
    texts : tuple of str
        The cells with several values, such as `human|mouse|fly`.
    """

    label: str
    category: str
    images: int
    of: int
    texts: tuple[str, ...]


def values_of(text: str) -> set[str]:
    """Return the distinct values of a cell.

    Examples
    --------
    >>> sorted(values_of("nucleus|actin|nucleus|"))
    ['actin', 'nucleus']
    """
    return {*text.split("|")} - {""}


def ambiguous_classes(rows: pa.Table | pd.DataFrame) -> list[AmbiguousClass]:
    """Return the classes that may be wrong for some of their images.

    Parameters
    ----------
    rows : pyarrow.Table or DataFrame
        One row per image, with the columns `COLUMNS`.

    Returns
    -------
    list of AmbiguousClass
        Sorted by label.

    Examples
    --------
    >>> rows = {"label": ["fly", "fly"], "category": "organism", "organism": ["fly", "human|fly"], "cell_type": ""}
    >>> ambiguous_classes(pd.DataFrame(rows))
    [AmbiguousClass(label='fly', category='organism', images=1, of=2, texts=('human|fly',))]
    """
    table = pa.Table.from_pandas(rows[list(COLUMNS)], preserve_index=False) if isinstance(rows, pd.DataFrame) else rows
    found: list[AmbiguousClass] = []
    for column in EXCLUSIVE_COLUMNS:
        own = table.filter(pc.equal(table["category"], column)).select(["label", column])
        counts = own.group_by(["label", column]).aggregate([([], "count_all")]).to_pylist()
        for label in sorted({line["label"] for line in counts}):
            mine = [line for line in counts if line["label"] == label]
            several = [line for line in mine if len(values_of(line[column])) > 1]
            if several:
                images, of = (sum(line["count_all"] for line in lines) for lines in (several, mine))
                found.append(AmbiguousClass(label, column, images, of, tuple(sorted(line[column] for line in several))))
    return sorted(found)


def warnings(classes: Iterable[AmbiguousClass]) -> list[str]:
    """Return one sentence per class that may be wrong, for people.

    Examples
    --------
    >>> warnings([AmbiguousClass("fly", "organism", 900, 1000, ("human|mouse|fly",))])
    ["The class 'fly' may be wrong: 900 of its 1,000 images have the organism human|mouse|fly in their source."]
    """
    return [f"The class {one.label!r} may be wrong: {reason(one)}." for one in classes]


def reason(one: AmbiguousClass) -> str:
    """Return in words why a class may be wrong.

    Examples
    --------
    >>> reason(AmbiguousClass("fly", "organism", 900, 1000, ("human|mouse|fly",)))
    '900 of its 1,000 images have the organism human|mouse|fly in their source'
    """
    where = f"the {one.category.replace('_', ' ')} {shortened(one.texts)} in their source"
    return f"{one.images:,} of its {one.of:,} images have {where}"


def shortened(texts: Sequence[str]) -> str:
    """Return the first texts of a list, and the number of the others.

    Examples
    --------
    >>> shortened(["a|b", "a|c", "b|c", "c|d", "d|e"])
    'a|b, a|c, b|c and 2 more'
    """
    more = f" and {len(texts) - TEXTS_SHOWN:,} more" if len(texts) > TEXTS_SHOWN else ""
    return ", ".join(texts[:TEXTS_SHOWN]) + more
