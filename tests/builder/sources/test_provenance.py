"""Plate, well, site, control, magnification and pixel size: what each source fills, and the real counts."""

import shutil
from collections import Counter

import pandas as pd
import pytest
from cytoimagenet.builder.simulate.source import simulate_source
from cytoimagenet.builder.sources.catalog import build_catalog
from cytoimagenet.builder.sources.channel_types import TYPES, channel_types
from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.label_lines import label_lines
from cytoimagenet.builder.sources.provenance import PROVENANCE, control_of, fills, number_of, with_places
from cytoimagenet.builder.sources.registry import SOURCES

FIELDS = 40
NO_CONTROL_SIMULATED = {"idr0009", "idr0016", "idr0017", "idr0080", "idr0081", "idr0088", "bbbc022"}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A few fields of every source, as file lists."""
    raw = tmp_path_factory.mktemp("raw")
    for name in SOURCES:
        simulate_source(name, raw, seed=0, fields=FIELDS, pixels=False)
    return build_catalog(raw).frame


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_fills_what_the_table_of_the_docs_says(name, catalogue):
    rows = catalogue[catalogue["dir_name"] == name]
    filled = {column for column in PROVENANCE if (rows[column].notna() & (rows[column] != "")).any()}
    stated = set(fills(SOURCES[name]))
    assert filled <= stated
    partly = {"control", "site"} if name == "idr0081" else {"control"}  # most of its plates have one site per well
    assert stated - filled <= (partly if name in NO_CONTROL_SIMULATED else set())
    everywhere = {column for column in filled if (rows[column].notna() & (rows[column] != "")).all()}
    assert filled - everywhere <= partly
    assert rows["control"].isin(["", "negative", "positive"]).all()


def test_every_stain_of_the_registry_has_a_type(catalogue):
    for source in SOURCES.values():
        for stain in source.stains.values():
            assert not stain or all(channel_types(stain).split("/")), stain
    spellings = [spelling for several in TYPES.values() for spelling in several]
    assert len(spellings) == len(set(spellings))
    rows = catalogue[catalogue["stains"] != ""]
    for mark in "|/":
        assert (rows["stains"].str.count(rf"\{mark}") == rows["channel_type"].str.count(rf"\{mark}")).all()


def test_places_are_written_in_one_spelling():
    rows = pd.DataFrame({"folder": ["NIRHTa+"], "plate": ["NIRHTa+001"], "well": ["a1"], "site": ["03"]})
    assert with_places(SOURCES["bbbc017"], rows)[["plate", "well", "site"]].to_numpy().tolist() == [
        ["NIRHTa+001", "A01", "3"]
    ]
    rows = pd.DataFrame({"row": ["03"], "column": ["05"], "field": ["09"], "magnification": [""], "plate": ["x"]})
    found = with_places(SOURCES["idr0088"], rows).iloc[0]
    assert found[["plate", "well", "site", "magnification"]].tolist() == ["x", "C05", "9", "20.0"]
    assert with_places(SOURCES["idr0088"], rows.assign(magnification="40.0"))["magnification"].tolist() == ["40.0"]


def test_controls_and_numbers_are_read_in_many_spellings():
    assert {control_of(text) for text in ("negative", "NEG", "Negative Control", "neg_ctrl", "mock")} == {"negative"}
    assert {control_of(text) for text in ("positive", "pos", "Positive_Control", "pos. ctrl")} == {"positive"}
    for text in ("", "control", "treatment", "no reagent", "empty well", "negative regulator", "DMSO", "sample"):
        assert control_of(text) == ""
    assert [number_of(text, "magnification") for text in ("20", "20x", " 63 X", "0", "-3", "high", "1e999")] == [
        20, 20, 63, None, None, None, None,
    ]  # fmt: skip
    assert [number_of(text, "pixel_size") for text in ("0.65", "0.65 um", ".5µm", "650 nm", "20x")] == [
        0.65, 0.65, 0.5, None, None,
    ]  # fmt: skip


def test_an_index_of_the_instrument_fills_the_plate_of_its_folder(tmp_path):
    simulate_source("idr0037", tmp_path, seed=0, fields=4, pixels=False)
    files = (tmp_path / "idr0037" / "files.txt").read_text().splitlines()
    inside = files[0].removeprefix("idr0037/").rpartition("/")[0]
    place = tmp_path / "idr0037" / inside / "Index.idx.xml"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(
        '<ImageResolutionX Unit="m">6.5E-07</ImageResolutionX><ObjectiveMagnification>10</ObjectiveMagnification>'
    )
    rows = build_catalog(tmp_path).frame
    here = rows["path"] == f"idr0037/{inside}"
    assert here.any()
    assert rows.loc[here, ["magnification", "pixel_size"]].drop_duplicates().to_numpy().tolist() == [[10.0, 0.65]]
    assert rows.loc[~here, ["magnification", "pixel_size"]].isna().all(axis=None)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("idr0003", {}),
        ("idr0009", {"positive": 1153, "negative": 176}),
        ("idr0016", {"negative": 1280}),
        ("idr0037", {}),
        ("idr0072", {}),
        ("idr0080", {"negative": 1152}),
        ("idr0081", {"negative": 2560, "positive": 1792}),
    ],
)
def test_the_controls_of_the_real_annotations(name, expected, shared, monkeypatch):
    found = []
    monkeypatch.setattr(
        "cytoimagenet.builder.sources.annotation.label_lines", lambda *of: found.append(label_lines(*of))
    )
    rows = pd.DataFrame({"file": ["a/b.tif"], "channels": "", "stains": "", "plate": ""}, dtype="str")
    SOURCES[name].labels(rows, Folder(shared / "metadata" / name, name))
    lines, _ = found[0]
    assert dict(Counter(lines["control"][lines["control"] != ""])) == expected


@pytest.mark.real
def test_the_controls_of_real_tables_of_broad_and_recursion(shared, tmp_path):
    rows = pd.DataFrame({"plate": "20585", "well": [f"{r}{c:02}" for r in "ABCDEFGHIJKLMNOP" for c in range(1, 25)]})
    found = SOURCES["bbbc022"].labels(rows, Folder(shared / "metadata" / "bbbc022", "bbbc022"))
    assert Counter(found["control"]) == {"": 320, "negative": 64}
    for part in ("train", "test"):
        for kind in ("", "_controls"):
            shutil.copy(
                shared / "metadata" / "rec_rxrx1" / f"kaggle_rcic2019_{part}{kind}.csv", tmp_path / f"{part}{kind}.csv"
            )
    rows = pd.DataFrame({"experiment": "HEPG2-08", "plate": "1", "site": "1", "well": ["B02", "C03", "B03"]})
    found = SOURCES["rec_rxrx1"].labels(rows, Folder(tmp_path, "rec_rxrx1"))
    assert found["control"].tolist() == ["negative", "positive", ""]
