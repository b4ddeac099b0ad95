"""The authors' two label subsets, and how an index is restricted to one of them."""

from __future__ import annotations

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.subsets import LABEL_SUBSETS


def test_subsets_have_20_and_50_distinct_labels():
    assert {name: len(labels) for name, labels in LABEL_SUBSETS.items()} == {"toy20": 20, "toy50": 50}
    assert all(len(set(labels)) == len(labels) for labels in LABEL_SUBSETS.values())


def test_labels_have_no_stray_white_space():
    for labels in LABEL_SUBSETS.values():
        assert all(label and label == " ".join(label.split()) for label in labels)


def test_labels_with_several_words_are_kept_together():
    assert "rho associated kinase inhibitor" in LABEL_SUBSETS["toy20"]
    assert "voltage-gated potassium channel blocker" in LABEL_SUBSETS["toy50"]


def test_a_named_subset_leaves_out_labels_that_the_dataset_lacks(small_dataset):
    index = read_index(small_dataset, labels="toy20")
    assert index.class_names == ("actin", "human")
    assert set(index.class_names) <= set(LABEL_SUBSETS["toy20"])


def test_a_list_of_labels_must_be_complete(small_dataset):
    with pytest.raises(UsageError, match="No class 'yeast'"):
        read_index(small_dataset, labels=["actin", "yeast"])
    with pytest.raises(UsageError, match="No class 'toy21'"):
        read_index(small_dataset, labels="toy21")
