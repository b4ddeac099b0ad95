"""A user's own source: rows and files accounted for, labels never lost, in a folder, a zip and an inventory alike."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from cytoimagenet.builder import commands, schema
from cytoimagenet.builder.console import application
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.labels.select import select
from cytoimagenet.builder.sources.catalog import build_catalog, write_catalog
from cytoimagenet.builder.sources.discover import find_sources
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

HEADER = "file,phenotype,group\n"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """Write files below `root`; images may be empty, since a catalogue does not read them."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def zipped(folder: Path, path: Path, below: str = "") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, below + str(file.relative_to(folder)))


def run(*arguments):
    app = application("0")
    commands.add_to(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


PLATE = {
    "images.csv": "file_DNA,file_actin,Compound,Cell Type,gene,group,plate,dose\n"
    "b/2_1.tif,b/2_2.tif,Taxol,U-2 OS,,P2,P2,0.1\n"
    "a/1_1.tif#page=1,a/1_2.tif,DMSO|Taxol,,AURKB,P1,P1,0\n"
    "a/3_1.tif,,Taxol,,,P1,P1,0\n"
    "a/4_1.tif,a/4_2.tif,Taxol,,,P1,P1,0\n"
    "b/2_1.tif,b/2_2.tif,Taxol,,,P1,P1,0\n",
    "source.yaml": "name: Our plate\ndatabase: Our lab\nlicence: CC0 1.0\nlink: https://lab.example\n"
    "organism: Homo sapiens\ncell_type: hela\nmicroscopy: confocal\nstains: {DNA: nucleus, actin: [actin, membrane]}\n",
    **dict.fromkeys(("a/1_1.tif", "a/1_2.tif", "a/3_1.tif", "a/4_1.tif", "b/2_1.tif", "b/2_2.tif"), ""),
    **dict.fromkeys(("b/notes.txt", "b/thumb.png", ".DS_Store"), ""),
}


def test_a_plate_of_two_channels(tmp_path):
    made = build_catalog(write(tmp_path, {f"plate/{name}": content for name, content in PLATE.items()}))
    rows = made.frame
    assert rows["idx"].tolist() == ["plate-0", "plate-1"]
    assert rows["channels"].tolist() == [
        "plate/a/1_1.tif#page=1|plate/a/1_2.tif",
        "plate/b/2_1.tif|plate/b/2_2.tif",
    ]
    assert rows[["path", "filename"]].to_numpy().tolist() == [["plate/a", "1_1.tif"], ["plate/b", "2_1.tif"]]
    assert rows["stains"].unique().tolist() == ["nucleus|actin/membrane"]
    assert rows["cell_visible"].unique().tolist() == ["nucleus|actin|membrane"]
    assert rows["compound"].tolist() == ["dmso|taxol", "taxol"]
    assert rows["cell_type"].tolist() == ["hela", "u2os"]  # the cell of the table, else what all share
    assert rows["gene"].tolist() == ["aurkb targeted", ""]
    assert rows["organism"].unique().tolist() == ["human"]
    assert rows["group"].tolist() == ["P1", "P2"]
    for column, value in (("database", "Our lab"), ("name", "Our plate"), ("licence", "CC0 1.0")):
        assert rows[column].unique().tolist() == [value]
    assert rows["microscopy"].unique().tolist() == ["confocal"]
    [counts] = made.counts
    assert (counts.listed, counts.used, counts.rows, counts.offered) == (11, 4, 2, 5)
    assert counts.listed == counts.used + sum(counts.skipped.values())
    assert dict(counts.skipped) == {
        "not an image file": 2,
        "hidden file": 1,
        "in no usable row of the image table": 4,
    }
    assert counts.rejected == {"missing_channel": 2, "repeated": 1}
    assert counts.offered == 2 + sum(counts.rejected.values())
    assert counts.labels_without_image == 2
    assert made.rejected[["source", "file", "reason"]].to_numpy().tolist() == [
        ["plate", "", "missing_channel"],
        ["plate", "a/4_2.tif", "missing_channel"],
        ["plate", "b/2_1.tif", "repeated"],
    ]
    assert made.own["plate"].link == "https://lab.example"
    assert "columns that a source does not use: dose" in counts.remarks
    with pytest.raises(MetadataError, match="Only 2 of 5 samples can be used"):
        build_catalog(tmp_path, strict=True)


def test_transmitted_light_is_a_row_of_its_own(tmp_path):
    table = "file_bf,file_gfp,file_dna,cell_visible,compound\nb.png,g.png,d.png,golgi,taxol\n"
    yaml = "stains: {bf: brightfield, gfp: protein}\nmicroscopy: confocal\n"
    rows = build_catalog(
        write(tmp_path, {"x/images.csv": table, "x/source.yaml": yaml, "x/b.png": "", "x/g.png": "", "x/d.png": ""})
    ).frame
    assert rows[["channels", "stains", "microscopy", "cell_visible", "compound"]].to_numpy().tolist() == [
        ["x/b.png", "brightfield", "brightfield", "", "taxol"],
        ["x/g.png|x/d.png", "protein|dna", "confocal", "golgi", "taxol"],
    ]
    assert rows["group"].nunique() == 1  # both show the same cells: they go into one split
    assert rows["group"].iloc[0] != ""


def test_names_of_channels_are_not_labels(tmp_path):
    table = "file_w1,file_w2,phenotype\na.png,b.png,round\n"
    rows = build_catalog(write(tmp_path, {"x/images.csv": table, "x/a.png": "", "x/b.png": ""})).frame
    assert rows.loc[0, ["stains", "cell_visible", "group", "licence"]].tolist() == ["w1|w2", "", "", "not stated"]
    assert rows.loc[0, ["database", "name", "dir_name"]].tolist() == ["own images", "x", "x"]


def test_microscopy_and_licence_of_a_row(tmp_path):
    table = "file,phenotype,Microscopy,licence\na.png,round,Brightfield,MIT\nb.png,round,,\n"
    yaml = "microscopy: confocal\nlicence: CC0 1.0\nstains: nucleus\n"
    rows = build_catalog(
        write(tmp_path, {"x/images.csv": table, "x/source.yaml": yaml, "x/a.png": "", "x/b.png": ""})
    ).frame
    assert rows[["microscopy", "licence", "stains"]].to_numpy().tolist() == [
        ["brightfield", "MIT", "nucleus"],
        ["confocal", "CC0 1.0", "nucleus"],
    ]


@pytest.mark.parametrize(
    ("table", "yaml", "what", "next"),
    [
        (
            "file,phenotyp\na.png,round\n",
            "",
            "Unknown column 'phenotyp'",
            "Did you mean 'phenotype'.*Metadata_phenotyp",
        ),
        ("file,phenotype,groups\na.png,round,1\n", "", "Unknown column 'groups'", "Did you mean 'group'"),
        ("file,phenotype,license\na.png,round,1\n", "", "Unknown column 'license'", "Did you mean 'licence'"),
        ("file,phenotype,Phenotype \na.png,round,1\n", "", "Two columns are 'phenotype'", ""),
        ("file,dose\na.png,1\n", "", "No column labels the images", "Add one of organism"),
        ("file,label\na.png,round\n", "", "what kind of label `label` is", "label: phenotype"),
        ("file,label\na.png,round\n", "organism: human\n", "what kind of label `label` is", "label: phenotype"),
        ("file,label,phenotype\na.png,x,y\n", "label: phenotype\n", "Both `label` and 'phenotype' are phenotype", ""),
        ("file,compound\na.png,x\n", "label: phenotype\n", "There is no column `label`", ""),
        ("file,compound\na.png,x\n", "stains: {dna: nucleus}\n", "name the channel 'dna'", "one, without a name"),
        ("file_dna,compound\na.png,x\n", "stains: nucleus\n", "name the channel ''", "Its channels: 'dna'"),
        ("file_dna,compound\na.png,x\n", "stains: {dnaa: nucleus}\n", "channel 'dnaa'", "Did you mean 'dna'"),
        ("file,compound\na.png,x\n", "organsim: human\n", "Unknown key 'organsim'", "Did you mean 'organism'"),
        ("file,compound\nb.png,x\n", "", "None of 1 samples can be used: b.png: line 2", ""),
        ("name,compound\na.png,x\n", "", "no column `file`", ""),
        ("file,compound\na.png,x,y\n", "", "3 cells where 2 are expected", ""),
    ],
)
def test_labels_are_never_lost_in_silence(tmp_path, table, yaml, what, next):
    write(tmp_path, {"x/images.csv": table, "x/a.png": "", **({"x/source.yaml": yaml} if yaml else {})})
    with pytest.raises(MetadataError, match=f"(?s){what}.*{next}"):
        build_catalog(tmp_path)
    with pytest.raises(MetadataError):
        write_catalog(tmp_path, tmp_path / "c.parquet")
    assert not (tmp_path / "c.parquet").exists()


@pytest.mark.parametrize("name", ["source.yml", "Source.yaml", "sources.yaml"])
def test_a_nearly_right_name_of_the_facts_is_an_error(tmp_path, name):
    write(tmp_path, {"x/images.csv": HEADER + "a.png,round,\n", "x/a.png": "", f"x/{name}": "name: a\n"})
    with pytest.raises(MetadataError, match=f"The file '{name}' is not read"):
        build_catalog(tmp_path)


def test_other_columns_travel_freely(tmp_path):
    table = "file,compound,compound_id,time,Metadata_phenotyp,split\na.png,x,7,1,z,train\n"
    made = build_catalog(write(tmp_path, {"x/images.csv": table, "x/a.png": ""}))
    assert made.frame.loc[0, ["compound", "phenotype"]].tolist() == ["x", ""]
    assert "columns that a source does not use: compound_id, time, Metadata_phenotyp, split" in made.counts[0].remarks


def test_the_label_of_a_task_can_be_named(tmp_path):
    table = "file,label,plate,position\na.png,ADCCM,P1,1\nb.png,,P1,2\n"
    made = build_catalog(
        write(tmp_path, {"x/images.csv": table, "x/source.yaml": "label: phenotype\n", "x/a.png": "", "x/b.png": ""})
    )
    assert made.frame["phenotype"].tolist() == ["adccm", ""]
    assert made.counts[0].unlabelled == 1
    assert "label is empty in 1 of 2 rows" in made.counts[0].remarks


def test_tables_of_other_formats(tmp_path):
    frame = pd.DataFrame({"file": ["b.png", "a.png"], "compound": [7, 8], "gene": [1.0, None], "group": [3, 4]})
    write(tmp_path, {"p/a.png": "", "p/b.png": "", "t/a.png": "", "t/b.png": ""})
    frame.to_parquet(tmp_path / "p" / "images.parquet")
    frame.to_csv(tmp_path / "t" / "images.tsv", sep="\t", index=False)
    rows = build_catalog(tmp_path).frame
    assert rows["compound"].tolist() == ["8", "7", "8", "7"]
    assert rows["group"].tolist() == ["4", "3", "4", "3"]
    assert rows["gene"].tolist()[:2] == ["", "1 targeted"]


def test_two_tables_are_an_error(tmp_path):
    write(tmp_path, {"x/images.csv": HEADER, "x/images.tsv": HEADER})
    with pytest.raises(UsageError, match=r"several tables: images\.csv, images\.tsv"):
        build_catalog(tmp_path)


def test_a_path_that_can_not_be_a_channel_is_rejected(tmp_path):
    table = HEADER + 'a|b.png,round,\n"../x/c.png",round,\nc.png,round,\n'
    made = build_catalog(write(tmp_path, {"x/images.csv": table, "x/a|b.png": "", "x/c.png": ""}))
    assert made.frame["channels"].tolist() == ["x/c.png"]
    assert made.counts[0].rejected == {"outside": 1, "unusable_name": 1}


def test_the_order_of_the_table_does_not_matter(tmp_path):
    lines = [f"{n % 3}/{n}.png,round,{n % 4}\n" for n in range(12)] + ['"0/0.png#xywh=0,0,9,9",round,0\n']
    files = {f"{n % 3}/{n}.png": "" for n in range(12)}
    frames = []
    for name, order in (("a", lines), ("b", lines[::-1])):
        raw = write(tmp_path / name, {f"x/{file}": "" for file in files} | {"x/images.csv": HEADER + "".join(order)})
        frames.append(build_catalog(raw).frame)
    pd.testing.assert_frame_equal(*frames)
    assert len(frames[0]) == 13


@pytest.mark.parametrize("below", ["", "plate/"])
def test_a_zip_gives_the_rows_of_its_folder(tmp_path, below):
    folder = write(tmp_path / "folder" / "plate", PLATE)
    (tmp_path / "zip").mkdir()
    zipped(folder, tmp_path / "zip" / "plate.zip", below)
    one, two = build_catalog(tmp_path / "folder"), build_catalog(tmp_path / "zip")
    changed = ["channels", "path"]
    pd.testing.assert_frame_equal(one.frame.drop(columns=changed), two.frame.drop(columns=changed))
    expected = one.frame["channels"].str.replace("plate/", f"plate.zip/{below}", regex=False)
    assert two.frame["channels"].tolist() == expected.tolist()
    assert two.frame["path"].tolist() == [f"plate.zip/{below}a", f"plate.zip/{below}b"]
    assert vars(one.counts[0]) == vars(two.counts[0])
    assert one.own == two.own


def test_an_inventory_replaces_the_images(tmp_path):
    here = write(tmp_path / "here", {f"plate/{name}": content for name, content in PLATE.items()})
    there = write(tmp_path / "there", {f"plate/{n}": PLATE[n] for n in ("images.csv", "source.yaml")})
    (there / "plate" / "files.txt").write_text("\n".join(name for name in PLATE if "source" not in name) + "\n")
    pd.testing.assert_frame_equal(build_catalog(here).frame, build_catalog(there).frame)


def test_a_folder_in_an_object_store(s3, tmp_path):
    folder = write(tmp_path / "raw", {f"plate/{name}": content for name, content in PLATE.items()})
    s3.put(f"{folder}/", "lab/raw/", recursive=True)
    s3.pipe_file("lab/raw/other.zip", b"")
    made = build_catalog("s3://lab/raw")
    pd.testing.assert_frame_equal(made.frame, build_catalog(folder).frame)
    assert made.unknown == {"other.zip": "a zip is read from this machine's disk: download it, or unpack it"}


def test_what_is_in_raw(tmp_path):
    image = {"a.png": "", "images.csv": HEADER + "a.png,round,\n"}
    for name in ("mine", "bbbc013", "coos7", "two|bars"):
        write(tmp_path / name, image)
    write(
        tmp_path,
        {"facts/source.yaml": "name: x\n", "bbbc014/a.bmp": "", "broken.zip": b"PK", "notes.txt": "", "zzz/a.png": ""},
    )
    zipped(tmp_path / "mine", tmp_path / "mine.zip")
    zipped(tmp_path / "mine", tmp_path / "Other.ZIP")
    zipped(tmp_path / "zzz", tmp_path / "BBBC014_v1_images.zip")
    found, left_out = find_sources(str(tmp_path))
    assert [(one.dir_name, one.table, one.record is not None) for one in found] == [
        ("Other", "images.csv", False),
        ("bbbc013", "images.csv", False),
        ("bbbc014", "", True),
        ("mine", "images.csv", False),
    ]
    assert left_out["coos7"] == "evaluation data; it never enters the catalogue"
    assert left_out["facts"] == "a folder with source.yaml, but without images.csv"
    assert left_out["mine.zip"] == "the folder mine is read instead"
    assert left_out["BBBC014_v1_images.zip"] == "a zip without images.csv: unpack it"
    assert left_out["two|bars"] == "its name contains | or #"
    assert left_out["zzz"] == "not a known source"
    assert left_out["broken.zip"].startswith("not a whole zip file")
    made = build_catalog(tmp_path, ["mine", "bbbc013"])
    assert made.frame["dir_name"].tolist() == ["bbbc013", "mine"]
    assert made.frame["name"].tolist() == ["bbbc013", "mine"]  # not the facts of the publisher's set
    assert "read by its image table, not by the reader of the known source of this name" in made.counts[0].remarks
    with pytest.raises(UsageError, match=r"'mien' is not a known source\nDid you mean mine"):
        build_catalog(tmp_path, ["mien"])
    with pytest.raises(UsageError, match=r"'facts' is a folder with source\.yaml, but without images\.csv"):
        build_catalog(tmp_path, ["facts"])
    with pytest.raises(UsageError, match="No folder bbbc015"):
        build_catalog(tmp_path, ["bbbc015"])


def test_facts_travel_with_the_tables(tmp_path):
    write(tmp_path, {f"raw/plate/{name}": content for name, content in PLATE.items()})
    write_catalog(tmp_path / "raw", tmp_path / "c.parquet")
    select(tmp_path / "c.parquet", tmp_path / "s.parquet", min_images=1)
    facts = {
        "plate": {
            "name": "Our plate",
            "database": "Our lab",
            "licence": "CC0 1.0",
            "link": "https://lab.example",
            "citation": "",
        }
    }
    assert schema.own_sources(tmp_path / "c.parquet") == schema.own_sources(tmp_path / "s.parquet") == facts
    assert schema.read(tmp_path / "s.parquet", schema.SELECTION)["group"].tolist() != ["", ""]


def test_the_commands_show_what_was_understood(tmp_path):
    raw = write(tmp_path / "raw", {f"plate/{name}": content for name, content in PLATE.items()})
    shown = run("catalog", raw, "--out", tmp_path / "c.parquet", "--explain")
    assert shown.exit_code == 0
    assert "plate: 5 rows in the image table = 2 usable + 2 missing_channel + 1 repeated" in shown.output
    assert "homo sapiens -> human" in shown.output
    assert f"3 rows of image tables can't be used: {tmp_path}/c.rejected.csv" in shown.output
    assert len(pd.read_csv(tmp_path / "c.rejected.csv")) == 3
    (raw / "plate" / "source.yaml").unlink()
    (raw / "plate" / "images.csv").write_text("file,compound\nb/2_1.tif,Taxol\n")
    told = json.loads(run("catalog", raw, "--out", tmp_path / "c.parquet", "--json").stdout)
    assert told["rejected_csv"] == ""
    assert not (tmp_path / "c.rejected.csv").exists()
    assert run("catalog", raw, "--out", tmp_path / "c.parquet", "--strict").exit_code == 0
    (raw / "plate" / "images.csv").write_text("file,compound\nb/2_1.tif,Taxol\nb/9.tif,Taxol\n")
    assert isinstance(run("catalog", raw, "--out", tmp_path / "c.parquet", "--strict").exception, MetadataError)


def test_sources_lists_what_is_in_a_folder(tmp_path):
    raw = write(tmp_path / "raw", {f"plate/{name}": content for name, content in PLATE.items()})
    write(raw, {"bbbc014/a.bmp": "", "zzz/a.png": ""})
    shown = " ".join(run("sources", raw).output.split())
    assert "Our lab plate Our plate 2 images (tif) · human · nucleus, actin, membrane · confocal" in shown
    assert f"licence: CC0 1.0; read from {raw}/plate https://lab.example" in shown
    assert "bbbc014 Human U2OS cells" in shown
    assert f"Left out: {raw}/zzz (not a known source)" in shown
    assert "2 sources" in shown
    [record] = json.loads(run("sources", raw, "plate", "--json").stdout)
    assert record == {**record, "dir_name": "plate", "images": 2, "tried": "image table", "path": f"{raw}/plate"}
    assert isinstance(run("sources", tmp_path / "nowhere").exception, UsageError)
    assert run("sources", "bbbc013").exit_code == 0


CELL = st.sampled_from(["", "a", "b", "a|b"])


@given(
    st.lists(st.tuples(st.sampled_from([f"{n}.png" for n in range(9)]), CELL, CELL), min_size=1, max_size=14),
    st.sets(st.integers(0, 8), min_size=1),
)
def test_every_row_and_file_is_accounted_for(tmp_path_factory, lines, present):
    raw = tmp_path_factory.mktemp("raw")
    text = io.StringIO()
    csv.writer(text).writerows([("file", "phenotype", "group"), *lines])
    write(raw / "x", {"images.csv": text.getvalue(), **{f"{n}.png": "" for n in present}})
    usable = {}  # slow and obvious: the first row of each file that exists
    for file, phenotype, group in lines:
        if int(file[0]) in present:
            usable.setdefault(file, (phenotype, group))
    if not usable:
        with pytest.raises(MetadataError, match="can be used"):
            build_catalog(raw)
    elif all(phenotype == "" for phenotype, _ in ((p, g) for _, p, g in lines)):
        assert build_catalog(raw).counts[0].unlabelled == len(usable)
    else:
        made = build_catalog(raw)
        rows = made.frame
        found = dict(zip(rows["filename"], zip(rows["phenotype"], rows["group"], strict=True), strict=True))
        assert found == usable
        [counts] = made.counts
        assert counts.offered == len(lines) == len(rows) + len(made.rejected)
        assert counts.listed == len(present) + 1 == counts.used + sum(counts.skipped.values())
        assert counts.unlabelled == sum(phenotype == "" for phenotype, _ in usable.values())
    shutil.rmtree(raw)


@pytest.mark.real
def test_the_real_sets(shared, tmp_path):
    if not (shared / "real" / "pretrain").is_dir():
        pytest.skip("no ../shared/real")
    for path in (shared / "real" / "pretrain").glob("*.zip"):
        (tmp_path / path.name).symlink_to(path)
    made = build_catalog(tmp_path)
    assert len(made.counts) == 17
    assert sum(counts.offered for counts in made.counts) == len(made.frame) == 25_977
    assert len(made.rejected) == 0
    assert {counts.source: counts.rows for counts in made.counts}["plankton"] == 11_800
    assert (made.frame["group"] != "").all()
    labels = made.frame[["organism", "cell_type", "cell_visible", "phenotype"]]
    assert (labels != "").any(axis=1).all()
    assert made.frame.loc[made.frame["dir_name"] == "malaria", "group"].nunique() == 196


def test_plate_well_site_control_magnification_and_pixel_size_are_carried(tmp_path):
    table = (
        "file,phenotype,Plate,well,Site,Control,Magnification,Pixel size,group\n"
        "a.tif,round,P1,a1,3,Negative control,20x,0.65 um,g\nb.tif,round,P1,C - 05,,pos,,0.5,g\nc.tif,flat,,,,,,,g\n"
    )
    write(tmp_path, {"mine/images.csv": table, **dict.fromkeys(("mine/a.tif", "mine/b.tif", "mine/c.tif"), "")})
    made = build_catalog(tmp_path)
    columns = ["plate", "well", "site", "control", "magnification", "pixel_size"]
    found = made.frame[columns]
    assert found.astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["P1", "A01", "3", "negative", 20.0, 0.65],
        ["P1", "C05", "", "positive", None, 0.5],
        ["", "", "", "", None, None],
    ]
    assert not any("does not use" in remark for remark in made.counts[0].remarks)


@pytest.mark.parametrize(
    ("column", "cell", "advice"),
    [
        ("control", "DMSO", "Write negative or positive"),
        ("magnification", "high", "such as 20"),
        ("pixel_size", "650 nm", "in micrometres"),
        ("pixel_size", "0", "in micrometres"),
    ],
)
def test_cells_that_are_no_control_and_no_number_are_named(column, cell, advice, tmp_path):
    write(tmp_path, {"mine/images.csv": f"file,phenotype,{column}\na.tif,round,{cell}\n", "mine/a.tif": ""})
    with pytest.raises(MetadataError, match=f"'{column}' of the image 'a.tif' has '{cell}'") as caught:
        build_catalog(tmp_path)
    assert advice in str(caught.value) and f"Metadata_{column}" in str(caught.value)
