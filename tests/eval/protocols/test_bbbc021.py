"""The protocol of BBBC021 on a screen of six treatments whose neighbours can be read off their angles."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import CheckFailedError
from cytoimagenet.eval.protocols import bbbc021
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.tables.feature_table import FeatureTable

AS_IS = EvaluationSettings(standardise="none", probe=False)
TREATMENTS = [
    # compound, concentration, mechanism, batch, angle in degrees: similarity is the cosine of the difference of angles
    ("A", 1.0, "m1", "Week1", 0),
    ("A", 2.0, "m1", "Week2", 1),
    ("B", 1.0, "m1", "Week1", 10),
    ("C", 1.0, "m2", "Week1", 14),
    ("D", 1.0, "m2", "Week2", 40),
    ("E", 1.0, "m3", "Week1", 100),
]


def screen(treatments=TREATMENTS, **more):
    keys = pd.DataFrame(treatments, columns=["compound", "concentration", "label", "batch", "angle"])
    angle = np.deg2rad(keys.pop("angle").to_numpy(float))
    values = np.column_stack([np.cos(angle), np.sin(angle)])
    return FeatureTable(keys.assign(id=[f"row {i}" for i in range(len(keys))], **more), values, ["x", "y"], "here")


def scores(features, settings=AS_IS):
    return {entry["score"]: (entry, predictions) for entry, predictions in bbbc021.score(features, settings)}


def test_nsc_by_hand():
    entry, predictions = scores(screen())["nsc"]
    assert predictions["id"].tolist() == ["A 1", "A 2", "B 1", "C 1", "D 1", "E 1"]
    # A 1 and A 2 find B, not each other; B finds C at 4 degrees; C finds B; D finds C; E finds D
    assert predictions["predicted"].tolist() == ["m1", "m1", "m2", "m1", "m2", "m2"]
    assert (entry["correct"], entry["n"], entry["unclassified"]) == (3, 6, 0)
    assert predictions["candidates"].tolist() == [4, 4, 5, 5, 5, 5]
    assert predictions["group"].tolist() == ["A", "A", "B", "C", "D", "E"]
    assert entry["settings"] == {"metric": "cosine", "k": 1, "features": 2, "dropped": 0}
    assert (entry["bootstrap"]["groups"], entry["bootstrap"]["n_groups"]) == ("compounds", 5)


def test_nscb_by_hand():
    entry, predictions = scores(screen())["nscb"]
    # E is left out: its mechanism was tested in one week only. A 1 has only D in the other week
    assert predictions["id"].tolist() == ["A 1", "A 2", "B 1", "C 1", "D 1"]
    assert predictions["predicted"].tolist() == ["m2", "m1", "m1", "m1", "m2"]
    assert (entry["correct"], entry["n"]) == (3, 5)
    assert predictions["candidates"].tolist() == [1, 2, 2, 2, 3]
    assert entry["settings"]["left_out"] == 1


def test_a_treatment_without_candidates_is_unclassified():
    only = [("A", 1.0, "m1", "Week1", 0), ("B", 1.0, "m1", "Week1", 5), ("A", 2.0, "m1", "Week2", 9)]
    entry, predictions = scores(screen(only))["nscb"]
    assert predictions["predicted"].tolist() == ["", "m1", "m1"]
    assert (entry["unclassified"], entry["correct"], entry["n"]) == (1, 2, 3)
    assert predictions["candidates"].tolist() == [0, 1, 1]


def test_there_is_no_nscb_without_batches_or_with_one():
    features = screen()
    one = screen([(*row[:3], "Week1", row[4]) for row in TREATMENTS])
    bare = FeatureTable(features.keys.drop(columns="batch"), features.values, features.names, features.source)
    for table in (bare, one):
        assert "nscb" not in scores(table)


def test_rows_with_a_mechanism_in_several_batches():
    table = pd.DataFrame({"label": ["m", "m", "n", "n", "o"], "batch": ["1", "2", "1", "1", "3"]})
    assert bbbc021.in_several_batches(table).tolist() == [0, 1]
    assert bbbc021.in_several_batches(table[["label"]]).tolist() == []


def test_mean_average_precision_by_hand():
    entry, _ = scores(screen())["map"]
    # rankings of the others by angle, without those of the same compound; + has the same mechanism
    # A 1: B+ C D E -> 1; A 2: the same -> 1; B: C A2+ A1+ D E -> (1/2 + 2/3) / 2; C: B A2 A1 D+ E -> 1/4
    # D: C+ ... -> 1; E has no other compound with its mechanism
    values = [1, 1, (1 / 2 + 2 / 3) / 2, 1 / 4, 1]
    assert entry["n"] == 5
    assert entry["value"] == pytest.approx(np.mean(values))
    by_class = {c["label"]: (c["n"], c["accuracy"]) for c in entry["by_class"]}
    assert by_class == {"m1": (3, pytest.approx(np.mean(values[:3]))), "m2": (2, pytest.approx(np.mean(values[3:])))}


def test_profiles_are_means_of_standardised_rows_without_dmso():
    keys = pd.DataFrame(
        {
            "id": list("abcdef"),
            "compound": ["DMSO", "DMSO", "x", "x", "y", "y"],
            "concentration": [0.0, 0.0, 1.0, 1.0, 1.0, 1.0],
            "label": ["DMSO", "DMSO", "m", "m", "n", "n"],
            "plate": ["p"] * 6,
            "well": ["A01", "A02", "B01", "B02", "C01", "C02"],
        }
    )
    features = FeatureTable(keys, np.array([[1.0], [3.0], [6.0], [8.0], [2.0], [4.0]]), ["f"], "here")

    def profile(standardisation):
        return bbbc021.make_profiles(features, AS_IS, standardisation)

    assert profile("none").values.ravel().tolist() == [7.0, 3.0]
    assert profile("none").table["rows"].tolist() == [2, 2]
    # the four treated rows have the mean 5 and the deviation sqrt(5); DMSO is dropped first
    assert profile("all").values.ravel() == pytest.approx(np.array([2, -2]) / np.sqrt(5))
    # the DMSO wells have the mean 2 and the deviation sqrt(2) (ddof 1)
    assert profile("plate-dmso").values.ravel() == pytest.approx(np.array([5, 1]) / np.sqrt(2))
    alternatives = dict(bbbc021.score_alternatives(features, EvaluationSettings(standardise="all")))
    assert list(alternatives) == ["none", "plate-dmso"]
    assert [entry["score"] for entry, _ in alternatives["none"]] == ["nsc"]
    no_plates = FeatureTable(keys.drop(columns="plate"), features.values, features.names, "here")
    assert bbbc021.score_alternatives(no_plates, AS_IS) == []


def test_one_treatment_is_too_few():
    with pytest.raises(CheckFailedError, match="1 treatments"):
        bbbc021.score(screen(TREATMENTS[:1]), AS_IS)
