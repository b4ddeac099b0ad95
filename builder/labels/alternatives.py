"""The other classes that an image could have been given: right answers too, for training and scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from .count import Label, RowsOfLabels
from .encode import Column

SEPARATOR = "|"  # no label contains it: it separates the values of a cell


def alternatives(
    columns: Mapping[str, Column],
    rows_of: Mapping[str, RowsOfLabels],
    labels: Sequence[Label],
    chosen: NDArray[np.integer[Any]],
) -> pa.DictionaryArray:
    """Return the other classes of each row that has a class.

    Parameters
    ----------
    columns : mapping of name to Column
        The label columns.
    rows_of : mapping of name to RowsOfLabels
        The labels of these columns, by the rule of the run.
    labels : sequence of Label
        Those with images are the classes.
    chosen : int array, shape (rows,)
        Index of each row's label in `labels`, or -1.

    Returns
    -------
    DictionaryArray of str, shape (rows with a class,)
        In the order of the rows: the names of all other classes whose label the row has, sorted and joined by `|`;
        empty if there are none.
    """
    classes_of = _classes_of_codes(labels, rows_of)
    rows = np.flatnonzero(chosen >= 0)
    # rows with the same class, and with the same classes in every column, have the same alternatives
    kinds = chosen[rows].astype(np.int64)
    for name, classes in classes_of.items():
        numbers: dict[tuple[int, ...], int] = {(): 0}
        number_of_code = np.zeros(len(columns[name].values), np.int64)
        for code, several in classes.items():
            number_of_code[code] = numbers.setdefault(tuple(several), len(numbers))
        kinds = pd.factorize(kinds * len(numbers) + number_of_code[columns[name].codes[rows]])[0]
    kinds = pd.factorize(kinds)[0]
    texts: dict[str, int] = {"": 0}
    number_of_kind = np.zeros(int(kinds.max(initial=-1)) + 1, np.int32)
    for kind, row in enumerate(rows[np.unique(kinds, return_index=True)[1]]):
        codes = ((classes, int(columns[name].codes[row])) for name, classes in classes_of.items())
        found = {number for classes, code in codes for number in classes.get(code, ())} - {int(chosen[row])}
        text = SEPARATOR.join(sorted(labels[number].name for number in found))
        number_of_kind[kind] = texts.setdefault(text, len(texts))
    return pa.DictionaryArray.from_arrays(number_of_kind[kinds], pa.array(list(texts), pa.string()))


def _classes_of_codes(labels: Sequence[Label], rows_of: Mapping[str, RowsOfLabels]) -> dict[str, dict[int, list[int]]]:
    """Return the classes that each text of each column gives: by column and code of the text, indices of labels."""
    found: dict[str, dict[int, list[int]]] = {}
    for number, label in enumerate(labels):
        if label.images:
            for code in rows_of[label.column].codes(label.text):
                found.setdefault(label.column, {}).setdefault(code, []).append(number)
    return found
