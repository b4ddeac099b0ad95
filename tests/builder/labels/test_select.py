"""The label command: the same rows as the function, nothing lost, a report that adds up."""

import json

import matplotlib
import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import commands, schema
from cytoimagenet.builder.console import application
from cytoimagenet.builder.errors import SchemaError
from cytoimagenet.builder.labels import select as selection
from cytoimagenet.builder.labels.assign import assign_labels
from cytoimagenet.builder.labels.report import plot
from PIL import Image
from typer.testing import CliRunner


def catalogue(rows, rng):
    frame = pd.DataFrame({name: [schema.empty(name)] * rows for name in schema.CATALOG.names}, dtype="str")
    number = pd.Series(np.arange(rows)).astype(str)
    frame["idx"] = "row-" + number
    frame["database"] = rng.choice(["a", "b"], rows).astype(str)
    frame["dir_name"] = "bbbc000"
    frame["channels"] = "bbbc000/" + number + "_w1.tif|bbbc000/" + number + "_w2.tif"
    frame["organism"] = "human"
    frame["compound"] = rng.choice(["", "taxol", "dmso|[3h]", "=cmd|b"], rows).astype(str)
    frame["gene"] = rng.choice(["", "tp53", "rare"], rows, p=[0.7, 0.29, 0.01]).astype(str)
    return frame.astype("str")


def run(*words):
    app = application("0")
    commands.add_to(app)
    return CliRunner().invoke(app, [*map(str, words)])


def test_a_catalogue_of_an_earlier_version_has_no_provenance(tmp_path, rng):
    frame = catalogue(300, rng)
    schema.write(frame, "catalog.parquet", schema.CATALOG)
    frame.drop(columns=[name for name in schema.ADDED if name in frame]).to_parquet("earlier.parquet")
    for name in ("catalog", "earlier"):
        selection.select(f"{name}.parquet", f"{name}.out.parquet", min_images=20, max_images=50)
    one, two = (schema.read(f"{name}.out.parquet", schema.SELECTION) for name in ("catalog", "earlier"))
    pd.testing.assert_frame_equal(one, two)
    assert len(schema.read("earlier.parquet", schema.CATALOG, ["idx", "group", "pixel_size"])) == 300


@pytest.mark.parametrize("batch", [7, 2**17])
def test_the_file_contains_what_the_function_returns(tmp_path, rng, monkeypatch, batch):
    monkeypatch.setattr(selection, "_ROWS_AT_ONCE", batch)
    frame = catalogue(300, rng)
    schema.write(frame, "catalog.parquet", schema.CATALOG)
    settings = {"min_images": 20, "max_images": 50, "seed": 3, "allocation": "sqrt", "labels": "unambiguous"}
    report = selection.select("catalog.parquet", "selection.parquet", **settings)
    got = schema.read("selection.parquet", schema.SELECTION)
    expected = assign_labels(frame, **settings)
    pd.testing.assert_frame_equal(got, expected)

    rejected = schema.read("selection.rejected.parquet", schema.REJECTED)
    assert sorted([*got["idx"], *rejected["idx"]]) == sorted(frame["idx"])
    assert set(rejected["reason"]) == {"not_selected"} and set(rejected["stage"]) == {"label"}
    assert rejected["file"].str.fullmatch(r"bbbc000/\d+_w1\.tif").all()

    assert json.loads((tmp_path / "selection.report.json").read_text()) == report
    assert report["rows"] == 300 == report["selected"] + report["not_selected"]
    assert report["selected"] == len(got) == sum(c["images"] for c in report["classes"])
    assert {c["label"]: c["images"] for c in report["classes"]} == got["label"].value_counts().to_dict()
    for c in report["classes"]:
        assert c["databases"] == got[got["label"] == c["label"]]["database"].value_counts().to_dict()
    for column, key in (("category", "by_category"), ("database", "by_database")):
        assert {name: n["images"] for name, n in report[key].items()} == got[column].value_counts().to_dict()
    rare = (frame["gene"] == "rare").sum()
    assert {"label": "rare", "category": "gene", "rows": rare, "left": rare, "why": "fewer than 20 rows"} in report[
        "skipped"
    ]
    assert {"min_images": 20, "labels": len(report["classes"])} in report["thresholds"]


def test_a_chunked_catalogue_gives_the_same_bytes(tmp_path, rng):
    import pyarrow.parquet as pq

    frame = catalogue(300, rng)
    shuffled = frame.sample(frac=1, random_state=1)
    pq.write_table(schema.check(frame, schema.CATALOG), "one.parquet")
    pq.write_table(schema.check(shuffled, schema.CATALOG), "many.parquet", row_group_size=11, use_dictionary=False)
    for name in ("one", "many"):
        selection.select(f"{name}.parquet", f"{name}.out.parquet", min_images=20, max_images=50)
    assert (tmp_path / "one.out.parquet").read_bytes() == (tmp_path / "many.out.parquet").read_bytes()
    assert (tmp_path / "one.out.report.json").read_bytes() == (tmp_path / "many.out.report.json").read_bytes()


def test_the_command(tmp_path, rng):
    schema.write(catalogue(300, rng), "catalog.parquet", schema.CATALOG)
    shown = run("label", "catalog.parquet", "--out", "s.parquet", "--min-images", 20, "--plot", "thresholds.png")
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "thresholds.png").read_bytes()[:4] == b"\x89PNG"
    asked = run("label", "catalog.parquet", "--out", "s.parquet", "--min-images", 20, "--json")
    assert json.loads(asked.stdout) == json.loads((tmp_path / "s.report.json").read_text())
    assert "Examples" in run("label", "--help").output


def test_without_a_frequent_label_the_selection_is_empty(rng):
    schema.write(catalogue(5, rng), "catalog.parquet", schema.CATALOG)
    report = selection.select("catalog.parquet", "s.parquet")
    assert schema.read("s.parquet", schema.SELECTION).empty
    assert (report["selected"], report["not_selected"], report["classes"]) == (0, 5, [])


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / "catalog.parquet").write_bytes(b"no parquet")
    with pytest.raises(SchemaError, match=r"catalog\.parquet"):
        selection.select("catalog.parquet", "s.parquet")
    pd.DataFrame({"idx": ["a"]}).to_parquet("other.parquet")
    with pytest.raises(SchemaError, match="organism"):
        selection.select("other.parquet", "s.parquet")
    assert not (tmp_path / "s.parquet").exists()


def test_the_plot_keeps_the_backend_of_matplotlib(tmp_path):
    before = matplotlib.get_backend()
    try:
        matplotlib.use("svg")
        plot([3, 5, 5, 400], 5, tmp_path / "thresholds.png")
        assert matplotlib.get_backend() == "svg"
    finally:
        matplotlib.use(before)
    assert Image.open(tmp_path / "thresholds.png").size == (1050, 630)


def test_alternatives_are_reported_and_shown(tmp_path, rng):
    frame = catalogue(300, rng)
    frame.loc[:99, "organism"] = "human|mouse|fly"
    schema.write(frame, "catalog.parquet", schema.CATALOG)
    shown = run("label", "catalog.parquet", "--out", "s.parquet", "--min-images", 10)
    sentence = (
        "Not used as labels: the organism human|mouse|fly of 100 rows. Their source does not say which one is true."
    )
    assert sentence in " ".join(shown.output.split())
    report = json.loads((tmp_path / "s.report.json").read_text())
    assert report["ambiguous"] == [{"column": "organism", "values": "human|mouse|fly", "rows": 100}]
    assert report["may_be_wrong"] == []
    assert not {"fly", "mouse"} & {line["label"] for line in (*report["classes"], *report["skipped"])}
    shown = run("label", "catalog.parquet", "--out", "s.parquet", "--min-images", 10, "--labels", "published")
    report = json.loads((tmp_path / "s.report.json").read_text())
    [fly] = [line for line in report["classes"] if line["label"] == "fly"]
    # the rows of the classes, whose rarer compounds and genes are in front
    assert {**report["may_be_wrong"][0], "texts": []} == {
        **{"label": "fly", "category": "organism", "images": fly["images"], "of": fly["images"], "texts": []}
    }
    assert "The class 'fly' may be wrong" in shown.output
    assert "With --labels unambiguous these values give no class." in shown.output
