"""How samples are divided: by hand, as properties of random tables, and what can't be divided."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.scores.folds import FOLDS, LEAK, divide
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.lists(st.sampled_from("abcdefghijklmnopqrst"), min_size=2, max_size=80)


def texts(values):
    return np.array(list(values), dtype=str)


def none(n):
    return np.full(n, "", dtype="<U1")


def sides(folds):
    return [(one.train.tolist(), {name: rows.tolist() for name, rows in one.tests.items()}) for one in folds.fits]


def test_a_split_is_fitted_on_train_and_scored_on_every_other():
    split = texts(["late", "train", "day 2", "train", "late"])
    found = divide(texts("xyxyx"), none(5), split)
    assert sides(found) == [([1, 3], {"day 2": [2], "late": [0, 4]})]
    assert found.words == "fitted on train"
    assert found.remarks == [
        "Classes of day 2 that are not in train count as wrong: x.",
        "Classes of late that are not in train count as wrong: x.",
    ]


def test_a_split_is_preferred_to_groups_and_shared_groups_are_named():
    split = texts(["train", "train", "test", "test"])
    found = divide(texts("xyxy"), texts(["g1", "g2", "g2", "g3"]), split)
    assert sides(found) == [([0, 1], {"test": [2, 3]})]
    assert found.remarks == [f"Groups in both train and test: g2. {LEAK}"]
    assert divide(texts("xyxy"), texts(["g1", "g2", "g3", "g3"]), split).remarks == []


def test_up_to_ten_groups_are_left_out_one_by_one():
    groups = texts([f"g{i % 10}" for i in range(40)])
    found = divide(texts(["x", "y"] * 20), groups, none(40))
    assert found.words == "leave one of 10 groups out"
    assert [sorted(set(groups[one.tests[""]])) for one in found.fits] == [[f"g{i}"] for i in range(10)]


def test_eleven_groups_are_five_folds():
    groups = texts([f"g{i % 11:02d}" for i in range(44)])
    found = divide(texts(["x", "y"] * 22), groups, none(44), seed=3)
    assert found.words == "5 folds of 11 groups"
    # numpy's legacy generator shuffles the sorted names; the folds are consecutive parts of it
    order = np.random.RandomState(3).permutation(11)
    expected = [sorted(part.tolist()) for part in np.array_split(order, 5)]
    assert [sorted({int(g[1:]) for g in groups[one.tests[""]]}) for one in found.fits] == expected
    other = divide(texts(["x", "y"] * 22), groups, none(44), seed=4)
    assert sides(other) != sides(found)
    assert sides(divide(texts(["x", "y"] * 22), groups, none(44), seed=3)) == sides(found)


def test_without_groups_five_folds_have_equal_shares_of_every_class():
    labels = texts(["x"] * 50 + ["y"] * 10)
    found = divide(labels, none(60), none(60))
    assert found.words == "5 stratified folds"
    assert found.remarks == [f"No groups are known. {LEAK}"]
    for one in found.fits:
        assert sorted(labels[one.tests[""]].tolist()) == ["x"] * 10 + ["y"] * 2
    assert sides(divide(labels, none(60), none(60), seed=1)) != sides(found)


def test_one_group_is_no_group():
    found = divide(texts("xyxy"), texts(["p1"] * 4), none(4))
    assert found.words == "2 stratified folds"
    assert found.remarks[0] == f"All samples are of one group, p1. {LEAK}"


def test_classes_that_can_never_be_right_are_named():
    found = divide(texts("xxxxxyz"), none(7), none(7))
    assert found.words == "5 stratified folds"
    assert found.remarks[1:] == ["Classes with a single sample count as wrong: y, z."]
    grouped = divide(texts("xxxy"), texts("abcc"), none(4))
    assert grouped.remarks == ["Classes in one group only can't be learnt without it and count as wrong: y."]
    many = divide(texts(list("xx") + [f"c{i}" for i in range(8)]), texts(["a", "b"] + ["c"] * 8), none(10))
    assert many.remarks[0].endswith("c0, c1, c2, c3, c4 and 3 more.")


@given(NAMES, st.data())
def test_a_group_is_never_on_both_sides_and_every_sample_is_scored_once(groups, data):
    groups = texts(groups)
    labels = texts(data.draw(st.lists(st.sampled_from("xyz"), min_size=len(groups), max_size=len(groups))))
    seed = data.draw(st.integers(0, 5))
    if len(set(groups)) == 1:
        return
    found = divide(labels, groups, none(len(groups)), seed)
    scored = np.concatenate([one.tests[""] for one in found.fits])
    assert sorted(scored.tolist()) == list(range(len(groups)))
    assert len(found.fits) == (len(set(groups)) if len(set(groups)) <= 10 else FOLDS)
    for one in found.fits:
        test = one.tests[""]
        assert len(test) and not set(groups[one.train]) & set(groups[test])
        assert sorted([*one.train.tolist(), *test.tolist()]) == list(range(len(groups)))
        assert (np.diff(one.train) > 0).all() and (np.diff(test) > 0).all()


@given(st.lists(st.sampled_from("xyz"), min_size=4, max_size=60), st.integers(0, 5))
def test_stratified_folds_score_every_sample_once(labels, seed):
    labels = texts(labels)
    counts = np.unique(labels, return_counts=True)[1]
    found = divide(labels, none(len(labels)), none(len(labels)), seed)
    assert len(found.fits) == min(FOLDS, counts.max())
    assert sorted(np.concatenate([one.tests[""] for one in found.fits]).tolist()) == list(range(len(labels)))
    for one in found.fits:
        assert not set(one.train) & set(one.tests[""])


@pytest.mark.parametrize(
    ("labels", "groups", "splits", "message"),
    [
        ("xyxy", ["a", "", "b", "b"], None, "1 of 4 samples have no group, the first is number 2"),
        ("xyxy", None, ["train", "test", "", ""], "2 of 4 samples have no split, the first is number 3"),
        ("xyxy", None, ["Train", "test", "test", "test"], "The splits are Train, test"),
        ("xyxy", None, ["train"] * 4, "The splits are train"),
        ("wxyz", None, None, "No class has two samples"),
    ],
)
def test_what_cannot_be_divided(labels, groups, splits, message):
    n = len(labels)
    with pytest.raises(UsageError, match=message) as caught:
        divide(
            texts(list(labels)),
            none(n) if groups is None else texts(groups),
            none(n) if splits is None else texts(splits),
        )
    assert caught.value.next or "No class" in message
