"""Weak labels: every image gets at most one class, and the rarest labels are assigned first (preprint, 2.1).

A row has a label if the label is one of the `|`-separated values of a column. Labels are visited from the rarest to the
most frequent. Each takes those of its rows that no rarer label has taken; of more than `max_images`, a stratified
sample. The columns are encoded as integers once, so that the time a label takes depends on its own rows only.

Rules for what "rarest first" leaves open:

* Labels with equal counts are ordered by text, then by the position of their column in `schema.LABEL_COLUMNS`.
* A label that two columns give to the same rows is one label, of the first of these columns.
* A text that two columns give to different rows is two classes: the column with more rows (then the first) keeps the
  text, the other class is called `text (column)`.
* In a column of `ambiguous.EXCLUSIVE_COLUMNS`, several values in one row exclude each other: `human|mouse|fly` is the
  organism of each image of a mixed source, which does not say which image shows which. The published rule (`labels`
  "published") takes each of them as a label, and the rarest becomes the class: 1,000 human and mouse nuclei were the
  class `fly`. The rule "unambiguous" does not take such a value as a label of its row. docs/sources.md has the numbers.
* The `alternatives` of a row are the names of the other classes whose label it has, by the same rule, sorted and joined
  by `|`: what else a classifier may answer. A label that did not become a class is none. So a value of an exclusive
  column with several values is an alternative by the published rule only.
* Samples are random in two steps. All rows are ordered by a hash of (seed, idx). The rows of a label with more than
  `max_images` are then permuted by numpy's generator, seeded with the index of the label. So a sample depends on the
  catalogue, the settings and the seed, not on the order, the chunks or the types in which rows arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from ..ambiguous import EXCLUSIVE_COLUMNS, values_of
from ..defaults import MAX_IMAGES, MIN_IMAGES
from ..errors import SchemaError, UsageError
from ..schema import LABEL_COLUMNS, SELECTION
from .alternatives import alternatives
from .count import Label, RowsOfLabels, count_labels
from .encode import Column, encode, row_order, to_arrow
from .stratified import Allocation, sample

PRESAMPLE = 10_000  # rows; labels with more are first sampled over coarse strata (preprint, 2.1)
COARSE_STRATA = ("name", "organism", "cell_type")
FINE_STRATA = ("organism", "cell_type", "cell_visible", "sirna", "compound", "phenotype")
ALLOCATIONS = ("proportional", "sqrt")
LabelRule = Literal["published", "unambiguous"]
REQUIRED_COLUMNS = ("idx", "name", *LABEL_COLUMNS)


class Ambiguous(NamedTuple):
    """Several values in one row of a column of which one value is true of a cell: the source does not say which.

    Parameters
    ----------
    column, text : str
        The values, joined by `|`, and their column.
    rows : int
        Rows that have them.
    """

    column: str
    text: str
    rows: int


@dataclass(frozen=True)
class Assignment:
    """The label of each row.

    Parameters
    ----------
    chosen : int32 array, shape (rows,)
        Index of the row's label in `labels`, or -1.
    has_label : bool array, shape (rows,)
        Whether the row has at least one label of `min_images` rows or more.
    labels : list of Label
        Those of fewer than `min_images` rows, then the others in the order in which they were visited.
    alternatives : DictionaryArray of str, shape (rows with a class,)
        The other classes of each row that has one, see `alternatives.alternatives`.
    ambiguous : list of Ambiguous
        Sorted by column and text, whether the rule takes them as labels or not.
    """

    chosen: NDArray[np.int32]
    has_label: NDArray[np.bool_]
    labels: list[Label]
    alternatives: pa.DictionaryArray
    ambiguous: list[Ambiguous]


def assign_labels(
    catalog: pd.DataFrame,
    *,
    min_images: int = MIN_IMAGES,
    max_images: int = MAX_IMAGES,
    seed: int = 0,
    allocation: Allocation = "proportional",
    labels: LabelRule = "published",
) -> pd.DataFrame:
    """Assign classes to the rows of a catalogue, the rarest label first.

    Parameters
    ----------
    catalog : DataFrame
        Rows of `schema.CATALOG`; at least `idx`, `name` and the label columns. Any text type; missing values are
        unknown.
    min_images : int
        Labels of fewer rows do not become a class.
    max_images : int
        Larger classes are downsampled to this many rows.
    seed : int
        Random seed of the samples of labels with more than `max_images` rows.
    allocation : "proportional" or "sqrt"
        How a sample is shared among its strata: in proportion to their sizes, or to the square roots of their sizes,
        which favours small strata.
    labels : "published" or "unambiguous"
        What several values in one row of `organism` or `cell_type` are: each a label of the row, as in the paper, or
        none of them, since the image shows only one. `cytoimagenet label` and `build` use "unambiguous" by default.

    Returns
    -------
    DataFrame
        The selected rows only, with the columns `label` and `category` first, sorted by label and idx. The result
        depends on the catalogue (as a set of rows), the settings and the seed.

    Raises
    ------
    SchemaError
        If a required column is absent or does not contain text.
    MetadataError
        If two rows have the same idx.
    UsageError
        If the settings contradict each other.

    Examples
    --------
    >>> import pandas as pd
    >>> empty = dict.fromkeys(REQUIRED_COLUMNS, "")
    >>> seen = {"idx": list("abcd"), "organism": "human", "cell_visible": ["nucleus", "nucleus|actin", "actin", ""]}
    >>> classes = assign_labels(pd.DataFrame(empty | seen), min_images=2)
    >>> classes[["label", "idx"]].values.tolist()
    [['actin', 'b'], ['actin', 'c'], ['human', 'a'], ['human', 'd']]
    """
    check_settings(min_images, max_images, allocation, labels)
    absent = [name for name in REQUIRED_COLUMNS if name not in catalog.columns]
    if absent:
        raise SchemaError(f"Columns absent: {', '.join(absent)}", where="catalogue")
    columns = {name: encode(to_arrow(catalog[name])) for name in REQUIRED_COLUMNS[1:]}
    order = row_order([to_arrow(catalog["idx"])], seed)
    result = assign(columns, order, min_images=min_images, max_images=max_images, allocation=allocation, rule=labels)
    picked = np.flatnonzero(result.chosen >= 0)
    kept = [name for name in SELECTION.names if name in catalog.columns]
    selection = catalog[kept].iloc[picked]
    texts = [name for name in kept if SELECTION.field(name).type == pa.string()]
    numbers = [name for name in kept if name not in texts]
    selection = selection.assign(**selection[texts].astype("str").fillna(""), **selection[numbers].astype("float64"))
    selection["alternatives"] = pd.Series(result.alternatives.to_pylist(), selection.index, dtype="str")
    chosen = [result.labels[i] for i in result.chosen[picked]]
    selection.insert(0, "label", pd.Series([label.name for label in chosen], selection.index, dtype="str"))
    selection.insert(1, "category", pd.Series([label.column for label in chosen], selection.index, dtype="str"))
    return selection.sort_values(["label", "idx"], ignore_index=True)


def check_settings(min_images: int, max_images: int, allocation: str, labels: str) -> None:
    """Raise `UsageError` if settings contradict each other."""
    if min_images < 1 or max_images < min_images:
        raise UsageError(
            f"min_images {min_images} and max_images {max_images}: 1 <= min_images <= max_images is required"
        )
    if allocation not in ALLOCATIONS:
        raise UsageError(f"allocation {allocation!r} is not one of {', '.join(ALLOCATIONS)}")
    if labels not in get_args(LabelRule):
        raise UsageError(f"labels {labels!r} is not one of {', '.join(get_args(LabelRule))}")


def assign(
    columns: Mapping[str, Column],
    order: NDArray[np.intp],
    *,
    min_images: int,
    max_images: int,
    allocation: Allocation = "proportional",
    rule: LabelRule = "published",
) -> Assignment:
    """Visit the labels, rarest first, and assign rows to each.

    Parameters
    ----------
    columns : mapping of name to Column
        `name` and the label columns, rows in any order.
    order : array, shape (rows,)
        The rows in random order, from `row_order`.
    min_images, max_images, allocation
        As `assign_labels`.
    rule : "published" or "unambiguous"
        As `labels` of `assign_labels`.

    Returns
    -------
    Assignment
        With the rows in the order of the columns.
    """
    in_order, columns = columns, {name: Column(c.codes[order], c.values) for name, c in columns.items()}
    left_out = EXCLUSIVE_COLUMNS if rule == "unambiguous" else ()
    rows_of = {name: RowsOfLabels(columns[name], several=name not in left_out) for name in LABEL_COLUMNS}
    labels, potential = count_labels(rows_of, min_images)
    free, has_label = np.ones(len(order), np.bool_), np.zeros(len(order), np.bool_)
    chosen = np.full(len(order), -1, np.int32)
    sampler = _Sampler(columns, max_images, allocation)
    for label in potential:
        rows = rows_of[label.column].rows(label.text)
        has_label[rows] = True
        left = rows[free[rows]]
        taken = sampler(left, label.column, len(labels)) if len(left) >= min_images else left[:0]
        free[taken] = False
        chosen[taken] = len(labels)
        labels.append(label._replace(left=len(left), images=len(taken)))
    chosen, has_label = _unshuffled(chosen, order), _unshuffled(has_label, order)
    others = alternatives(in_order, rows_of, labels, chosen)
    return Assignment(chosen, has_label, labels, others, _ambiguous(columns))


def _ambiguous(columns: Mapping[str, Column]) -> list[Ambiguous]:
    """Return the cells that name several values of which one is true, with their numbers of rows."""
    found = []
    for name in EXCLUSIVE_COLUMNS:
        column = columns[name]
        rows = np.bincount(column.codes, minlength=len(column.values))
        several = [code for code, value in enumerate(column.values) if "|" in value and len(values_of(value)) > 1]
        found += [Ambiguous(name, column.values[code], int(rows[code])) for code in several if rows[code]]
    return sorted(found)


class _Sampler:
    """The two samples of a label with too many rows. The coarse strata of all rows are computed once."""

    def __init__(self, columns: Mapping[str, Column], max_images: int, allocation: Allocation) -> None:
        self._columns, self._max, self._allocation = columns, max_images, allocation
        self._coarse: dict[tuple[str, ...], NDArray[np.intp]] = {}

    def __call__(self, rows: NDArray[np.uint32], own: str, number: int) -> NDArray[np.uint32]:
        used = {own}
        if len(rows) > max(PRESAMPLE, self._max):
            over = tuple(name for name in COARSE_STRATA if name != own)
            if over not in self._coarse:
                self._coarse[over] = self._combined(over, slice(None))
            rows = rows[sample(self._coarse[over][rows], PRESAMPLE, self._allocation)]
            used.update(over)
        if len(rows) > self._max:
            # permuted: the first sample leaves the rows of small strata, of which it took all, at the end
            rows = np.random.default_rng(number).permutation(rows)
            over = tuple(name for name in FINE_STRATA if name not in used)
            rows = rows[sample(self._combined(over, rows), self._max, self._allocation)]
        return rows

    def _combined(self, names: tuple[str, ...], rows: Any) -> NDArray[np.intp]:
        """Number the combinations of the values of several columns."""
        strata: NDArray[Any] = self._columns[names[0]].codes[rows]
        for name in names[1:]:
            column = self._columns[name]
            wide = strata.astype(np.int64) * len(column.values) + column.codes[rows]
            strata = pd.factorize(wide)[0]
        return strata


def _unshuffled(values: NDArray[Any], order: NDArray[np.intp]) -> NDArray[Any]:
    """Return values, given in random order, in the order of the rows."""
    unshuffled = np.empty_like(values)
    unshuffled[order] = values
    return unshuffled
