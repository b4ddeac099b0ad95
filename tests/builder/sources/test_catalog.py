"""All sources in one table: simulated in their true layouts, read back, compared with what was written."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.commands import catalog as commands
from cytoimagenet.builder.console import application
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.formats.read import read_channel
from cytoimagenet.builder.images.channels import parse
from cytoimagenet.builder.schema import LABEL_COLUMNS
from cytoimagenet.builder.simulate.source import simulate_source
from cytoimagenet.builder.sources.catalog import build_catalog, write_catalog
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.vocabulary import standard
from typer.testing import CliRunner

HERE = sorted(name for name in SOURCES if name.startswith(("bbbc", "kag", "cil")))
FIELDS = 30
# rows per field: a separate row for brightfield, one row per stain, one row per box
ROWS = {"bbbc010": 2, "bbbc012": 2, "kag_hpa": 4, "kag_hpa_single": 4, "bbbc041": 8}
LABELLED_BY_FIELD = dict.fromkeys(HERE, ()) | {
    "bbbc010": ("phenotype",),
    "bbbc011": ("phenotype",),
    "bbbc017": ("gene", "phenotype"),
    "bbbc022": ("compound",),
    "bbbc048": ("phenotype",),
    "bbbc051": ("cell_type",),
    "cil_kinome": ("cell_visible",),
    "kag_cell_cycle": ("phenotype",),
    "kag_leukemia": ("phenotype",),
}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    return raw, {name: simulate_source(name, raw, seed=3, fields=FIELDS, pixels=False) for name in HERE}


@pytest.fixture(scope="module")
def made(simulated):
    return build_catalog(simulated[0])


@pytest.mark.parametrize("name", HERE)
def test_what_was_written_is_read(simulated, made, name):
    written = simulated[1][name]
    frame = made.frame.query("dir_name == @name")
    [counts] = [count for count in made.counts if count.source == name]
    assert len(frame) == FIELDS * ROWS.get(name, 1) == counts.rows
    assert counts.listed == counts.used + sum(counts.skipped.values()) == len(written.files)
    assert sum(counts.skipped.values()) == written.extras
    assert frame["idx"].tolist() == [f"{name}-{i}" for i in range(len(frame))]

    by_file = {}
    for channels, labels in zip(frame["channels"], frame[list(LABELLED_BY_FIELD[name])].values.tolist(), strict=True):
        for channel in channels.split("|"):
            by_file.setdefault(parse(channel).file.removeprefix(f"{name}/"), set()).add(tuple(labels))
    assert len(by_file) == counts.used
    truth = written.fields
    per_field = len(written.files) // FIELDS
    for index, field in truth.iterrows():
        wanted = tuple(_said(field, column) for column in LABELLED_BY_FIELD[name])
        of_field = written.files[index * per_field : (index + 1) * per_field]
        found = [by_file[path] for path in of_field if path in by_file]
        assert found
        assert all(labels == {wanted} for labels in found), (name, index, found)


def _said(field, column):
    return standard(field[column].replace("|", "/") if column == "compound" else field[column], column)


@pytest.mark.parametrize(
    "name", ["bbbc017", "bbbc022", "bbbc041", "cil_kinome", "kag_hpa", "kag_leukemia", "rec_rxrx1"]
)
def test_without_its_table_a_source_gives_rows_without_labels(tmp_path, name):
    simulate_source(name, tmp_path, seed=0, fields=6, pixels=False)
    for path in (tmp_path / name).rglob("*.*"):
        if path.is_file() and path.name != "files.txt":
            path.unlink()
    [counts] = build_catalog(tmp_path).counts
    # of four stains one is labelled by the table, of leukemia's cells one in three has it in its name
    assert counts.unlabelled == {"kag_leukemia": 4}.get(name, 6)
    assert counts.rows == (24 if name == "kag_hpa" else 6)


def test_labels_of_the_green_channel_alone(simulated, made):
    for name in ("kag_hpa", "kag_hpa_single"):
        truth = simulated[1][name].fields.set_index("image")["protein"]
        frame = made.frame.query("dir_name == @name")
        identifier = frame["filename"].str.rsplit("_", n=1).str[0]
        green = frame["filename"].str.contains("_green")
        assert frame.loc[green, "cell_visible"].tolist() == truth[identifier[green]].tolist()
        assert sorted(frame.loc[~green, "cell_visible"].unique()) == ["er", "microtubules", "nucleus"]
        assert (frame["stains"].value_counts() == FIELDS).all()


def test_each_box_of_a_smear_is_a_row(simulated, made):
    truth = simulated[1]["bbbc041"].fields
    boxes = {}
    for _, field in truth.iterrows():
        path = f"bbbc041/malaria/images/{field['image']}.{field['extension']}"
        for item in field["objects"]:
            low, high = item["bounding_box"]["minimum"], item["bounding_box"]["maximum"]
            box = (low["c"], low["r"], high["c"] - low["c"], high["r"] - low["r"])
            boxes[path, box] = standard(item["category"], "cell_type")
    frame = made.frame.query("dir_name == 'bbbc041'")
    found = {(parse(c).file, parse(c).box): kind for c, kind in zip(frame["channels"], frame["cell_type"], strict=True)}
    assert found == boxes
    assert "white blood cell" in boxes.values()


def test_a_second_copy_of_the_boxes_changes_nothing(tmp_path):
    simulate_source("bbbc041", tmp_path, seed=0, fields=3, pixels=False)
    before = build_catalog(tmp_path).frame
    folder = tmp_path / "bbbc041"
    (folder / "training.json").write_bytes((folder / "malaria" / "training.json").read_bytes())
    pd.testing.assert_frame_equal(build_catalog(tmp_path).frame, before)


def test_movies_donors_and_fields_are_groups(made, tmp_path):
    simulate_source("idr0041", tmp_path, seed=0, fields=90, pixels=False)
    movie = build_catalog(tmp_path).frame
    assert movie["group"].tolist() == movie["path"].str.extract(r"^idr0041/(.*)/rawtif$")[0].tolist()
    assert movie["group"].nunique() == 3
    frame = made.frame
    donor = frame[frame["dir_name"] == "bbbc045"]
    assert donor["group"].tolist() == donor["path"].str.extract(r"Stained_Montages/([^/]+)/")[0].tolist()
    patient = frame[frame["dir_name"] == "kag_leukemia"]
    named = patient["filename"].str.extract(r"^UID_([^_]+)_")[0]
    assert patient["group"][named.notna()].tolist() == named.dropna().tolist()
    assert set(patient["group"][named.isna()]) == {"57", ""}  # of the table; the final test set names none
    stains = frame[frame["dir_name"] == "kag_hpa"]
    assert stains.groupby("group")["path"].size().unique().tolist() == [4]
    by_image = frame[frame["dir_name"] == "bbbc013"]
    assert set(by_image["group"]) == {""}


def test_rules_hold_in_every_row(made):
    frame = made.frame
    schema.check(frame, schema.CATALOG)
    assert not frame["idx"].duplicated().any()
    for column in LABEL_COLUMNS:
        values = frame[column].unique()
        assert [value for value in values if standard(value, column) != value] == []
    assert (frame["channels"].str.count(r"\|") == frame["stains"].str.count(r"\|")).all()
    assert set(frame.loc[frame["stains"] == "brightfield", "microscopy"]) == {"brightfield"}


@pytest.mark.parametrize("name", HERE)
def test_every_file_that_is_simulated_can_be_read(tmp_path, name):
    simulate_source(name, tmp_path, seed=1, fields=1)
    for channels in build_catalog(tmp_path).frame["channels"]:
        for channel in channels.split("|"):
            place = parse(channel)
            plane = read_channel(tmp_path / place.file, page=place.page)
            assert plane.ndim == 2
            assert plane.std() > 0


def test_equal_seeds_give_equal_bytes_and_rows_do_not_depend_on_the_order_of_the_inventory(tmp_path):
    for folder in ("a", "b"):
        simulate_source("bbbc012", tmp_path / folder, seed=5, fields=6, pixels=folder == "a")
    inventory = tmp_path / "b" / "bbbc012" / "files.txt"
    inventory.write_text("".join(f"{line}\n" for line in reversed(inventory.read_text().split("\n")) if line))
    pd.testing.assert_frame_equal(build_catalog(tmp_path / "a").frame, build_catalog(tmp_path / "b").frame)


def test_writing_gives_the_rows_of_building(simulated, made, tmp_path):
    write_catalog(simulated[0], tmp_path / "one.parquet")
    write_catalog(simulated[0], tmp_path / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    pd.testing.assert_frame_equal(schema.read(tmp_path / "one.parquet", schema.CATALOG), made.frame)


def test_folders_that_are_no_source_are_named(tmp_path):
    simulate_source("bbbc013", tmp_path, seed=0, fields=1, pixels=False)
    for name in ("bbbc13", "bbbc021", "zzzz", ".cache"):
        (tmp_path / name).mkdir()
    unknown = build_catalog(tmp_path).unknown
    assert sorted(unknown) == ["bbbc021", "bbbc13", "zzzz"]
    assert unknown["bbbc021"] == "evaluation data; it never enters the catalogue"
    assert unknown["bbbc13"].startswith("not a known source; nearest: bbbc013, ")
    assert unknown["zzzz"] == "not a known source"


def test_what_can_not_be_read_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="No such folder"):
        build_catalog(tmp_path / "absent")
    with pytest.raises(UsageError, match="it is empty"):
        build_catalog(tmp_path)
    (tmp_path / "bbbc021").mkdir()
    with pytest.raises(UsageError, match="evaluation data"):
        build_catalog(tmp_path)
    with pytest.raises(UsageError, match="No folder bbbc013"):
        build_catalog(tmp_path, ["bbbc013"])


def test_a_malformed_table_leaves_no_catalogue_behind(tmp_path):
    simulate_source("cil_kinome", tmp_path, seed=0, fields=2, pixels=False)
    (tmp_path / "cil_kinome" / "cil_kinome_mapping.csv").write_text("file_name,kinase\n53464.zip\n")
    with pytest.raises(MetadataError, match=r"mapping\.csv, line 2"):
        write_catalog(tmp_path, tmp_path / "out.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["cil_kinome"]


def run(*arguments):
    app = application("0")
    commands.add_to(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_prints_every_count(tmp_path):
    simulate_source("bbbc006", tmp_path / "raw", seed=0, fields=2, pixels=False)
    simulate_source("kag_leukemia", tmp_path / "raw", seed=0, fields=6, pixels=False)
    (tmp_path / "raw" / "bbbc6").mkdir()
    shown = run("catalog", tmp_path / "raw", "--out", tmp_path / "c.parquet", "--explain")
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert "bbbc006 8 4 2 0 0 4" in lines
    assert "kag_leukemia 6 6 6 2 0 0" in lines
    assert "all 14 10 8 2 0 4" in lines
    assert "bbbc006: 2 files skipped: out of focus" in lines
    assert f"Wrote 8 rows to {tmp_path / 'c.parquet'}" in lines
    left_out = f"Left out: {tmp_path / 'raw' / 'bbbc6'} (not a known source; nearest: bbbc006, "
    assert any(line.startswith(left_out) for line in lines)
    assert len(schema.read(tmp_path / "c.parquet", schema.CATALOG)) == 8


def test_the_command_speaks_json(tmp_path):
    simulate_source("cil_kinome", tmp_path / "raw", seed=0, fields=3, pixels=False)
    printed = json.loads(run("catalog", tmp_path / "raw", "--out", tmp_path / "c.parquet", "--json").stdout)
    assert printed["rows"] == 3
    assert printed["sources"][0]["listed"] == 3
    assert {entry["rule"] for entry in printed["rules"]} == {"lower case"}
    [record] = json.loads(run("sources", "cil_kinome", "--json").stdout)
    assert record == {**record, "database": "Cell Image Library", "images": 908, "stains": ["nucleus", "protein"]}
    assert len(json.loads(run("sources", "--json").stdout)) == 40


def test_the_list_of_sources_marks_unverified_licences():
    shown = run("sources").output
    assert "40 sources" in shown
    assert "licence: CC0 1.0; reader tested with real metadata" in shown
    assert "licence: CC0 1.0 (unverified); reader tested with real images" in shown
