"""The annotation reader: simulated studies are read correctly, and no damage to a table goes unnoticed."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.formats.read import read_channel
from cytoimagenet.builder.images.channels import parse
from cytoimagenet.builder.simulate.source import layouts, simulate_source
from cytoimagenet.builder.sources.annotation import annotated
from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.plates import PlateFolders
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.rows import read_source
from cytoimagenet.builder.sources.study import Study
from cytoimagenet.builder.sources.vocabulary import standard
from hypothesis import given
from hypothesis import strategies as st

STUDIES = [name for name in SOURCES if name.startswith("idr")]
OURS = [*STUDIES, *(name for name in SOURCES if name.startswith("rec_"))]


def read(raw, source):
    folder = Folder(raw / source, source)
    rows = read_source(SOURCES[source], folder).to_pandas()
    counts = folder.counts
    assert counts.listed == counts.used + sum(counts.skipped.values())
    assert counts.rows == len(rows)
    return rows, counts


def truth_by_file(made):
    """First file of each field -> its facts, from the order in which the simulation writes."""
    layout = layouts()[made.source]
    found = {}
    for info in made.fields.to_dict("records"):
        for template in layout.files.values():
            if "{uuid" not in template:
                found[f"{made.source}/{template.format(**info)}"] = info
    return found


@pytest.mark.parametrize("source", STUDIES)
def test_simulated_study_gives_its_truth_back(source, tmp_path):
    made = simulate_source(source, tmp_path, seed=7, fields=90, pixels=False)
    rows, counts = read(tmp_path, source)
    refused = int((made.fields["quality"] == "fail").sum()) if "quality" in made.fields else 0
    assert len(rows) + refused == 90 * (2 if source in ("idr0003", "idr0067") else 1)
    assert (counts.unlabelled, counts.labels_without_image) == (0, 0)
    assert not counts.notes
    skipped = {"idr0009": 3 * refused}.get(source, made.extras)
    assert sum(counts.skipped.values()) == skipped
    if source == "idr0016":  # each file's name ends in a random part: compare by well instead
        wells = rows.channels.str.extract(r"_([a-p]\d\d)_s(\d)_")
        by_well = made.fields.assign(field=made.fields.field.astype(str)).set_index(["low", "field"])
        expected = by_well.loc[list(wells.itertuples(index=False, name=None))].to_dict("records")
    else:
        truth = truth_by_file(made)
        expected = [truth[parse(channels.split("|")[0]).file] for channels in rows.channels]
    for column in ("organism", "cell_type", "phenotype", "compound", "gene"):
        if column in made.fields:
            assert rows[column].tolist() == [standard(info[column], column) for info in expected], column
    if "protein" in made.fields:
        fluorescent = rows.microscopy != "brightfield"
        named = [info["protein"].lower() for info in expected]
        assert all(
            name in stains.split("|") for name, stains, f in zip(named, rows.stains, fluorescent, strict=True) if f
        )
    assert (rows.stains.str.count(r"\|") == rows.channels.str.count(r"\|")).all()


@pytest.mark.parametrize("source", ["idr0021", "idr0041", "idr0067", "idr0072", "idr0080"])
def test_pages_of_stacks_can_be_read(source, tmp_path):
    """Each stain has another grey level, so that a wrong page is noticed."""
    levels = {}

    def draw(info, stain, shape):
        picture = np.zeros(shape, np.float32)
        picture[0, 0] = 1  # keeps the file from being a constant
        picture[1:] = levels.setdefault((info["index"], stain), 0.1 + 0.05 * len(levels))
        return picture

    simulate_source(source, tmp_path, seed=1, fields=2, draw=draw)
    rows, _ = read(tmp_path, source)
    seen = []
    for channels in rows.channels:
        for channel in channels.split("|"):
            place = parse(channel)
            plane = read_channel(tmp_path / place.file, page=place.page)
            assert plane.ndim == 2 and plane.dtype == np.uint16
            seen.append(round(plane[2, 2] / 65535, 3))
    unused = ("nucleus",) if source == "idr0067" else ()  # of a stack in time and depth the first plane is used
    expected = sorted(level for (_, stain), level in levels.items() if stain not in unused)
    assert sorted(seen) == pytest.approx(expected, abs=1e-3)


class TestPlateFolders:
    def find(self, plates, pairs=(), aliases=()):
        return PlateFolders(pd.Series(plates, dtype="str"), pairs, [pd.Series(a, dtype="str") for a in aliases]).find

    def test_by_name_in_another_spelling(self):
        find = self.find(["BSF018292-1A", "DTT p1", "SQ00014610"])
        assert find("Screen/BSF018292_1A") == "BSF018292-1A"
        assert find("201301120/Images/DTT/p1") == "DTT p1"
        assert find("images/SQ00014610__2016-06-16T00_38_35-Measurement2/Images") == "SQ00014610"
        assert find("elsewhere") == find("") == ""

    def test_by_the_list_of_plates_in_both_orders(self):
        path = "/uod/idr/filesets/idr0093/01_batch/002/002.wpi"
        assert self.find(["two"], [("two", path)])("01_batch/002") == "two"
        assert self.find(["two"], [(path, "two")])("data/01_batch/002/sub") == "two"

    def test_a_plate_numbered_with_and_without_a_zero(self):
        folder = "20140424_HipSci + BJ 3000c_well_OC__2014-04-24T17_01_22-Measurement1"
        path = f"/uod/idr/filesets/idr0037-vigilante-hipsci/images/{folder}/Images/Index.idx.xml"
        find = self.find(["experiment_1", "experiment_10"], [("experiment_01", path)])
        assert find(f"images/{folder}/Images") == "experiment_1"

    def test_an_end_that_two_paths_share_is_not_used(self):
        find = self.find(["a", "b"], [("a", "/x/one/Meas_01"), ("b", "/x/two/Meas_01")])
        assert (find("one/Meas_01"), find("two/Meas_01"), find("Meas_01")) == ("a", "b", "")

    def test_a_spelling_that_two_plates_share_is_not_used(self):
        assert self.find(["p-1", "p_1"])("p1") == ""

    def test_a_screen_file_is_no_folder(self):
        assert self.find(["24277"], [("24277", "../screens/24277.screen")])("screens") == ""

    def test_by_an_alias(self):
        find = self.find(["experiment_1", "experiment_1"], aliases=[["HipSci + BJ 3000c/well_OC"] * 2])
        assert find("images/HipSci + BJ 3000c_well_OC__2014-04-24T17_01_22-Measurement1/Images") == "experiment_1"

    @given(st.lists(st.text(max_size=8), max_size=5), st.text(max_size=20))
    def test_never_fails_and_never_invents(self, plates, folder):
        assert self.find(plates)(folder) in {*plates, ""}


def study(tmp_path, annotation, files, **how):
    root = tmp_path / "idr0093"
    root.mkdir()
    (root / "idr0093-screenA-annotation.csv").write_text(annotation)
    (root / "files.txt").write_text("\n".join(files))
    folder = Folder(root, "idr0093")
    rows = pd.DataFrame({"file": files, "channels": [f"idr0093/{file}" for file in files], "stains": "marker|nucleus"})
    rows = rows.assign(folder=rows.file.str.split("/").str[0], well=rows.file.str.extract(r"/([A-Z]\d*)")[0]).astype(
        "str"
    )
    folder.counts.used = len(files)
    return annotated(Study(**how))(rows, folder), folder.counts


def test_several_columns_make_one_label_and_a_bar_stays_in_its_name(tmp_path):
    text = "Plate,Well,A,B,C\n1,A1,one,,three\n1,A2,,two,\n1,A3,x|y,,x/y\n"
    rows, _ = study(
        tmp_path,
        text,
        ["1/A01.tif", "1/A02.tif", "1/A03.tif"],
        labels={"phenotype": "A"},
        optional={"phenotype.2": "B", "phenotype.3": "C"},
    )
    assert rows.phenotype.tolist() == ["one|three", "two", "x/y|x/y"]


def test_a_marker_names_its_stain_and_keeps_the_list_parallel(tmp_path):
    text = "Plate,Well,Channels\n1,A1,green: TP|53/BP1\n1,A2,\n"
    markers = {"marker": ("Channels", r"green: (.+)")}
    rows, _ = study(tmp_path, text, ["1/A01.tif", "1/A02.tif"], labels={}, markers=markers)
    assert rows.stains.tolist() == ["tp 53 bp1|nucleus", "marker|nucleus"]


def test_refused_images_are_counted_with_all_their_files(tmp_path):
    text = "Plate,Well,Quality Control\n1,A1,pass\n1,A2,Fail\n"
    refuse = ("Quality Control", "(?i)^fail", "failed quality control")
    rows, counts = study(tmp_path, text, ["1/A01.tif", "1/A02.tif", "2/A02.tif"], labels={}, refuse=refuse)
    assert rows.file.tolist() == ["1/A01.tif", "2/A02.tif"]
    assert (counts.used, dict(counts.skipped), counts.unlabelled) == (2, {"failed quality control": 1}, 1)


def test_unknown_plates_and_wells_never_meet(tmp_path):
    text = "Plate,Well,Gene Symbol\n,A1,KIF11\n1,control,PLK1\n+,A1,INCENP\n"
    rows, counts = study(tmp_path, text, ["x/A01.tif", "1/Z.tif", "-/A01.tif"], labels={"gene": "Gene Symbol"})
    assert rows.gene.tolist() == ["", "", ""]
    assert (counts.unlabelled, counts.labels_without_image) == (3, 3)


def test_lines_of_one_well_join_their_values(tmp_path):
    text = "Plate,Well,Gene Symbol\n1,A1,KIF11\n1,A1,PLK1\n1,a01,KIF11\n1,B1,INCENP\n"
    rows, counts = study(tmp_path, text, ["1/A01.tif"], labels={"gene": "Gene Symbol"})
    assert rows.gene.tolist() == ["KIF11|PLK1"]
    assert counts.labels_without_image == 1


def test_an_archive_next_to_the_annotation_is_not_read(tmp_path):
    simulate_source("idr0088", tmp_path, seed=0, fields=9, pixels=False)
    whole, _ = read(tmp_path, "idr0088")
    (tmp_path / "idr0088" / "idr0088-screenA-annotation.csv.zip").write_bytes(b"PK\x03\x04 not a table")
    packed = tmp_path / "idr0088" / "idr0088-screenA-annotation.csv.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))  # unpacked, and kept
    again, counts = read(tmp_path, "idr0088")
    pd.testing.assert_frame_equal(again, whole)
    assert counts.labels_without_image == 0


def test_a_list_of_plates_with_too_many_cells_is_an_error(tmp_path):
    (tmp_path / "idr0093").mkdir()
    (tmp_path / "idr0093" / "idr0093-screenA-plates.tsv").write_text("1\t/a\n2\t/b\tc\n")
    (tmp_path / "idr0093" / "idr0093-screenA-annotation.csv").write_text("Plate,Well,siRNA Identifier\n1,A1,s1\n")
    (tmp_path / "idr0093" / "files.txt").write_text("1/1_A01_T0001F001L01A01Z01C01.tif")
    with pytest.raises(MetadataError, match="3 cells") as error:
        read(tmp_path, "idr0093")
    assert error.value.where.endswith("plates.tsv, line 2")


def test_a_file_may_name_its_plate_itself(tmp_path):
    (root := tmp_path / "idr0072").mkdir()
    columns = ["Plate", "Well", "Characteristics [Organism]", "Characteristics [Cell Line]", "Comment [Gene Symbol]"]
    line = "VAMP_DEG_20131008/Meas_01,A5,Mus musculus,NMuMG,VAMP5"
    (root / "idr0072-screenB-annotation.csv").write_text(f"{','.join(columns)}\n{line}\n")
    names = ["VAMP_DEG_20131008__Meas_01__A05", "VAMP_DEG_20131008__Meas_02__A05", "VAMP_DEG_20131008__Meas_01__A05__2"]
    (root / "files.txt").write_text("".join(f"20201209-ftp/plates/{name}.flex\n" for name in names))
    rows, counts = read(tmp_path, "idr0072")
    assert rows.gene.tolist() == ["vamp5 targeted", "vamp5 targeted", ""]
    assert (counts.unlabelled, counts.labels_without_image) == (1, 0)


@pytest.mark.parametrize("source", OURS)
def test_without_tables_every_image_is_a_row(source, tmp_path):
    simulate_source(source, tmp_path, seed=2, fields=20, pixels=False)
    whole, _ = read(tmp_path, source)
    for path in (tmp_path / source).rglob("*"):
        if path.is_file() and path.name != "files.txt":
            path.unlink()
    bare, counts = read(tmp_path, source)
    refused = 2 if source == "idr0009" else 0
    assert len(bare) == len(whole) + (1 if refused else 0)
    assert counts.unlabelled == len(bare)
    assert counts.notes


@pytest.mark.parametrize("source", ["idr0080", "idr0072"])
@given(
    names=st.lists(
        st.text(st.characters(exclude_characters="\r\n\x00/", exclude_categories=["Cs"]), min_size=1, max_size=30),
        max_size=12,
    )
)
def test_any_file_names_are_counted(source, names, tmp_path_factory):
    root = tmp_path_factory.mktemp("names") / source
    root.mkdir()
    known = [f"p__1/Images/r01c0{n}f01p01-ch1sk1fk1fl1.tiff" for n in (1, 2)]
    (root / "files.txt").write_text("\n".join([*names, *(f"{name}.tiff" for name in names), *known]), encoding="utf-8")
    folder = Folder(root, source)
    read_source(SOURCES[source], folder)
    assert folder.counts.listed == folder.counts.used + sum(folder.counts.skipped.values())
    shutil.rmtree(root)
