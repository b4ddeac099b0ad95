"""The protocol of COOS-7 on cells on a line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.protocols import coos7
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.tables.feature_table import FeatureTable

AS_IS = EvaluationSettings(standardise="none", probe=False)


def cells(tests, **keys):
    """Return six training cells of x at 0 and six of y at 10, and test cells (split, label, position)."""
    rows = [("train", "x", 0.0)] * 6 + [("train", "y", 10.0)] * 6 + tests
    table = pd.DataFrame(rows, columns=["split", "label", "position"])
    values = table.pop("position").to_numpy()[:, None]
    table["id"] = [f"cell {i}" for i in range(len(table))]
    return FeatureTable(table.assign(**keys), values, ["f"], "here")


def test_each_test_set_is_classified_by_the_training_cells():
    tests = [("test1", "x", 1.0), ("test1", "x", 9.0), ("test3", "y", 8.0)]
    found = {(e["split"], e["score"]): (e, predictions) for e, predictions in coos7.score(cells(tests), AS_IS)}
    assert sorted(found) == [("test1", "knn"), ("test1", "shuffled"), ("test3", "knn"), ("test3", "shuffled")]
    # of the 11 nearest training cells, 6 are of the nearer class and 5 of the other
    entry, predictions = found["test1", "knn"]
    assert predictions.to_dict("list") == {
        "id": ["cell 12", "cell 13"],
        "label": ["x", "x"],
        "predicted": ["x", "y"],
        "group": ["", ""],
    }
    assert (entry["correct"], entry["n"], entry["bootstrap"]) == (1, 2, None)
    assert entry["settings"] == {"metric": "euclidean", "k": 11, "features": 1, "dropped": 0}
    assert found["test3", "knn"][0]["correct"] == 1
    assert found["test1", "shuffled"][0]["chance"] == 1.0  # both test cells are x


def test_wells_are_the_groups_of_the_bootstrap_where_all_are_known():
    tests = [("test1", "x", 1.0), ("test1", "x", 9.0), ("test1", "y", 9.0)]
    well = ["w"] * 12 + ["w1", "w2", "w2"]
    entry, predictions = coos7.score(cells(tests, date="1", plate="2", well=well), AS_IS)[0]
    assert predictions["group"].tolist() == ["1 2 w1", "1 2 w2", "1 2 w2"]
    assert (entry["bootstrap"]["groups"], entry["bootstrap"]["n_groups"]) == ("wells", 2)
    well[-1] = ""
    assert coos7.score(cells(tests, well=well), AS_IS)[0][0]["bootstrap"] is None


def test_train_is_scaled_by_the_training_cells_alone():
    tests = [("test1", "x", 1000.0)]
    entry, _ = coos7.score(cells(tests), EvaluationSettings(standardise="train", probe=True))[-1]
    assert (entry["score"], entry["correct"]) == ("probe", 0)
    assert entry["settings"]["metric"] is None and entry["settings"]["k"] is None


def test_consecutive_rows_become_a_slice():
    assert coos7._rows(np.array([False, True, True, False])) == slice(1, 3)
    assert coos7._rows(np.array([True, False, True])).tolist() == [0, 2]


@pytest.mark.parametrize("split", [["train"] * 13, ["test1"] * 13])
def test_training_and_test_cells_are_needed(split):
    with pytest.raises(UsageError, match="needs cells of train and of at least one"):
        coos7.score(cells([("test1", "x", 1.0)], split=split), AS_IS)
