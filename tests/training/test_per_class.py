"""The table of classes and its summary, by hand-made numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.loaders.index import Index
from cytoimagenet.training.confusion import Confusion
from cytoimagenet.training.per_class import per_class, summarise

EMPTY = np.empty(0, np.int64)
INDEX = Index(
    "", "", "train", ("actin", "dmso", "yeast", "u2os"), ("stain", "compound", "organism", "stain"), (),
    EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, 0,
)  # fmt: skip
TRAINED = replace(INDEX, label=np.array([0, 0, 0, 1, 3, 3]))
VALIDATION = replace(INDEX, label=np.array([0, 0, 1, 1, 1, 1, 3]))
# rows are labels, columns answers; there is no image of yeast
CONFUSION = Confusion(
    np.array([[1, 0, 1, 0], [1, 1, 0, 2], [0, 0, 0, 0], [0, 1, 0, 0]]),
    in_top_k=np.array([2, 3, 0, 0]),
    loss=14.0,
    any_label=np.array([2, 1, 0, 1]),
)


def test_the_table_of_classes():
    table = per_class(INDEX, CONFUSION, trained=TRAINED, validation=VALIDATION).set_index("label")
    assert table.index.tolist() == ["actin", "dmso", "yeast", "u2os"]
    assert table["category"].tolist() == ["stain", "compound", "organism", "stain"]
    assert table["train"].tolist() == [3, 1, 0, 2]
    assert table["validation"].tolist() == [2, 4, 0, 1]
    assert table["evaluated"].tolist() == [2, 4, 0, 1]
    assert table["right"].tolist() == [1, 1, 0, 0]
    assert table["accuracy"].drop("yeast").tolist() == [0.5, 0.25, 0.0]
    assert table["accuracy_any_label"].drop("yeast").tolist() == [1.0, 0.25, 1.0]
    assert table["top7"].drop("yeast").tolist() == [1.0, 0.75, 0.0]
    assert table["taken_for"].tolist() == ["yeast", "u2os", "", "dmso"]
    assert table["taken_for_share"].drop("yeast").tolist() == [0.5, 0.5, 1.0]
    assert table.loc["yeast", ["accuracy", "top7", "taken_for_share"]].isna().all()


def test_without_validation_images_their_number_is_0():
    table = per_class(INDEX, CONFUSION, trained=TRAINED, validation=None)
    assert table["validation"].tolist() == [0, 0, 0, 0]


def test_a_class_that_is_always_right_is_taken_for_nothing():
    perfect = Confusion(np.diag([2, 4, 1, 1]), np.array([2, 4, 1, 1]), 0.0)
    table = per_class(INDEX, perfect, trained=TRAINED, validation=VALIDATION)
    assert table["taken_for"].tolist() == [""] * 4
    assert table["taken_for_share"].tolist() == [0.0] * 4


def test_summary_counts_classes_without_a_right_answer():
    table = per_class(INDEX, CONFUSION, trained=TRAINED, validation=VALIDATION)
    assert summarise(table) == {
        "classes": 3,  # yeast has no evaluated image
        "nothing_right": 1,  # u2os
        "categories": {
            "compound": {"classes": 1, "nothing_right": 0, "accuracy": 0.25},
            "stain": {"classes": 2, "nothing_right": 1, "accuracy": 0.25},
        },
    }


def test_summary_of_a_table_without_evaluated_images():
    table = pd.DataFrame({"category": ["stain"], "evaluated": [0], "right": [0], "accuracy": [math.nan]})
    assert summarise(table) == {"classes": 0, "nothing_right": 0, "categories": {}}


def test_metrics_are_means_over_the_images():
    # 7 images, 2 right, summed loss 14; of four classes every answer is among the seven most probable ones
    assert CONFUSION.metrics() == {"loss": 2.0, "accuracy": pytest.approx(2 / 7), "accuracy_any_label": 4 / 7}
    eight = Confusion(np.eye(8, dtype=np.int64), np.arange(8) % 2, 8.0)
    assert eight.metrics() == {"loss": 1.0, "accuracy": 1.0, "accuracy_any_label": 1.0, "top7": 0.5}
    assert Confusion(np.zeros((2, 2), np.int64), np.zeros(2, np.int64), 0.0).metrics()["accuracy"] == 0
