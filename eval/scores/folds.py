"""How samples are divided into those a classifier is fitted on and those it is scored on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...builder.errors import UsageError
from .probe import FOLDS, leave_group_out

if TYPE_CHECKING:
    from numpy.typing import NDArray

TRAIN = "train"
MAX_GROUPS_LEFT_OUT = 10  # with more groups, five folds of groups
MAX_NAMES = 5  # in a remark or an error
LEAK = "Neighbours may leak: samples of one well, donor or slide may be on both sides, and the score may be too high."


@dataclass(frozen=True)
class Fit:
    """One fit and the samples it is scored on.

    Attributes
    ----------
    train : int array
        Rows it is fitted on, in increasing order.
    tests : dict of str to int array
        Rows it is scored on, in increasing order, by the name of the test set; "" in cross-validation.
    """

    train: NDArray[np.int64]
    tests: dict[str, NDArray[np.int64]]


@dataclass(frozen=True)
class Folds:
    """A division of all samples.

    Attributes
    ----------
    fits : list of Fit
        In cross-validation every sample is in exactly one test set.
    words : str
        The division in words, written to the settings of a score.
    remarks : list of str
        What a reader of the score must know, as sentences.
    """

    fits: list[Fit]
    words: str
    remarks: list[str]


def divide(labels: NDArray[Any], groups: NDArray[Any], splits: NDArray[Any], seed: int = 0) -> Folds:
    """Divide samples by their split, else by their group, else by stratified folds.

    Parameters
    ----------
    labels : array of str, shape (n,)
    groups : array of str, shape (n,)
        What must not be on both sides: plate, donor, slide, movie. "" for all if not known.
    splits : array of str, shape (n,)
        `train` and the names of test sets. "" for all if there are none.
    seed : int
        Random seed of the folds.

    Returns
    -------
    Folds
        With splits: fitted on `train`, scored on every other split. With at most `MAX_GROUPS_LEFT_OUT` groups: each
        group is left out once. With more: `FOLDS` folds of an equal number of groups. Without groups: `FOLDS` folds
        with equal shares of every class.

    Raises
    ------
    UsageError
        If a sample has no group or split and others have, nothing is called `train`, there is nothing else, or no class
        has two samples.

    Examples
    --------
    >>> none = np.full(4, "")
    >>> found = divide(np.array(["x", "y", "x", "y"]), np.array(["a", "a", "b", "b"]), none)
    >>> found.words, [fit.tests[""].tolist() for fit in found.fits]
    ('leave one of 2 groups out', [[0, 1], [2, 3]])
    """
    if (splits != "").any():
        return _by_split(labels, groups, splits)
    names = np.unique(groups)
    if len(names) > 1:
        _all_known(groups, "group")
        return _by_group(labels, groups, names, seed)
    why = f"All samples are of one group, {names[0]}" if names[0] else "No groups are known"
    return _stratified(labels, seed, [f"{why}. {LEAK}"])


def _by_split(labels: NDArray[Any], groups: NDArray[Any], splits: NDArray[Any]) -> Folds:
    _all_known(splits, "split")
    names = [str(name) for name in np.unique(splits)]
    tests = [name for name in names if name != TRAIN]
    if TRAIN not in names or not tests:
        raise UsageError(
            f"The splits are {_listed(names)}",
            where="split",
            next="Call one of them train: it is fitted on `train` and scored on every other split"
            if TRAIN not in names
            else "Name the test samples, or leave the column out: then folds are used",
        )
    train = np.flatnonzero(splits == TRAIN)
    remarks = []
    for name in tests:
        here = splits == name
        shared = sorted(set(groups[train]) & set(groups[here]) - {""})
        if shared:
            remarks.append(f"Groups in both train and {name}: {_listed(shared)}. {LEAK}")
        unknown = sorted(set(labels[here]) - set(labels[train]))
        if unknown:
            remarks.append(f"Classes of {name} that are not in train count as wrong: {_listed(unknown)}.")
    fit = Fit(train, {name: np.flatnonzero(splits == name) for name in tests})
    return Folds([fit], "fitted on train", remarks)


def _by_group(labels: NDArray[Any], groups: NDArray[Any], names: NDArray[Any], seed: int) -> Folds:
    from sklearn.model_selection import GroupKFold

    _, group = np.unique(groups, return_inverse=True)
    if len(names) <= MAX_GROUPS_LEFT_OUT:
        pairs = leave_group_out(group)
        words = f"leave one of {len(names)} groups out"
    else:
        pairs = GroupKFold(FOLDS, shuffle=True, random_state=seed).split(group, groups=group)
        words = f"{FOLDS} folds of {len(names)} groups"
    classes, label = np.unique(labels, return_inverse=True)
    found_together = np.unique(label * len(names) + group)
    alone = classes[np.bincount(found_together // len(names)) == 1].tolist()
    remarks = []
    if alone:
        remarks.append(f"Classes in one group only can't be learnt without it and count as wrong: {_listed(alone)}.")
    return Folds([_fit(*pair) for pair in pairs], words, remarks)


def _stratified(labels: NDArray[Any], seed: int, remarks: list[str]) -> Folds:
    from sklearn.model_selection import StratifiedKFold

    classes, count = np.unique(labels, return_counts=True)
    folds = min(FOLDS, int(count.max()))
    if folds < 2:
        raise UsageError("No class has two samples: none can be recognised by another one")
    single = classes[count == 1].tolist()
    if single:
        remarks.append(f"Classes with a single sample count as wrong: {_listed(single)}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer samples than folds
        pairs = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(np.zeros(len(labels)), labels))
    return Folds([_fit(*pair) for pair in pairs], f"{folds} stratified folds", remarks)


def _fit(train: NDArray[np.integer], test: NDArray[np.integer]) -> Fit:
    return Fit(np.asarray(train, np.int64), {"": np.asarray(test, np.int64)})


def _all_known(names: NDArray[Any], what: str) -> None:
    empty = np.flatnonzero(names == "")
    if len(empty):
        raise UsageError(
            f"{len(empty):,} of {len(names):,} samples have no {what}, the first is number {empty[0] + 1}",
            where=what,
            next=f"Give every sample a {what}, or none",
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
