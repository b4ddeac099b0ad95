"""The protocol of CYCLoPs on cells on a line."""

from __future__ import annotations

import numpy as np
import pandas as pd
from cytoimagenet.eval.protocols import cyclops
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.tables.feature_table import FeatureTable

AS_IS = EvaluationSettings(standardise="none", probe=False)


def cells(classes, **keys):
    """Return 12 cells of each class, at the position of the class."""
    label = np.repeat(list(classes), 12)
    values = np.repeat(np.array(list(classes.values()), float), 12)[:, None]
    ids = [f"cell {i}" for i in range(len(label))]
    return FeatureTable(pd.DataFrame({"id": ids, "label": label}).assign(**keys), values, ["f"], "here")


def test_each_cell_is_classified_by_the_others():
    table = cells({"ER": 0, "Golgi": 10})
    table.values[0] = 9.0  # its 11 nearest others are the Golgi cells
    (entry, predictions), (control, _) = cyclops.score(table, AS_IS)
    assert predictions["predicted"].tolist() == ["Golgi"] + ["ER"] * 11 + ["Golgi"] * 12
    assert (entry["score"], entry["correct"], entry["n"], entry["bootstrap"]) == ("knn", 23, 24, None)
    assert (control["score"], control["of"], control["chance"]) == ("shuffled", "knn", 0.5)


def test_spindlepole_counts_as_spindle_and_is_also_scored_separately():
    table = cells({"SPINDLE": 0, "SPINDLEPOLE": 10, "ER": 50})
    table.values[12] = 1.0  # a SPINDLEPOLE cell among those of SPINDLE
    found = {entry["score"]: entry for entry, _ in cyclops.score(table, AS_IS)}
    assert found["knn"]["confusion"]["labels"] == ["ER", "SPINDLE"]
    assert (found["knn"]["correct"], found["knn-17"]["correct"], found["knn"]["n"]) == (36, 35, 36)
    assert found["knn-17"]["confusion"]["labels"] == ["ER", "SPINDLE", "SPINDLEPOLE"]


def test_the_folder_of_a_cell_decides_before_its_label():
    table = cells({"SPINDLE": 0, "ER": 50}, folder=np.repeat(["SPINDLEPOLE", "ER"], 12))
    found = [entry["score"] for entry, _ in cyclops.score(table, AS_IS)]
    assert found == ["knn", "knn-17", "shuffled"]


def test_the_probe_has_as_many_folds_as_the_smallest_class_allows():
    table = cells({"ER": 0, "Golgi": 10})
    entry, _ = cyclops.score(table, EvaluationSettings(standardise="all"))[-1]
    assert (entry["score"], entry["correct"], entry["settings"]["folds"]) == ("probe", 24, "5 stratified")
    keys = table.keys.iloc[[0, *range(12, 24)]]
    single = FeatureTable(keys.reset_index(drop=True), table.values[keys.index], ["f"], "here")
    assert [e["score"] for e, _ in cyclops.score(single, EvaluationSettings(standardise="all"))] == ["knn", "shuffled"]
