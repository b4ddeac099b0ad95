"""Ready patterns on real file names, and any expression on a folder."""

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.image_table.patterns import ALIASES, READY, expressions_of, match, suggest
from cytoimagenet.builder.image_table.table import read_image_table
from PIL import Image

UUID = "07447158-AC76-4844-8431-E6A954BD1174"
NAMES = {
    # names of public sets and of public parsers' own examples
    "phenix": {
        "BR00117011__2020-11-08T19_57_47-Measurement1/Images/r01c01f01p01-ch1sk1fk1fl1.tiff": (
            "BR00117011 A01 01 1",
            {"plane": "01", "time": "1"},
        ),
        "data/BR00116991/Images/r16c24f09p01-ch5sk1fk1fl1.tiff": ("BR00116991 P24 09 5", {}),
        "exp143/Images/r05c05f001p01-ch1sk12fk1fl1.tiff": ("exp143 E05 001 1", {"time": "12"}),
        "plate/r02c07f01p01rc1-ch1sk1fk1fl1.tiff": ("plate B07 01 1", {}),
        "Plate_5/hs/55195c81/images/r03c07/r03c07f01p02-ch01t01.tiff": ("55195c81 C07 01 01", {"plane": "02"}),
    },
    "imagexpress": {
        f"Week1_22123/Week1_150607_B02_s1_w1{UUID}.tif": ("Week1_22123 B02 1 1", {"prefix": "Week1_150607"}),
        f"x/101210OranePlt1_C16_w1_[{UUID}].tif": ("x C16  1", {"prefix": "101210OranePlt1"}),
        f"BBBC010_v1_images/1649_1109_0003_Amp5-1_B_20070424_C01_w2_{UUID}.tif": ("BBBC010_v1_images C01  2", {}),
        "idr0008/Plate10_Actinome1/Act1_Plate10-SP-A8_A01_s1_w2.TIF": ("Plate10_Actinome1 A01 1 2", {}),
        f"2015-07-31/4014/val screen_B02_s1_w1{UUID}.tif": ("4014 B02 1 1", {"prefix": "val screen"}),
        f"2019-03-27/84/TimePoint_3/A549-pilot1_B02_s12_w1{UUID}.tif": ("84 B02 12 1", {"time": "3"}),
        f"p/TimePoint_1/ZStep_2/A01_s1_w1{UUID}.tif": ("p A01 1 1", {"plane": "2"}),
        "p/A01_s1_w1_z3.tif": ("p A01 1 1", {"plane": "3"}),
        "p/MyExp_AF48_s1_w1.tif": ("p AF48 1 1", {}),
    },
    "incell": {
        "plate/A - 01(fld 1 wv 390 - Blue).tif": ("plate A01 1 390 - Blue", {}),
        "p/A - 1(fld 1 wv Cy5 - Cy5).tif": ("p A01 1 Cy5 - Cy5", {}),
        "p/F - 001(fld 01 wv TL-Brightfield - DAPI).tif": ("p F01 01 TL-Brightfield - DAPI", {}),
        "timecourse/B - 02(fld 01 wv Blue - FITC - time 01 - 0 ms).tif": (
            "timecourse B02 01 Blue - FITC",
            {"time": "01"},
        ),
        "p/A - 01(fld 1 wv Green - dsRed z 3).tif": ("p A01 1 Green - dsRed", {"plane": "3"}),
        "p/002_CD8V11.PE_16bit_DF_FF_CORR_B - 2(fld 1 wv Cy3 - Cy3 wix 1).tif": (
            "p B02 1 Cy3 - Cy3",
            {"prefix": "002_CD8V11.PE_16bit_DF_FF_CORR"},
        ),
        "p/Plate1_HA41_B - 01(fld 01 wv 390 - Blue).tif": ("p B01 01 390 - Blue", {"prefix": "Plate1_HA41"}),
        "p/Plate1_A01(fld 1 wv 473 - Green).tif": ("p A01 1 473 - Green", {}),
    },
    "cellvoyager": {
        "x/AssayPlate_Greiner_#655090_C02_T0001F001L01A01Z01C01.tif": ("AssayPlate_Greiner_#655090 C02 001 01", {}),
        "20170615-Kim2-NascentRNA-Volume-PCNA_C10_T0001F001L01A02Z07C03.tif": (
            "20170615-Kim2-NascentRNA-Volume-PCNA C10 001 03",
            {"plane": "07"},
        ),
        "CellPainting_E08_T0001F001L01A01Z01C01.tif": ("CellPainting E08 001 01", {}),
        "MMC0015_B07_T0001F001L01A01Z01C01.tiff": ("MMC0015 B07 001 01", {}),
        "20260120T172222_20X_W/Image/W0014F0001T0001Z001C1.tif": ("20260120T172222_20X_W W0014 0001 1", {}),
    },
    "cell-painting": {
        f"24277/24277-ERSytoBleed/cdp2bioactives_a01_s1_w2{UUID.lower()}.tif": ("24277 a01 1 ERSytoBleed", {}),
        f"BBBC022_v1_images_20585w1/IXMtest_A02_s9_w1{UUID}.tif": ("20585 A02 9 1", {}),
        f"24277/cdp2bioactives_a01_s1_w1{UUID.lower()}_ch_Hoechst.png": ("24277 a01 1 Hoechst", {}),
        "UL001641/A04_i1_ch0.png": ("UL001641 A04 1 0", {}),
        "Plate_2_images/C8_01_1_1_DAPI_001.tif": ("Plate_2_images C8 1 DAPI", {"time": "001"}),
        "BR00117011__2020-11-08T19_57_47-Measurement1/Images/r01c01f01p01-ch1sk1fk1fl1.tiff": (
            "BR00117011 A01 01 1",
            {},
        ),
        f"x/180706_A01_s5_w1{UUID}.tif": ("x A01 5 1", {"prefix": "180706"}),
        "CP-CC9-R3-15_I23_T0001F001L01A01Z01C01.tif": ("CP-CC9-R3-15 I23 001 01", {}),
    },
}
NOT = [
    f"p/TimePoint_1/A549-20X_B02_s1_w1_thumb{UUID}.tif",
    "p/DC_sCMOS #1_CAM1.tif",
    "p/Images/Index.idx.xml",
    "p/MeasurementDetail.mrf",
    "p/r01c01f01p01-ch1sk1fk1fl1.txt",
    "p/image.tif",
]


@pytest.mark.parametrize(("pattern", "name"), [(p, n) for p, names in NAMES.items() for n in names])
def test_real_names(pattern, name):
    expected, more = NAMES[pattern][name]
    found = match([name], READY[pattern].expressions)
    assert len(found) == 1
    row = found.iloc[0].to_dict()
    assert " ".join(row.get(key, "") for key in ("plate", "well", "site", "channel")) == expected
    assert {key: row[key] for key in more} == more


@pytest.mark.parametrize("pattern", READY)
def test_what_no_pattern_takes(pattern):
    assert match(NOT, READY[pattern].expressions).empty
    assert len(match([READY[pattern].example.replace("UUID", UUID)], READY[pattern].expressions)) == 1


def test_names_of_patterns():
    assert expressions_of("Opera_Phenix") == (READY["phenix"].expressions, True)
    assert set(ALIASES.values()) <= set(READY)
    with pytest.raises(UsageError, match="'opra' is no pattern") as caught:
        expressions_of("opra")
    assert "phenix, imagexpress" in caught.value.next
    for wrong, problem in [
        ("(?P<a>x", "missing"),
        ("(?P<a>x)(?=y)", "invalid perl operator"),
        ("(?P<a>x)(y)", "unnamed"),
    ]:
        with pytest.raises(UsageError, match=rf"(?i)not valid.*{problem}"):
            match(["x"], [wrong])


def test_a_pattern_is_suggested():
    assert suggest(list(NAMES["incell"])) == "incell" and suggest(list(NAMES["phenix"])) == "phenix"
    assert suggest(NOT) is None


@pytest.fixture
def screen(tmp_path):
    """Two plates of two wells and two channels, with a thumbnail, a text file, and one channel absent."""
    for plate in ("p1", "p2"):
        for well in ("A01", "B02"):
            for channel in (1, 2, 10):
                path = tmp_path / "screen" / plate / f"x_{well}_s1_w{channel}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((4, 4), channel, np.uint8)).save(path)
    (tmp_path / "screen/p2/x_B02_s1_w2.png").unlink()
    (tmp_path / "screen/p2/notes.txt").write_text("x")
    (tmp_path / "screen/p2/thumb.png").write_bytes(b"")
    return tmp_path / "screen"


def test_channels_become_one_sample(screen):
    pattern = r"(?P<plate>p\d)/x_(?P<well>[A-H]\d\d)_s(?P<site>\d)_w(?P<channel>\d+)"
    table = read_image_table(screen, pattern=pattern)
    assert table.channels == ("1", "2", "10") and table.metadata == ("plate", "well", "site")
    assert table.rows["id"].tolist() == ["p1/x_A01_s1_w1.png", "p1/x_B02_s1_w1.png", "p2/x_A01_s1_w1.png"]
    assert [int(plane[0, 0]) for plane in table.read(2)] == [1, 2, 10]
    assert table.rejected[["id", "reason", "detail"]].to_numpy().tolist() == [
        ["p2/x_B02_s1_w1.png", "missing_channel", "no file is named"]
    ]
    assert table.notes == ("files that are not images or do not fit the pattern: 2",)
    with pytest.raises(UsageError, match=r"channel '1' of the same sample: p1/x_A01_s1_w1.png and p2/x_A01_s1_w1.png"):
        read_image_table(screen, pattern=r"x_(?P<well>[A-H]\d\d)_s\d_w(?P<channel>\d+)")
    with pytest.raises(UsageError, match="No file fits") as caught:
        read_image_table(screen, pattern=r"(?P<well>[Q-Z]\d\d)_")
    assert "p1/x_A01_s1_w1.png" in caught.value.next
    with pytest.raises(MetadataError, match="Only 3 of 4"):
        read_image_table(screen, pattern=pattern, strict=True)


def test_groups_called_like_columns_are_these(screen):
    table = read_image_table(
        screen, pattern=r"(?P<group>p\d)/x_(?P<label>[A-H]\d\d)_s\d_w(?P<channel>1)\.".replace("s\\d", "s(?:1)")
    )
    assert table.channels == ("1",) and table.rows["group"].tolist() == ["p1", "p1", "p2", "p2"]
    assert table.rows["label"].tolist() == ["A01", "B02"] * 2 and table.metadata == ()


def test_the_plate_is_the_folder_wherever_one_points(tmp_path):
    inside = tmp_path / "BR1__2020-11-08T19_57_47-Measurement1" / "Images"
    inside.mkdir(parents=True)
    for channel in (1, 2):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(inside / f"r02c03f01p01-ch{channel}sk1fk1fl1.tiff")
    for root in (tmp_path, inside.parent, inside):
        table = read_image_table(root, pattern="phenix")
        assert table.rows[["plate", "well"]].to_numpy().tolist() == [["BR1", "B03"]], root
    note = "the file names look like those of Opera Phenix and Operetta (Harmony): use --pattern phenix"
    assert note in read_image_table(tmp_path).notes


def test_class_folders(tmp_path):
    for name in ("round/a.png", "long/b.png", "long/c.TIF", ".hidden/d.png", "long/e.txt"):
        path = tmp_path / "cells" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    table = read_image_table(tmp_path / "cells")
    assert table.rows[["id", "label"]].to_numpy().tolist() == [
        ["long/b.png", "long"],
        ["long/c.TIF", "long"],
        ["round/a.png", "round"],
    ]
    assert table.notes == ("files that are not images: 1",)
    assert not read_image_table(tmp_path / "cells/long").has("label")
    (tmp_path / "one/only").mkdir(parents=True)
    (tmp_path / "one/only/a.png").write_bytes(b"")
    assert not read_image_table(tmp_path / "one").has("label")  # one folder is no class
    assert read_image_table(tmp_path).notes[-1].startswith("no labels")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no image and no images.csv"):
        read_image_table(tmp_path / "empty")


def test_a_link_to_a_folder_above_is_walked_once(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.png").write_bytes(b"")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert read_image_table(tmp_path).rows["file"].tolist() == ["a/x.png"]


@pytest.mark.real
def test_real_folders(shared):
    table = read_image_table(shared / "images/cellpainting_nf1", pattern="cell-painting")
    assert table.channels == ("DAPI", "GFP", "RFP") and len(table) == 2
    assert [plane.shape for plane in table.read(0)] == [(904, 1224)] * 3
    table = read_image_table(shared / "raw/bbbc012", pattern="imagexpress")
    assert table.rows["well"].tolist() == ["C16"] and table.channels == ("1", "2", "3")
    table = read_image_table(shared / "raw/bbbc010", pattern="imagexpress")
    assert table.channels == ("1", "2") and table.read(0)[0].dtype == np.uint16
    table = read_image_table(
        shared / "raw/bbbc013",
        pattern=r"Channel(?P<channel>\d)-\d+-(?P<row>[A-H])-(?P<column>\d+)",
    )
    assert table.rows["well"].tolist() == ["A01", "A02", "A07", "A12", "H01", "H02", "H07", "H12"]
    table = read_image_table(shared / "real/tasks/yeast_wt2.zip")
    assert table.channels == ("gfp", "rfp") and len(table) == 1642 and isinstance(table.rows, pd.DataFrame)
    assert table.rows["label"].value_counts()["AAC3"] == 416
