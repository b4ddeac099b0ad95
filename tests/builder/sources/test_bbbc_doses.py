"""BBBC013 and BBBC014: the compound, dose and cell line of every well, and the real images that agree with them."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from cytoimagenet import read_channel
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.sources.bbbc_doses import translocation_of_fkhr, translocation_of_nfkb
from cytoimagenet.builder.sources.catalog import build_catalog
from cytoimagenet.builder.sources.folder import Folder

WELLS = [f"{row}-{column:02}" for row in "ABCDEFGH" for column in range(1, 13)]


def read(function, root, wells=WELLS):
    folder = Folder(root, "bbbc014")
    frame = function(pd.DataFrame({"well": wells}, dtype="str"), folder)
    return frame.assign(well=frame["well"].str.replace("-", "")).set_index("well"), folder.counts


def test_the_wells_of_bbbc013(tmp_path):
    compound = read(translocation_of_fkhr, tmp_path)[0]["compound"]
    doses = {
        **{"A03": "0.98 nanomolar", "B07": "15.63 nanomolar", "D11": "250 nanomolar", "C12": "150 nanomolar"},
        **{"E01": "80 micromolar", "F03": "0.31 micromolar", "G11": "80 micromolar"},
    }
    names = {well: "wortmannin" if well < "E" else "ly294002" for well in doses}
    expected = {well: f"{names[well]}|{names[well]} {dose}" for well, dose in doses.items()}
    expected |= dict.fromkeys(("A01", "D02", "H02", "H12"), "")
    assert {well: compound[well] for well in expected} == expected
    for rows in ("ABCD", "EFGH"):  # the four replicates are alike
        assert len({tuple(compound[f"{row}{column:02}"] for column in range(1, 13)) for row in rows}) == 1
    assert (compound == "").sum() == 16
    labels = compound.str.split("|").explode().value_counts()
    # 80 micromolar is the highest dose, and in column 1 the positive control
    assert labels.pop("") == 16 and labels.pop("wortmannin") == labels.pop("ly294002") == 40
    assert labels.pop("ly294002 80 micromolar") == 8
    assert set(labels) == {4} and len(labels) == 18


@pytest.mark.real
def test_the_wells_of_bbbc013_agree_with_the_table_of_dose_steps(shared, tmp_path):
    compound = read(translocation_of_fkhr, tmp_path)[0]["compound"]
    lines = list(csv.DictReader((shared / "raw" / "bbbc013" / "1049_Metadata.csv").open()))
    assert len(lines) == 96
    doses = {"A": {}, "E": {}}
    for line in lines:
        text = compound[line["Row"] + line["Column"]]
        dose = float(text.split()[-2]) if text else 0.0
        assert (line["SBS_Controls"] == "-1") == (dose == 0)
        if line["SBS_Controls"] == "1":
            assert text.endswith((" 150 nanomolar", " 80 micromolar"))
        else:
            doses["A" if line["Row"] in "ABCD" else "E"].setdefault(int(line["SBS_Doses"]), set()).add(dose)
    for steps in doses.values():
        assert sorted(steps) == list(range(10)) and all(len(one) == 1 for one in steps.values())
        in_order = [min(steps[step]) for step in range(10)]
        assert in_order == sorted(set(in_order))


@pytest.mark.real
def test_fkhr_is_in_the_nucleus_where_the_plate_map_has_a_compound(shared):
    frame = build_catalog(shared / "raw", ["bbbc013"]).frame
    assert len(frame) == 8
    for channels, compound in zip(frame["channels"], frame["compound"], strict=True):
        fkhr, dna = (read_channel(shared / "raw" / channel).astype(float) for channel in channels.split("|"))
        nuclear = fkhr[dna > np.percentile(dna, 90)].mean()
        # around the nuclei: neither nucleus nor the empty part of the field
        around = fkhr[(dna > np.percentile(dna, 50)) & (dna < np.percentile(dna, 75))].mean()
        assert (nuclear / around > 2) == bool(compound), (channels, nuclear / around)


def plate_map(*doses, head="DESCRIPTION TNFa"):
    return "\r\n".join([head, *doses, ""]).encode()


def test_the_wells_of_bbbc014_with_and_without_the_plate_map(tmp_path):
    without, counts = read(translocation_of_nfkb, tmp_path)
    assert set(without["compound"]) == {"tnf-alpha"}
    assert counts.notes == {"no table BBBC014_v1_platemap_all.txt": 1}
    assert without["cell_type"].groupby(without.index.str[0]).agg(set).to_dict() == {
        row: {"mcf7" if row < "E" else "a549"} for row in "ABCDEFGH"
    }
    doses = [f"10^-{7 + column / 2:g}" for _ in "ABCDEFGH" for column in range(12)]
    (tmp_path / "BBBC014_v1_platemap_all.txt").write_bytes(plate_map(*doses))
    folder = Folder(tmp_path, "bbbc014")
    folder.files()
    compound, counts = read(translocation_of_nfkb, tmp_path)
    assert counts.notes == {}
    assert compound.loc["A01", "compound"] == "tnf-alpha|tnf-alpha 10^-7"
    assert compound.loc["H12", "compound"] == "tnf-alpha|tnf-alpha 10^-12.5"
    assert compound.loc["C06", "compound"] == "tnf-alpha|tnf-alpha 10^-9.5"


def test_a_plate_map_of_another_size_is_refused(tmp_path):
    (tmp_path / "BBBC014_v1_platemap_all.txt").write_bytes(plate_map(*["10^-7"] * 95))
    with pytest.raises(MetadataError, match=r"95 doses instead of 96 \[.*BBBC014_v1_platemap_all.txt"):
        read(translocation_of_nfkb, tmp_path)
