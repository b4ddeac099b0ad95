"""Weak labels: every image gets at most one class, the rarest labels choose first (preprint, 2.1).

A row holds a label when it is one of the `|`-separated values of a column, compared as a whole. Labels are visited from
the rarest to the most frequent; each takes of its rows those no rarer label has taken, up to `max_images` of them by a
stratified sample. The columns become integer codes once, so that a label costs time in proportion to its own rows.

Decisions, where a rule has to say more than "rarest first":

* Ties in the count are broken by the label's text, then by the column's place in `schema.LABEL_COLUMNS`.
* A label that two columns give to the same rows is one label, of the first of these columns.
* A text that two columns give to different rows is two classes: the column with more rows (then the first) keeps the
  text, the other is called `text (column)`.
* All randomness comes from ordering the rows by a hash of (seed, idx): neither the order they come in, nor chunks,
  nor types can change a draw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..defaults import MAX_IMAGES, MIN_IMAGES
from ..errors import SchemaError, UsageError
from ..schema import LABEL_COLUMNS, SELECTION
from . import stratified as strata
from .encode import Column, encode, row_order, to_arrow

PRESAMPLE = 10_000  # preprint, 2.1: above this, a first sample over coarse strata
COARSE = ("name", "organism", "cell_type")
FINE = ("organism", "cell_type", "cell_visible", "sirna", "compound", "phenotype")
ALLOCATIONS = ("proportional", "sqrt")
NEEDED = ("idx", "name", *LABEL_COLUMNS)


class Label(NamedTuple):
    """A label some rows hold, and what became of it: `left` rows when its turn came, `images` taken."""

    name: str
    text: str
    column: str
    rows: int
    left: int = 0
    images: int = 0

    def outcome(self, min_images: int) -> str:
        """Say in words why it is a class or none."""
        if self.images:
            return "class"
        if self.rows < min_images:
            return f"fewer than {min_images} rows"
        return f"rarer labels left fewer than {min_images} rows"


@dataclass(frozen=True)
class Assignment:
    """Which row got which label: `chosen[i]` is a position in `labels`, or -1. `held[i]`: it holds a potential one."""

    chosen: NDArray[np.int32]
    held: NDArray[np.bool_]
    labels: list[Label]


def assign_labels(
    catalog: pd.DataFrame,
    *,
    min_images: int = MIN_IMAGES,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    allocation: strata.Allocation = "proportional",
) -> pd.DataFrame:
    """Give classes to the rows of a catalogue, the rarest label first.

    Parameters
    ----------
    catalog : DataFrame
        Rows of `schema.CATALOG`; at least `idx`, `name` and the label columns. Any text type; missing is unknown.
    min_images : int
        Fewer rows than this are no class.
    max_images : int
        A class has at most this many rows.
    seed : int
        Another seed draws other rows where a label has more than `max_images`.
    allocation : "proportional" or "sqrt"
        How samples are shared among strata; "sqrt" favours small ones.

    Returns
    -------
    DataFrame
        The selected rows alone, with `label` and `category` in front, sorted by label and idx. It is a pure function
        of the catalogue (as a set of rows), the settings and the seed.

    Raises
    ------
    SchemaError
        If a column that is needed is absent or holds no text.
    MetadataError
        If two rows have the same idx.
    UsageError
        If the settings contradict each other.

    Examples
    --------
    >>> import pandas as pd
    >>> empty = dict.fromkeys(NEEDED, "")
    >>> seen = {"idx": list("abcd"), "organism": "human", "cell_visible": ["nucleus", "nucleus|actin", "actin", ""]}
    >>> classes = assign_labels(pd.DataFrame(empty | seen), min_images=2)
    >>> classes[["label", "idx"]].values.tolist()
    [['actin', 'b'], ['actin', 'c'], ['human', 'a'], ['human', 'd']]
    """
    check_settings(min_images, max_images, allocation)
    absent = [name for name in NEEDED if name not in catalog.columns]
    if absent:
        raise SchemaError(f"Columns absent: {', '.join(absent)}", where="catalogue")
    columns = {name: encode(to_arrow(catalog[name])) for name in NEEDED[1:]}
    order = row_order([to_arrow(catalog["idx"])], seed)
    result = assign(columns, order, min_images=min_images, max_images=max_images, allocation=allocation)
    picked = np.flatnonzero(result.chosen >= 0)
    kept = [name for name in SELECTION.names if name in catalog.columns]
    selection = catalog[kept].iloc[picked].astype("str").fillna("")
    labels = [result.labels[i] for i in result.chosen[picked]]
    selection.insert(0, "label", pd.Series([label.name for label in labels], selection.index, dtype="str"))
    selection.insert(1, "category", pd.Series([label.column for label in labels], selection.index, dtype="str"))
    return selection.sort_values(["label", "idx"], ignore_index=True)


def check_settings(min_images: int, max_images: int, allocation: str) -> None:
    """Refuse settings that contradict each other."""
    if min_images < 1 or max_images < min_images:
        raise UsageError(f"min_images {min_images} and max_images {max_images}: 1 <= min <= max is needed")
    if allocation not in ALLOCATIONS:
        raise UsageError(f"allocation {allocation!r} is none of {', '.join(ALLOCATIONS)}")


def assign(
    columns: Mapping[str, Column],
    order: NDArray[np.intp],
    *,
    min_images: int,
    max_images: int,
    allocation: strata.Allocation = "proportional",
) -> Assignment:
    """Visit the labels, rarest first, and give each its rows.

    Parameters
    ----------
    columns : mapping of name to Column
        `name` and the label columns, rows in any order.
    order : array, shape (rows,)
        The rows in random order, see `row_order`.
    min_images, max_images, allocation
        As `assign_labels`.

    Returns
    -------
    Assignment
        In the order of the columns' rows; `labels` are those below `min_images`, then the others as they were visited.
    """
    columns = {name: Column(column.codes[order], column.values) for name, column in columns.items()}
    postings = {name: _Postings(columns[name]) for name in LABEL_COLUMNS}
    labels, potential = _counted(postings, min_images)
    free, held = np.ones(len(order), np.bool_), np.zeros(len(order), np.bool_)
    chosen = np.full(len(order), -1, np.int32)
    draw = _Draw(columns, max_images, allocation)
    for label in potential:
        rows = postings[label.column].rows(label.text)
        held[rows] = True
        left = rows[free[rows]]
        taken = draw(left, label.column, len(labels)) if len(left) >= min_images else left[:0]
        free[taken] = False
        chosen[taken] = len(labels)
        labels.append(label._replace(left=len(left), images=len(taken)))
    return Assignment(_back(chosen, order), _back(held, order), labels)


class _Postings:
    """The rows of each label of one column, found without looking at the other rows."""

    def __init__(self, column: Column) -> None:
        filled = np.flatnonzero(column.codes)
        # sorting (code, row) as one number is several times as fast as a stable sort of the codes
        together = (column.codes[filled].astype(np.uint64) << np.uint64(32)) | filled.astype(np.uint64)
        together.sort()
        self._rows = together.astype(np.uint32)  # keeps the lower half: the row
        self._ends = np.cumsum(np.bincount(column.codes[filled], minlength=len(column.values)))
        self._codes: dict[str, list[int]] = defaultdict(list)
        for code, value in enumerate(column.values):
            for label in {*value.split("|")} - {""}:
                self._codes[label].append(code)

    def counts(self) -> dict[str, int]:
        """Rows of every label."""
        sizes = np.diff(self._ends, prepend=0).tolist()  # there are as many labels as texts: no array for each
        return {label: sum(sizes[code] for code in codes) for label, codes in self._codes.items()}

    def rows(self, label: str) -> NDArray[np.uint32]:
        """Rows that hold `label`, ascending."""
        parts = [self._rows[self._ends[code - 1] : self._ends[code]] for code in self._codes[label]]
        return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


class _Draw:
    """The two samples a label with too many rows takes; coarse strata of all rows are worked out once."""

    def __init__(self, columns: Mapping[str, Column], max_images: int, allocation: strata.Allocation) -> None:
        self._columns, self._max, self._allocation = columns, max_images, allocation
        self._coarse: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def __call__(self, rows: NDArray[np.uint32], own: str, number: int) -> NDArray[np.uint32]:
        used = {own}
        if len(rows) > max(PRESAMPLE, self._max):
            over = tuple(name for name in COARSE if name != own)
            if over not in self._coarse:
                self._coarse[over] = self._combined(over, slice(None))
            rows = rows[strata.sample(self._coarse[over][rows], PRESAMPLE, self._allocation)]
            used.update(over)
        if len(rows) > self._max:
            # in a fresh order: in the first one, the rows of strata that were taken whole would come last
            rows = np.random.default_rng(number).permutation(rows)
            over = tuple(name for name in FINE if name not in used)
            rows = rows[strata.sample(self._combined(over, rows), self._max, self._allocation)]
        return rows

    def _combined(self, names: tuple[str, ...], rows: Any) -> NDArray[np.intp]:
        """Number the combinations of several columns' values."""
        strata_of: NDArray[Any] = self._columns[names[0]].codes[rows]
        for name in names[1:]:
            column = self._columns[name]
            wide = strata_of.astype(np.int64) * len(column.values) + column.codes[rows]
            strata_of = pd.factorize(wide)[0]
        return strata_of


def _counted(postings: Mapping[str, _Postings], min_images: int) -> tuple[list[Label], list[Label]]:
    """Count every label and return (those below `min_images`, the others in the order they choose)."""
    found = [
        Label(text, text, column, rows) for column in LABEL_COLUMNS for text, rows in postings[column].counts().items()
    ]
    # columns come in their order, which a stable sort keeps
    found.sort(key=attrgetter("rows", "text"))
    below = [label for label in found if label.rows < min_images]
    potential = found[len(below) :]
    by_text: dict[str, list[Label]] = defaultdict(list)
    for label in potential:
        by_text[label.text].append(label)
    names: dict[tuple[str, str], str] = {}
    for same in by_text.values():
        for (text, column), name in _named(same, postings).items():
            # some other label may really be called `text (column)`
            while name != text and (name in by_text or name in names.values()):
                name += f" ({column})"
            names[text, column] = name
    return below, [x._replace(name=names[x.text, x.column]) for x in potential if (x.text, x.column) in names]


def _named(same: list[Label], postings: Mapping[str, _Postings]) -> dict[tuple[str, str], str]:
    """Name the labels of one text; those with the rows of an earlier column are left out."""
    distinct: list[Label] = []
    for label in sorted(same, key=lambda label: (-label.rows, LABEL_COLUMNS.index(label.column))):
        twins = (other for other in distinct if other.rows == label.rows)
        rows = postings[label.column].rows(label.text)
        if not any(np.array_equal(rows, postings[other.column].rows(label.text)) for other in twins):
            distinct.append(label)
    return {
        (label.text, label.column): label.text if label is distinct[0] else f"{label.text} ({label.column})"
        for label in distinct
    }


def _back(values: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """Bring values in random order back to the order of the rows."""
    back = np.empty_like(values)
    back[order] = values
    return back
