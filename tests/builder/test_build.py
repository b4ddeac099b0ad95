"""Raw sources in, a dataset folder out: all stages, interrupted, continued, estimated and refused."""

import json
import os
import signal
import subprocess
import sys

import fsspec
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.build import Recipe, build, work_folder
from cytoimagenet.builder.commands import add_to
from cytoimagenet.builder.console import application
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dry_run import estimate_build
from cytoimagenet.builder.errors import SettingsChangedError, UsageError
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.simulate.source import simulate_source
from cytoimagenet.builder.storage import filesystem, read_bytes
from typer.testing import CliRunner

from tests.builder.curate import curated_sources as made

FEW = Recipe(min_images=3, chunk_rows=4)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    simulate_source("bbbc013", folder, seed=0, fields=6)
    simulate_source("bbbc015", folder, seed=0, fields=6)
    return folder


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "cytoimagenet"
    manifest, report = build(raw, out, FEW, workers=0)
    return out, manifest, report


def _run(*arguments):
    app = application("0")
    add_to(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_dataset_is_complete_and_adds_up(built):
    out, manifest, report = built
    verify(out)
    metadata = manifest.metadata(["label", "split"])
    assert len(metadata) == report["counts"]["images"]["kept"] == sum(c["images"] for c in report["classes"])
    catalog = schema.read(f"{work_folder(out)}/catalog.parquet", schema.CATALOG)
    assert report["counts"]["rows"]["in"] == len(catalog) == 12
    assert manifest.settings["min_images"] == 3
    assert manifest.settings["min_class_size"] == 3
    assert not list(out.rglob("*.py"))


def test_a_rerun_changes_nothing_and_other_settings_are_refused_or_rebuilt(raw, built, tmp_path):
    out = tmp_path / "cytoimagenet"
    build(raw, out, FEW, workers=0)
    first = made.contents(tmp_path)
    build(raw, out, FEW, workers=0)
    assert made.contents(tmp_path) == first
    assert made.contents(out) == made.contents(built[0])
    other = Recipe(min_images=3, chunk_rows=4, seed=5)
    with pytest.raises(SettingsChangedError, match="seed 0, now 5"):
        build(raw, out, other, workers=0)
    build(raw, out, other, workers=0, rebuild=True)
    fresh = tmp_path / "fresh" / "cytoimagenet"
    build(raw, fresh, other, workers=0)
    assert made.contents(out) == made.contents(fresh)


def test_a_new_source_is_not_overlooked(raw, tmp_path):
    out = tmp_path / "cytoimagenet"
    build(raw, out, Recipe(min_images=3, sources=("bbbc013",)), workers=0)
    with pytest.raises(SettingsChangedError, match="sources"):
        build(raw, out, Recipe(min_images=3), workers=0)
    _, report = build(raw, out, Recipe(min_images=3), workers=0, rebuild=True)
    assert set(report["by_source"]) == {"bbbc013", "bbbc015"}
    verify(out)


@pytest.fixture
def on_s3(s3):
    return "s3://lab/raw"


@pytest.fixture
def in_memory():
    yield "memory://build-test/raw"
    fsspec.filesystem("memory").rm("/build-test", recursive=True)


@pytest.mark.parametrize("where", ["in_memory", "on_s3"])
def test_sources_in_an_object_store_give_the_same_dataset(where, raw, built, tmp_path, request):
    store = request.getfixturevalue(where)
    fs, inner = filesystem(store)
    fs.put(f"{raw}/", f"{inner}/", recursive=True)
    build(store, tmp_path / "cytoimagenet", FEW, workers=0)
    assert made.contents(tmp_path / "cytoimagenet") == made.contents(built[0])
    assert made.contents(work_folder(tmp_path / "cytoimagenet")) == made.contents(work_folder(built[0]))
    listed = _run("catalog", f"{store}/", "--out", f"{store}.parquet", "--json")
    assert listed.exit_code == 0, listed.output
    assert read_bytes(f"{store}.parquet") == read_bytes(f"{work_folder(built[0])}/catalog.parquet")
    with pytest.raises(UsageError, match="No such folder"):
        build(f"{store}/absent", tmp_path / "none", FEW, workers=0)


def test_a_dry_run_estimates_the_result_and_writes_nothing(raw, built, tmp_path):
    plan = estimate_build(raw, FEW)
    report = built[2]
    assert plan["rows"] == report["counts"]["rows"]["in"]
    assert plan["not_selected"] == report["counts"]["rows"]["rejected"].get("not_selected", 0)
    assert plan["sample"]["images_tried"] == report["counts"]["images"]["tried"]  # so few that the sample is all
    assert plan["images_expected"] == pytest.approx(report["counts"]["images"]["kept"], abs=1)
    ran = _run("build", raw, "--out", tmp_path / "x", "--min-images", 3, "--dry-run")
    assert ran.exit_code == 0
    assert "Nothing was written" in ran.output
    assert f"{plan['images_wanted']} images to cut" in ran.output
    assert list(tmp_path.iterdir()) == []


def test_the_commands_one_by_one_give_the_result_of_build(raw, built, tmp_path):
    steps = (
        ("catalog", raw, "--out", tmp_path / "catalog.parquet"),
        ("label", tmp_path / "catalog.parquet", "--out", tmp_path / "selection.parquet", "--min-images", 3),
        ("curate", tmp_path / "selection.parquet", "--raw", raw, "--out", tmp_path / "curated", "--workers", 0,
         "--min-class-size", 3),
        ("shard", tmp_path / "curated", "--out", tmp_path / "cytoimagenet"),
        ("build", raw, "--out", tmp_path / "built", "--min-images", 3, "--workers", 0, "--json"),
    )  # fmt: skip
    for step in steps:
        ran = _run(*step)
        assert ran.exit_code == 0, ran.output
    shards = {n: c for n, c in made.contents(tmp_path / "cytoimagenet").items() if n.startswith("data/")}
    assert shards == {n: c for n, c in made.contents(tmp_path / "built").items() if n.startswith("data/")}
    assert json.loads(ran.output)["counts"]["images"]["kept"] == built[2]["counts"]["images"]["kept"]
    ran = _run("qc", tmp_path / "curated", "--raw", raw, "--out", tmp_path / "qc.png")
    assert ran.exit_code == 0
    assert (tmp_path / "qc.png").read_bytes().startswith(b"\x89PNG")


KILLED = """
import os, signal, sys
from cytoimagenet.builder.build import Recipe, build
calls, plain = [], os.replace
def replace(*args):
    calls.append(args)
    if len(calls) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    plain(*args)
os.replace = replace
build(sys.argv[1], sys.argv[2], Recipe(min_images=3, chunk_rows=4), workers=0)
"""


@pytest.mark.parametrize("at", [1, 6, 13])  # the catalogue, an image chunk, a shard
def test_kill_9_and_run_again(at, raw, built, tmp_path):
    out = tmp_path / "cytoimagenet"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(raw), str(out), str(at)], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    build(raw, out, FEW, workers=0)
    assert made.contents(tmp_path) == made.contents(built[0].parent)


@pytest.mark.real
def test_the_real_sources_by_the_published_rule(shared, tmp_path):
    recipe = Recipe(min_images=4, labels="published")
    manifest, report = build(shared / "raw", tmp_path / "cytoimagenet", recipe, workers=0)
    assert report["counts"]["rows"] == {"in": 69, "kept": 68, "rejected": {"not_selected": 1}}
    assert report["by_source"]["bbbc014"]["rows"]["rejected"] == {"not_selected": 1}
    assert {c["label"]: c["images"] for c in report["classes"]} == {"fly": 208, "nematode": 32, "u2os": 32}
    assert report["counts"]["images"] == {"tried": 272, "kept": 272, "rejected": {}}
    verify(tmp_path / "cytoimagenet")
    assert list(manifest.class_names) == ["fly", "nematode", "u2os"]
    assert "labels" not in manifest.settings  # as in folders of version 0.1, whose digests stay
    assert report["labels"] == [
        "The class 'fly' may be wrong: 52 of its 52 images have the organism human|mouse|fly in their source.",
        "With --labels unambiguous these values give no class.",
    ]


@pytest.mark.real
def test_the_real_sources_give_no_class_from_alternatives(shared, tmp_path):
    out = tmp_path / "cytoimagenet"
    ran = _run("build", shared / "raw", "--out", out, "--min-images", 4, "--workers", 0)
    assert ran.exit_code == 0, ran.output
    manifest = Manifest.load(out)
    assert {c["label"]: c["train"] + c["validation"] for c in manifest.classes} == {
        **{"nematode": 32, "nucleus": 212, "u2os": 32}
    }
    assert manifest.settings["labels"] == "unambiguous"
    wide = " ".join(ran.output.split())
    assert "Not used as labels: the organism human|mouse|fly of 52 rows." in wide
    metadata = manifest.metadata(["dir_name", "label", "compound"])
    assert set(metadata.loc[metadata["dir_name"] == "bbbc038", "label"]) == {"nucleus"}
    by_dose = metadata.loc[metadata["dir_name"] == "bbbc013", "compound"].value_counts().to_dict()
    assert by_dose.pop("") == 16
    assert by_dose == {
        **{"wortmannin|wortmannin 150 nanomolar": 4, "wortmannin|wortmannin 15.63 nanomolar": 4},
        **{"ly294002|ly294002 80 micromolar": 4, "ly294002|ly294002 5 micromolar": 4},
    }
    with pytest.raises(SettingsChangedError, match="labels 'unambiguous', now None"):
        build(shared / "raw", out, Recipe(min_images=4, labels="published"), workers=0)


@pytest.mark.real
def test_real_evaluation_images_are_left_out(shared, tmp_path):
    from cytoimagenet.builder.curate.run import curate
    from cytoimagenet.builder.curate.settings import Settings

    images = shared / "images"
    pairs = sorted((images / "yeast_gfp_pairs").rglob("*_gfp.tif"))[:20]
    rows = []
    for n, gfp in enumerate(pairs):
        name = str(gfp.relative_to(images))
        rows.append(made.row(f"y-{n}", "yeast", f"{name}|{name.removesuffix('_gfp.tif')}_rfp.tif", "yeast"))
    rows.append(made.row("h-0", "yeast", str(next((images / "hpa_cells").rglob("*.tif")).relative_to(images)), "hpa"))
    import pandas as pd

    report = curate(
        pd.DataFrame(rows), images, tmp_path / "out", settings=Settings(min_class_size=1), workers=0,
        evaldata=images / "yeast_gfp_pairs",
    )  # fmt: skip
    assert report["by_source"]["yeast"]["rows"]["rejected"] == {"in_evaluation_set": 20}
    assert report["by_source"]["hpa"]["rows"]["kept"] == 1
