"""Rows of a table are matched to samples by id."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.sets.samples import Samples
from cytoimagenet.eval.tables.align import align_cells
from cytoimagenet.eval.tables.feature_table import FeatureTable

SAMPLES = Samples(
    "coos7",
    Path("here"),
    pd.DataFrame({"id": ["a", "b", "c"], "label": ["x", "y", "x"], "split": ["train", "train", "test1"]}),
    ("grey",),
    (4, 4),
)


def table(ids, **keys):
    return FeatureTable(pd.DataFrame({"id": list(ids), **keys}), np.arange(len(ids), dtype=float)[:, None], ["f"], "t")


def aligned(features, samples=SAMPLES):
    return align_cells(features, samples, task="coos7", columns=("label", "split"))


def test_rows_come_in_the_order_of_the_samples_and_others_are_left_out():
    found = aligned(table("zcab"))
    assert found.values.ravel().tolist() == [2, 3, 1]
    assert found.keys.to_dict("list") == SAMPLES.table.to_dict("list")


def test_a_table_in_the_order_of_the_samples_is_not_copied():
    features = table("abc")
    assert aligned(features).values is features.values


def test_without_samples_the_table_contains_its_labels():
    own = aligned(table("ab", label=["x", "y"], split=["train", "test1"]), None)
    assert own.keys["label"].tolist() == ["x", "y"]
    no_ids = FeatureTable(pd.DataFrame({"label": ["x"], "split": ["train"]}), np.zeros((1, 1)), ["f"], "t")
    assert aligned(no_ids, None).keys["id"].tolist() == ["row 0"]
    assert "id" not in no_ids.keys  # the table given is not changed


@pytest.mark.parametrize(
    ("features", "samples", "message"),
    [
        (table("xyz"), SAMPLES, "needs a column `id` that names the samples of coos7, such as 'a'"),
        (table("ab"), SAMPLES, "1 samples of the metadata have no row in the table: c"),
        (table("abca"), SAMPLES, "1 rows repeat the id of another row, the first is 'a'"),
        (table("ab", label=["x", "y"]), None, "The table has no split, and no metadata was given"),
        (table("aa", label="x", split="train"), None, "1 rows repeat the id"),
    ],
)
def test_a_mismatch_is_reported(features, samples, message):
    with pytest.raises(UsageError, match=message) as caught:
        aligned(features, samples)
    assert caught.value.where == "t"


def test_an_error_names_five_samples_at_most():
    many = Samples("t", Path(), pd.DataFrame({"id": list("abcdefgh"), "label": "x"}), ("grey",), (4, 4))
    with pytest.raises(UsageError, match=r"7 samples .*: b, c, d, e, f and 2 more"):
        align_cells(table("a"), many, task="t")
