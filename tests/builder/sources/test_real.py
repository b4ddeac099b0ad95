"""Real file lists and tables of ../shared, compared row by row with the published ones and with known counts."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from ast import literal_eval
from collections import Counter

import pandas as pd
import pytest
from cytoimagenet import SOURCES
from cytoimagenet.builder.images.channels import parse
from cytoimagenet.builder.sources.bbbc import ADDRESS
from cytoimagenet.builder.sources.catalog import build_catalog
from cytoimagenet.builder.sources.kaggle import SINGLE_CELL, WHOLE_IMAGE
from cytoimagenet.builder.sources.publisher_tables import read_table
from cytoimagenet.builder.sources.vocabulary import standard

pytestmark = pytest.mark.real

COMMON = ["organism", "cell_type", "cell_visible", "phenotype", "microscopy"]
# source: (files, our rows, why fewer)
ROWS = {
    "bbbc005": (2_400, 0, "all listed files are ground-truth masks, which are not images"),
    "bbbc006": (1_536, 768, "both channels of a field are one row"),
    "bbbc013": (192, 96, "both channels of a field are one row"),
    "bbbc014": (192, 96, "both channels of a field are one row"),
    "bbbc015": (288, 144, "both channels of a field are one row"),
    "bbbc026": (864, 864, ""),
    "bbbc051": (5_600, 5_600, ""),
    "cil_kinome": (908, 908, ""),
    "kag_cell_cycle": (90, 90, ""),
}
# source: (published stains, ours, why they differ)
STAINS = {
    "bbbc006": ("nucleus|actin", "nucleus|actin", ""),
    "bbbc013": ("nucleus", "fkhr-gfp|nucleus", "the published table leaves out the second channel's stain"),
    "bbbc014": ("nucleus", "nfkb|nucleus", "the published table leaves out the second channel's stain"),
    "bbbc015": ("nucleus|cell membrane", "nucleus/cell membrane|arrestin-gfp", "stains are parallel to the files"),
    "bbbc026": ("nucleus", "nucleus", ""),
    "bbbc051": ("nucleus", "nucleus", ""),
    "cil_kinome": ("nucleus|protein", "nucleus/protein", "two stains in one file"),
    "kag_cell_cycle": ("light", "", "light is a kind of microscopy, no stain"),
}


def lay(raw, name, shared, files, *tables):
    """Copy a source's real tables next to an inventory."""
    (raw / name).mkdir(parents=True)
    (raw / name / "files.txt").write_text("".join(f"{path}\n" for path in files))
    for table in tables:
        shutil.copy(shared / "metadata" / table, raw / name)


def read(raw, name):
    made = build_catalog(raw, [name])
    [counts] = made.counts
    assert counts.listed == counts.used + sum(counts.skipped.values())
    return made.frame, counts


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_those_of_the_published_table(shared, tmp_path, name):
    listed = (shared / "metadata" / name / f"{name}_files.txt").read_text().splitlines()
    tables = ["cil_kinome/cil_kinome_mapping.csv"] if name == "cil_kinome" else []
    lay(tmp_path, name, shared, listed, *tables)
    frame, counts = read(tmp_path, name)
    files, rows, _ = ROWS[name]
    assert (counts.listed, len(frame)) == (files, rows)
    if rows == 0:
        assert counts.skipped == {"mask": 2_400}
        return
    published = pd.read_csv(shared / "metadata" / name / "expected" / f"{name}_metadata.csv", keep_default_na=False)
    assert len(published) == files
    # after the later rules: cell_component is cell_visible, lower case, lists written as text, no doubt
    wanted = published.rename(columns={"cell_component": "cell_visible"})
    for column in COMMON:
        wanted[column] = [standard(text, "phenotype" if column == "microscopy" else column) for text in wanted[column]]
    if name == "bbbc014":  # the published table has both cell lines for every well; the plate has four rows of each
        assert set(wanted["cell_type"]) == {"mcf7|a549"}
        row = wanted["filename"].str.extract(r"-([A-H])-")[0]
        wanted["cell_type"] = row.lt("E").map({True: "mcf7", False: "a549"})
    wanted["file"] = wanted["path"].str.removeprefix("/ferrero/stan_data/").str.rstrip("/") + "/" + wanted["filename"]
    ours = frame.assign(file=frame["channels"].str.split("|")).explode("file")
    ours["file"] = [parse(file).file for file in ours["file"]]
    columns = ["file", "database", "name", "dir_name", *COMMON]
    pd.testing.assert_frame_equal(
        ours[columns].sort_values("file", ignore_index=True),
        wanted[columns].sort_values("file", ignore_index=True),
        check_dtype=False,
    )
    theirs, mine, why = STAINS[name]
    said = {text.replace("'", '"') for text in wanted["channels"]}
    said = {"|".join(json.loads(text)) if text.startswith("[") else text for text in said}
    assert {text.replace("f_", "") for text in said} == {theirs}
    assert set(frame["stains"]) == {mine}
    assert bool(why) == (theirs != mine)


@pytest.fixture(scope="module")
def published(shared):
    table = pd.read_csv(shared / "metadata" / "registry" / "datasets_info.csv", keep_default_na=False)
    return table.drop_duplicates("dir_name").set_index("dir_name")


@pytest.fixture(scope="module")
def registry(published):
    return published["class_sizes"][published["class_sizes"] != ""].map(literal_eval)


@pytest.mark.parametrize("name", SOURCES)
def test_records_name_every_published_address(published, name):
    source = SOURCES[name]
    row = published.loc[name]
    said = re.findall(r"[^\s'\",\[\]]+://[^\s'\",\]]+|kaggle [^'\"]+", row["download"] + " " + row["metadata_download"])
    moved = {address.replace("http://www.broadinstitute.org/bbbc", ADDRESS).strip() for address in said}
    assert moved <= set(source.downloads)
    assert (source.name, source.link, source.database) == (
        row["name"].strip(),
        row["link"].strip().split("#")[0],
        row["database"],
    )


def test_six_real_sources(shared):
    made = build_catalog(shared / "raw")
    assert made.frame.groupby("dir_name").size().to_dict() == {
        "bbbc010": 4,
        "bbbc011": 2,
        "bbbc012": 2,
        "bbbc013": 8,
        "bbbc014": 1,
        "bbbc038": 52,
    }
    assert made.frame.groupby("organism").size().to_dict() == {"human": 9, "human|mouse|fly": 52, "nematode": 8}
    assert {c.source: dict(c.skipped) for c in made.counts if c.skipped} == {
        "bbbc013": {"not an image file": 1},
        "bbbc038": {"mask": 145},
    }
    assert all(c.listed == c.used + sum(c.skipped.values()) for c in made.counts)


def test_bbbc010_has_two_rows_a_field(shared, tmp_path):
    listed = (shared / "metadata" / "bbbc010" / "file_list_v1_images.txt").read_text().splitlines()
    lay(tmp_path, "bbbc010", shared, listed)
    frame, _ = read(tmp_path, "bbbc010")
    assert frame["stains"].value_counts().to_dict() == {"intestine": 98, "brightfield": 97}
    assert set(frame["phenotype"]) == {"wildtype", "dead"}


def test_bbbc006_counts_are_not_shifted_by_their_trailing_commas(shared):
    columns = {"count": "Image_Count_Nuclei", "name": "Image_FileName_OrigDAPI", "well": "Image_Metadata_Well"}
    table = read_table(shared / "metadata" / "bbbc006" / "BBBC006_v1_counts.csv", columns)
    assert len(table) == 768
    assert table.iloc[0].tolist() == [
        "7",
        "mcf-z-stacks-03212011_a01_s1_w197083f74-b742-4ab9-ae46-d58ae8bfa7b6.tif",
        "a01",
    ]


def test_bbbc017_has_43_classes_and_none_is_no_class(shared, tmp_path):
    wells = [f"{row}{column:02}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    files = [
        f"BBBC017_v1_images_NIRHTa-{plate:03}/AS_09125_04{plate:03}_{well}f00d{channel}.DIB"
        for plate in range(1, 16)
        for well in wells
        for channel in range(3)
    ]
    lay(tmp_path, "bbbc017", shared, files, "bbbc017/BBBC017_v1_metadata.xls")
    frame, counts = read(tmp_path, "bbbc017")
    assert (len(frame), counts.unlabelled, counts.labels_without_image) == (5_760, 0, 0)
    classes = frame["phenotype"].str.split("|").explode()
    assert classes[classes != ""].nunique() == 43
    assert "none" not in set(classes)
    raw = read_table(tmp_path / "bbbc017" / "BBBC017_v1_metadata.xls", {"class": "class"})
    assert (raw["class"] == "NONE").sum() == 417
    assert (frame["phenotype"] == "").sum() == 417 + (raw["class"] == "").sum()
    assert frame["gene"].str.fullmatch(r"(.+ targeted)?").all()


def test_bbbc022_gathers_the_five_channels_of_69_120_fields(shared, tmp_path):
    wave = {"ERSyto": 2, "ERSytoBleed": 3, "Hoechst": 1, "Mito": 5, "Ph_golgi": 4}
    files = []
    for screen in sorted((shared / "metadata" / "bbbc022" / "screens").glob("*.gz")):
        plate = screen.name.split(".")[0]
        for line in gzip.decompress(screen.read_bytes()).decode().splitlines():
            if line.startswith("Field_"):
                for part in line.split("<")[1].split(">")[0].split(","):
                    channel, name = part.split("/")
                    files.append(f"BBBC022_v1_images_{plate}w{wave[channel]}/{name}.tif")
    lay(tmp_path, "bbbc022", shared, files, "bbbc022/idr0036-screenA-library.txt.gz")
    frame, counts = read(tmp_path, "bbbc022")
    assert (len(frame), counts.used, counts.unlabelled) == (69_120, 345_600, 0)
    assert set(frame["stains"]) == {"nucleus|er|nucleoli|actin/golgi|mitochondria"}
    assert not counts.skipped
    library = read_table(tmp_path / "bbbc022" / "idr0036-screenA-library.txt.gz", {"compound": "Compound Name"})
    # nine sites a well; names that differ in case alone are one
    assert (frame["compound"].value_counts() == library["compound"].str.lower().value_counts() * 9).all()
    assert (frame["compound"] == "dmso").sum() == 1_280 * 9


def test_bbbc041_has_a_row_for_each_of_5_922_objects(shared, tmp_path):
    entries = json.loads((shared / "metadata" / "bbbc041" / "test.json").read_text())
    files = [f"malaria{entry['image']['pathname']}" for entry in entries]
    lay(tmp_path, "bbbc041", shared, files, "bbbc041/test.json")
    frame, counts = read(tmp_path, "bbbc041")
    assert (len(frame), counts.used, counts.unlabelled, counts.labels_without_image) == (5_922, 120, 0, 0)
    shape = {entry["image"]["pathname"].rsplit("/", 1)[-1]: entry["image"]["shape"] for entry in entries}
    for place in map(parse, frame["channels"]):
        size = shape[place.file.rsplit("/", 1)[-1]]
        assert place.box[2] > 0
        assert place.box[3] > 0
        assert place.box[0] + place.box[2] <= size["c"]
        assert place.box[1] + place.box[3] <= size["r"]
    kinds = Counter(item["category"] for entry in entries for item in entry["objects"])
    assert frame["cell_type"].value_counts().to_dict() == dict(kinds)


def test_bbbc048_phases(shared, tmp_path, registry):
    lists = [shared / "metadata" / "bbbc048" / f"{part}_fold_1.lst" for part in ("train", "test")]
    files = {line.split("\t")[2].strip().removeprefix("../data/") for path in lists for line in path.open()}
    lay(tmp_path, "bbbc048", shared, sorted(files))
    frame, _ = read(tmp_path, "bbbc048")
    phases = ("g1", "s", "g2", "prophase", "metaphase", "anaphase", "telophase")
    found = frame["phenotype"].value_counts()
    assert [found[phase] for phase in phases] == registry["bbbc048"]
    assert found.sum() == 32_266


@pytest.mark.parametrize(
    ("name", "columns", "names", "rows", "agree"),
    [
        ("kag_hpa", {"image": "Id", "codes": "Target"}, WHOLE_IMAGE, 31_072, 28),
        # the first entry is that of all images; three sizes differ from the table's as published
        ("kag_hpa_single", {"image": "ID", "codes": "Label"}, SINGLE_CELL, 21_806, 16),
    ],
)
def test_human_protein_atlas(shared, tmp_path, registry, name, columns, names, rows, agree):
    table = read_table(shared / "metadata" / name / f"{name}_train.csv", columns)
    codes = Counter(code for cell in table["codes"] for code in cell.replace("|", " ").split())
    sizes = registry[name][1:]
    assert sum(codes[str(number)] == size for number, size in enumerate(sizes)) == agree
    files = [f"train/{image}_{colour}.png" for image in table["image"] for colour in ("blue", "green", "red", "yellow")]
    lay(tmp_path, name, shared, files, f"{name}/{name}_train.csv")
    frame, counts = read(tmp_path, name)
    assert (len(frame), counts.unlabelled, counts.labels_without_image) == (4 * rows, 0, 0)
    assert set(frame["stains"].value_counts()) == {rows}
    green = frame[frame["stains"] == "protein"]["cell_visible"]
    seen = set(green.str.split("|").explode()) - {""}
    assert seen <= set(names)
    # what many images of other sources show is kept only if there is no other label
    assert not green[green.str.contains("|", regex=False)].str.split("|").explode().isin(["nucleus", "er"]).any()


def test_kinase_groups(shared, tmp_path):
    listed = (shared / "metadata" / "cil_kinome" / "cil_kinome_files.txt").read_text().splitlines()
    lay(tmp_path, "cil_kinome", shared, listed[:-1], "cil_kinome/cil_kinome_mapping.csv")
    frame, counts = read(tmp_path, "cil_kinome")
    assert (len(frame), counts.unlabelled, counts.labels_without_image) == (907, 0, 1)
    assert frame["cell_visible"].nunique() == 12
