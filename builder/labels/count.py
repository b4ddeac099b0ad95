"""Count the labels of a catalogue, name them, and order them from the rarest to the most frequent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ambiguous import values_of
from ..schema import LABEL_COLUMNS
from .encode import Column


class Label(NamedTuple):
    """A label and what became of it.

    Parameters
    ----------
    name : str
        Of the class: the text, or `text (column)`.
    text, column : str
        The label as the catalogue has it, and where.
    rows : int
        Rows that have the label.
    left : int
        Of these, rows that no rarer label has taken.
    images : int
        Of these, rows that it takes: 0 if it is not a class.
    """

    name: str
    text: str
    column: str
    rows: int
    left: int = 0
    images: int = 0

    def outcome(self, min_images: int) -> str:
        """Return in words why it is a class or not."""
        if self.images:
            return "class"
        if self.rows < min_images:
            return f"fewer than {min_images} rows"
        return f"rarer labels left fewer than {min_images} rows"


class RowsOfLabels:
    """The rows of each label of one column, found without a search through the other rows.

    Parameters
    ----------
    column : Column
    several : bool
        Whether each of several values in one row is a label of it; otherwise such a row has no label of this column.
    """

    def __init__(self, column: Column, *, several: bool = True) -> None:
        filled = np.flatnonzero(column.codes)
        # sorting (code, row) as one number is several times as fast as a stable sort of the codes
        together = (column.codes[filled].astype(np.uint64) << np.uint64(32)) | filled.astype(np.uint64)
        together.sort()
        self._rows = together.astype(np.uint32)  # keeps the lower half: the row
        self._ends = np.cumsum(np.bincount(column.codes[filled], minlength=len(column.values)))
        self._codes: dict[str, list[int]] = defaultdict(list)
        for code, value in enumerate(column.values):
            values = values_of(value)
            if several or len(values) == 1:
                for label in values:
                    self._codes[label].append(code)

    def counts(self) -> dict[str, int]:
        """Return the number of rows of every label."""
        # a list: there may be a million labels, too many for an array each
        sizes = np.diff(self._ends, prepend=0).tolist()
        return {label: sum(sizes[code] for code in codes) for label, codes in self._codes.items()}

    def codes(self, label: str) -> list[int]:
        """Return the codes of the texts that give the label."""
        return self._codes[label]

    def rows(self, label: str) -> NDArray[np.uint32]:
        """Return the rows that have the label, ascending."""
        parts = [self._rows[self._ends[code - 1] : self._ends[code]] for code in self._codes[label]]
        return parts[0] if len(parts) == 1 else np.sort(np.concatenate(parts))


def count_labels(rows_of: Mapping[str, RowsOfLabels], min_images: int) -> tuple[list[Label], list[Label]]:
    """Count every label; return those below `min_images`, and the others in the order in which they are visited."""
    found = [
        Label(text, text, column, rows) for column in LABEL_COLUMNS for text, rows in rows_of[column].counts().items()
    ]
    # labels are listed column by column, an order that a stable sort keeps among equals
    found.sort(key=attrgetter("rows", "text"))
    below = [label for label in found if label.rows < min_images]
    potential = found[len(below) :]
    by_text: dict[str, list[Label]] = defaultdict(list)
    for label in potential:
        by_text[label.text].append(label)
    names: dict[tuple[str, str], str] = {}
    for same in by_text.values():
        for (text, column), name in _named(same, rows_of).items():
            # another label may already be called `text (column)`
            while name != text and (name in by_text or name in names.values()):
                name += f" ({column})"
            names[text, column] = name
    return below, [x._replace(name=names[x.text, x.column]) for x in potential if (x.text, x.column) in names]


def _named(same: list[Label], rows_of: Mapping[str, RowsOfLabels]) -> dict[tuple[str, str], str]:
    """Name the labels of one text; a label with the same rows as that of an earlier column is left out."""
    distinct: list[Label] = []
    for label in sorted(same, key=lambda label: (-label.rows, LABEL_COLUMNS.index(label.column))):
        equally_many = (other for other in distinct if other.rows == label.rows)
        rows = rows_of[label.column].rows(label.text)
        if not any(np.array_equal(rows, rows_of[other.column].rows(label.text)) for other in equally_many):
            distinct.append(label)
    return {
        (label.text, label.column): label.text if label is distinct[0] else f"{label.text} ({label.column})"
        for label in distinct
    }
