"""Entries of results.json from predictions, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cytoimagenet.eval.protocols.entries import bootstrap, control, scored
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.scores.intervals import wilson

SETTINGS = EvaluationSettings(seed=3)


def test_an_entry_of_three_predictions():
    true, predicted = np.array([0, 0, 1]), np.array([0, 1, -1])
    entry, table = scored("knn", ["a", "b", "c"], true, predicted, ["ER", "Golgi"], SETTINGS, {"k": 11}, split="test1")
    assert (entry["score"], entry["split"], entry["settings"]) == ("knn", "test1", {"k": 11})
    assert (entry["value"], entry["correct"], entry["n"], entry["unclassified"]) == (pytest.approx(1 / 3), 1, 3, 1)
    assert (entry["macro"], entry["confusion"]["counts"]) == (0.25, [[1, 1, 0], [0, 0, 1]])
    low, high = wilson(1, 3)
    assert entry["interval"] == {"method": "Wilson", "level": 0.95, "low": low, "high": high}
    assert entry["bootstrap"] is None
    assert table.to_dict("list") == {
        "id": ["a", "b", "c"],
        "label": ["ER", "ER", "Golgi"],
        "predicted": ["ER", "Golgi", ""],
        "group": ["", "", ""],
    }


def test_groups_add_a_bootstrap_and_a_column():
    true, groups = np.array([0, 0, 1]), np.array([7, 7, 8])
    entry, table = scored(
        "nsc", list("abc"), true, true, ["x", "y"], SETTINGS, {}, groups=groups, grouped_by="compounds"
    )
    assert table["group"].tolist() == ["7", "7", "8"]
    assert entry["bootstrap"] == {
        **{"groups": "compounds", "n_groups": 2, "draws": 2000, "seed": 3, "level": 0.95},
        **{"low": None, "high": None},  # too few groups
    }
    groups = np.arange(5)
    right = np.zeros(5, int)
    entry, _ = scored("nsc", list("abcde"), right, right, ["x"], SETTINGS, {}, groups=groups, grouped_by="compounds")
    assert (entry["bootstrap"]["low"], entry["bootstrap"]["high"]) == (1.0, 1.0)
    # one group is all right, the other all wrong: a resample of two groups scores 0, 2/3 or 1
    half = bootstrap(np.array([True, True, False]), np.array([7, 7, 8]), "compounds", SETTINGS)
    assert (half["low"], half["high"]) == (0.0, 1.0)


def test_a_control_names_the_score_it_controls():
    entry, predictions = control({"value": 0.1, "n": 9}, {"k": 1}, "nsc", split="s")
    assert predictions is None
    assert entry == {
        **{"score": "shuffled", "split": "s", "of": "nsc", "correct": None, "bootstrap": None},
        **{"value": 0.1, "n": 9, "settings": {"k": 1}},
    }
