"""Rows of a table for BBBC021 are matched by image, well or treatment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.sets.samples import Samples
from cytoimagenet.eval.tables.align_treatments import align_treatments
from cytoimagenet.eval.tables.feature_table import FeatureTable

SCREEN = pd.DataFrame(
    [
        # plate, well, compound, concentration, label
        ("Week1_100", "B02", "taxol", 0.3, "stabilizer"),
        ("Week2_200", "B02", "taxol", 0.3, "stabilizer"),
        ("Week1_100", "C05", "AZ-A", 1.0, "aurora"),
        ("Week2_200", "C05", "AZ-B", 1.0, "aurora"),
        ("Week1_100", "D06", "DMSO", 0.0, "DMSO"),
    ],
    columns=["plate", "well", "compound", "concentration", "label"],
)
SCREEN["week"] = SCREEN["plate"].str[:5]
SCREEN["id"] = SCREEN["plate"] + "_" + SCREEN["well"] + "_s1"
SAMPLES = Samples("bbbc021", Path("here"), SCREEN, ("DAPI",), (4, 4))


def table(**keys):
    frame = pd.DataFrame(keys)
    return FeatureTable(frame, np.arange(len(frame), dtype=float)[:, None], ["f"], "t")


def test_a_treatment_in_several_weeks_is_a_batch_of_its_own():
    found = align_treatments(table(id=SCREEN["id"][::-1].tolist()), SAMPLES)
    assert found.values.ravel().tolist() == [4, 3, 2, 1, 0]
    several = "several weeks: taxol 0.3"
    assert found.keys["batch"].tolist() == [several, several, "Week1", "Week2", "Week1"]


def test_the_batch_is_that_of_the_screen_not_of_the_rows():
    found = align_treatments(table(id=SCREEN["id"][[0, 2, 3]].tolist()), SAMPLES)  # taxol of week 1 only
    assert found.keys["batch"].tolist() == ["several weeks: taxol 0.3", "Week1", "Week2"]


def test_wells_are_found_by_usual_spellings_and_unknown_ones_left_out():
    plates = ["100", "Week2_200", "100", "200", "Week1_100"]
    wells = ["b2", "B02", "C-5", " C05 ", "H12"]
    found = align_treatments(table(plate=plates, well=wells), SAMPLES)
    assert found.values.ravel().tolist() == [0, 1, 2, 3]
    assert found.keys["id"].tolist() == ["Week1_100_B02", "Week2_200_B02", "Week1_100_C05", "Week2_200_C05"]
    assert found.keys["compound"].tolist() == ["taxol", "taxol", "AZ-A", "AZ-B"]


def test_sites_of_a_well_are_different_rows():
    keys = {"plate": ["100", "100", "200", "100", "200"], "well": ["B02", "B02", "B02", "C05", "C05"]}
    found = align_treatments(table(**keys, site=["s1", "2", "1", "1", "1"]), SAMPLES)
    assert found.keys["id"].tolist()[:2] == ["Week1_100_B02_s1", "Week1_100_B02_s2"]
    with pytest.raises(UsageError, match=r"1 rows repeat the plate and well of .* is 'Week1_100 B02'"):
        align_treatments(table(**keys), SAMPLES)


def test_treatments_are_found_by_compound_and_concentration():
    found = align_treatments(
        table(compound=["AZ-B", "other", "taxol", "AZ-A"], concentration=[1.0, 1.0, 0.3000001, 1]), SAMPLES
    )
    assert found.values.ravel().tolist() == [0, 2, 3]
    assert found.keys["label"].tolist() == ["aurora", "stabilizer", "aurora"]
    assert found.keys["batch"].tolist() == ["Week2", "several weeks: taxol 0.3", "Week1"]


def test_a_table_with_its_own_labels_gets_weeks_from_its_plates():
    own = table(
        compound=["x", "y", "DMSO"],
        concentration=[1.0, 1.0, 0.0],
        label=["m", "n", "anything"],
        plate=["Week1_1", "Week2_1", "Week2_1"],
    )
    found = align_treatments(own, None)
    assert found.keys["week"].tolist() == found.keys["batch"].tolist() == ["Week1", "Week2", "Week2"]
    assert found.keys["label"].tolist() == ["m", "n", "DMSO"]
    assert own.keys["label"].tolist() == ["m", "n", "anything"]  # the table given is not changed


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"plate": ["100"]}, "needs plate and well, or compound and concentration, or the id of an image such as"),
        ({"plate": ["300"], "well": ["B02"]}, "'300' is not a plate of BBBC021, such as 'Week1_100'"),
        ({"plate": ["100"], "well": ["I02"]}, "'I02' is not a well of a plate with rows A to H"),
        ({"plate": ["100"], "well": ["25"]}, "'25' is not a well"),
        ({"plate": ["100"], "well": ["H12"]}, "No row is from a labelled well"),
        ({"plate": ["100", "100"], "well": ["B02", "C05"]}, "1 treatments .* no row in the table: AZ-B 1"),
        ({"compound": ["taxol"], "concentration": [0.3]}, "2 treatments .*: AZ-A 1, AZ-B 1"),
        ({"id": ["Week1_100_B02_s1"]}, "2 treatments .*: AZ-A 1, AZ-B 1"),
    ],
)
def test_a_mismatch_is_reported(keys, message):
    with pytest.raises(UsageError, match=message):
        align_treatments(table(**keys), SAMPLES)


def own(**changes):
    keys = {"compound": ["x", "y", "dmso"], "concentration": [1.0, 1.0, 0.0], "label": ["m", "n", "anything"]}
    return table(**keys | changes)


def test_dmso_is_the_control_in_any_case():
    found = align_treatments(own(), None)
    assert found.keys["compound"].tolist() == ["x", "y", "DMSO"]
    assert found.keys["label"].tolist() == ["m", "n", "DMSO"]


def test_a_treatment_with_two_mechanisms_is_refused():
    message = "1 treatments have several mechanisms of action, the first is x 1: m and n"
    with pytest.raises(UsageError, match=message):
        align_treatments(own(compound=["x", "x", "DMSO"]), None)
    align_treatments(own(compound=["x", "x", "DMSO"], concentration=[1.0, 2.0, 0.0]), None)
