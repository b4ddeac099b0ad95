"""Names of wells: every documented spelling, and texts that are none."""

import pandas as pd
import pytest
from cytoimagenet.builder.sources.wells import well_name, well_names
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "well"),
    [
        ("A1", "A01"), ("a1", "A01"), ("P24", "P24"), ("H012", "H12"), ("AF48", "AF48"), ("z9", "Z09"),
        ("B-7", "B07"), ("B_7", "B07"), ("B 7", "B07"), ("B - 07", "B07"), ("  B07  ", "B07"), ("b -07", "B07"),
        ("1,1", "A01"), ("16,24", "P24"), ("026,1", "Z01"), ("27,1", "AA01"), ("52,99", "AZ99"), ("53,1", ""),
        ("1", "A01"), ("24", "A24"), ("25", "B01"), ("384", "P24"), ("00384", "P24"), ("1248", "AZ24"), ("1249", ""),
        ("AAA1", ""), ("A123", ""), ("A0", ""), ("B--7", ""), ("B07 x", ""), ("1, 1", ""), ("DMSO", ""), ("A", ""),
    ],
)  # fmt: skip
def test_spellings(text, well):
    assert well_name(text) == well


def test_a_column_of_wells_keeps_what_is_not_letter_and_number():
    spellings = pd.Series(["a1", "A01", "A-1", " b_12", "AF02", "P24", "odd", "", "25", "3,5", "A00"], dtype="str")
    found = well_names(spellings)
    assert found.tolist() == ["A01", "A01", "A01", "B12", "AF02", "P24", "odd", "", "25", "3,5", "A00"]
    assert found.dtype == spellings.dtype
    assert well_names(spellings.iloc[:0]).tolist() == []


def test_wells_in_every_spelling():
    assert {well_name(text) for text in ("c5", "C05", "C - 05", " C-5 ", "c_05", "3,5", "003,005", "00053")} == {"C05"}
    assert [well_name(text) for text in ("", "0", "C", "5C", "C123", "1,2,3", "-1", "²", "99,1", "1,100", "C00")] == [
        ""
    ] * 11


@given(st.integers(1, 16), st.integers(1, 24))
def test_wells_by_number_name_and_place_agree(row, column):
    number = (row - 1) * 24 + column
    names = {well_name(text) for text in (f"{chr(64 + row)}{column}", f"{row},{column}", f"{number:05}")}
    assert names == {f"{chr(64 + row)}{column:02}"}


@given(st.text(max_size=12))
def test_wells_never_fail(text):
    assert isinstance(well_name(text), str)
