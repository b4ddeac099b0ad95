"""Own images to a dataset: groups stay on one side, zips and folders agree, the card names the sources."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import zipfile
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.build import Recipe, build, work_folder
from cytoimagenet.builder.commands import add_to
from cytoimagenet.builder.console import application
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, MetadataError, SchemaError, SettingsChangedError
from cytoimagenet.builder.pages import card
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.simulate.source import simulate_source
from PIL import Image
from typer.testing import CliRunner

from tests.builder.curate import curated_sources as made

FEW = Recipe(min_images=4, chunk_rows=16)
GROUPS = 8
PER_GROUP = 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two own sources of 8 movies with 5 cells each, all movies in both classes; one is called like a known source."""
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cells", "bbbc013")):
        (folder / name).mkdir()
        lines = [("file_a", "file_b", "phenotype", "group", "time")]
        for movie in range(GROUPS):
            for cell in range(PER_GROUP):
                files = [f"{movie}/{cell}_{channel}.png" for channel in "ab"]
                for file in files:
                    path = folder / name / file
                    path.parent.mkdir(exist_ok=True)
                    Image.fromarray(rng.integers(1, 255, (48, 40)).astype(np.uint8)).save(path)
                lines.append((*files, ("round", "long")[(movie + cell + number) % 2], f"movie {movie}", cell))
        text = io.StringIO()
        csv.writer(text).writerows(lines)
        (folder / name / "images.csv").write_text(text.getvalue())
    (folder / "cells" / "source.yaml").write_text(
        "name: Our cells\ndatabase: Our lab\nlicence: CC BY 4.0\nlink: https://lab.example/cells\n"
        "citation: Doe J (2024). [Cells](x).\nmicroscopy: confocal\n"
    )
    return folder


@pytest.fixture(scope="module")
def built(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "cytoimagenet"
    manifest, report = build(raw, out, FEW, workers=0)
    return out, manifest, report


def splits_of_groups(out, raw):
    """Return the splits of every group, found through the images.csv files alone."""
    group = {}
    for table in raw.glob("*/images.csv"):
        for row in csv.DictReader(table.open(newline="")):
            group[f"{table.parent.name}/{row['file_a']}"] = (table.parent.name, row["group"])
    splits = defaultdict(set)
    for row in pd.read_parquet(out / "metadata.parquet").itertuples():
        splits[group[row.channels.split("|")[0]]].add(row.split)
    return splits


def test_the_dataset_is_complete_and_no_group_is_in_both_splits(raw, built):
    out, manifest, report = built
    verify(out)
    splits = splits_of_groups(out, raw)
    assert len(splits) == 2 * GROUPS
    assert all(len(found) == 1 for found in splits.values())
    sides = [found.pop() for found in splits.values()]
    assert {"train", "validation"} == set(sides)
    counts = report["counts"]
    assert counts["rows"] == {"in": 2 * GROUPS * PER_GROUP, "kept": 2 * GROUPS * PER_GROUP, "rejected": {}}
    assert [entry["label"] for entry in manifest.classes] == ["long", "round"]
    assert {source["source"]: source["offered"] for source in report["catalog"]["sources"]} == {
        "bbbc013": GROUPS * PER_GROUP,
        "cells": GROUPS * PER_GROUP,
    }


def test_without_groups_the_split_is_by_image(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "raw")
    for table in (tmp_path / "raw").glob("*/images.csv"):
        table.write_text(table.read_text().replace("group", "film"))
    build(tmp_path / "raw", tmp_path / "out", FEW, workers=0)
    assert any(len(found) > 1 for found in splits_of_groups(tmp_path / "out", raw).values())


def test_reruns_workers_and_zips(raw, built, tmp_path):
    again = tmp_path / "again" / "cytoimagenet"
    build(raw, again, FEW, workers=2)
    assert made.contents(again) == made.contents(built[0])
    before = made.contents(tmp_path / "again")
    build(raw, again, FEW, workers=0)
    assert made.contents(tmp_path / "again") == before
    zips = tmp_path / "zips"
    zips.mkdir()
    for source in ("cells", "bbbc013"):
        shutil.make_archive(str(zips / source), "zip", raw / source)
    build(zips, tmp_path / "zipped", FEW, workers=0)
    one, two = (pd.read_parquet(folder / "metadata.parquet") for folder in (built[0], tmp_path / "zipped"))
    same = [name for name in one if name not in ("channels", "offset", "shard")]
    pd.testing.assert_frame_equal(one[same], two[same])
    assert two["channels"].str.match(r"(cells|bbbc013)\.zip/\d/\d_a\.png\|(cells|bbbc013)\.zip/\d/\d_b\.png$").all()


def test_a_changed_zip_is_noticed_and_a_damaged_image_costs_one_row(raw, tmp_path):
    shutil.make_archive(str(tmp_path / "raw" / "cells"), "zip", raw / "cells")
    path = tmp_path / "raw" / "cells.zip"
    out = tmp_path / "out"
    build(tmp_path / "raw", out, FEW, workers=0)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["0/0_a.png"] = b"\0" * len(members["0/0_a.png"])
    members["0/1_a.png"] = members["0/2_a.png"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    os.utime(path, (0, 0))  # an older time does not hide the change
    _, report = build(tmp_path / "raw", tmp_path / "two", FEW, work=work_folder(out), workers=0)
    rejected = pd.read_parquet(tmp_path / "two" / "rejected.parquet")
    assert rejected[["file", "reason"]].to_numpy().tolist() == [["cells.zip/0/0_a.png", "unreadable"]]
    assert report["counts"]["rows"]["kept"] == GROUPS * PER_GROUP - 1


def test_own_and_known_sources_in_one_build(raw, tmp_path):
    shutil.copytree(raw / "cells", tmp_path / "raw" / "cells")
    simulate_source("bbbc015", tmp_path / "raw", seed=0, fields=6)
    manifest, report = build(tmp_path / "raw", tmp_path / "out", Recipe(min_images=3), workers=0)
    assert set(report["by_source"]) == {"bbbc015", "cells"}
    assert list(manifest.own_sources) == ["cells"]
    text = (tmp_path / "out" / "README.md").read_text()
    table = text.split("## Sources and licences")[1].split("All 40 sources")[0]
    assert "| [Our cells](https://lab.example/cells) `cells` | Our lab | 40 | CC BY 4.0 |" in table
    assert r"`cells` (Doe J (2024). \[Cells\](x).)" in table
    assert "`bbbc015`" in table
    assert "from 2 sources" in text


def test_the_card_does_not_take_an_own_source_for_the_known_one(built):
    text = (built[0] / "README.md").read_text()
    table = text.split("## Sources and licences")[1].split("All 40 sources")[0]
    assert "| bbbc013 `bbbc013` | own images | 40 | not stated |" in table
    assert "bbbc.broadinstitute.org" not in table


def test_changed_facts_are_not_mixed_into_a_finished_folder(raw, tmp_path):
    shutil.copytree(raw / "cells", tmp_path / "raw" / "cells")
    out = tmp_path / "out"
    build(tmp_path / "raw", out, FEW, workers=0)
    facts = tmp_path / "raw" / "cells" / "source.yaml"
    facts.write_text(facts.read_text().replace("lab.example/cells", "lab.example/moved"))
    with pytest.raises(SettingsChangedError, match=r"link 'https://lab\.example/.*, now 'https://lab\.example/"):
        build(tmp_path / "raw", out, FEW, workers=0)
    manifest, _ = build(tmp_path / "raw", out, FEW, workers=0, rebuild=True)
    assert manifest.own_sources["cells"]["link"] == "https://lab.example/moved"


@pytest.mark.parametrize("own", [[], {"a": 1}, {"a": {"name": 1}}, {"a": {"name": ["x"]}}])
def test_a_manifest_with_other_facts_is_refused(built, tmp_path, own):
    from cytoimagenet.builder.dataset.manifest import digest, rendered, seal

    data = {**Manifest.load(built[0]).data, "own_sources": own}
    data["digest"] = digest(data)
    data["seal"] = seal(data)
    (tmp_path / "manifest.json").write_bytes(rendered(data))
    with pytest.raises(SchemaError, match="own_sources"):
        Manifest.load(tmp_path)


def test_a_changed_fact_is_found_by_the_seal(built, tmp_path):
    data = json.loads((built[0] / "manifest.json").read_text())
    data["own_sources"]["cells"]["licence"] = "CC0"
    (tmp_path / "manifest.json").write_text(json.dumps(data, indent=1) + "\n")
    with pytest.raises(CheckFailedError, match="altered"):
        Manifest.load(tmp_path)


def test_hostile_facts_stay_text(built):
    manifest = Manifest.load(built[0])
    hostile = {"name": "<b>|[x](javascript:1)", "link": "javascript:alert(1)", "licence": "a|b", "database": "\n# x"}
    text = card.body(Manifest(manifest.root, {**manifest.data, "own_sources": {"cells": hostile}}))
    assert "javascript:alert" not in text
    assert "<b>" not in text
    assert r"&lt;b&gt;\|\[x\](javascript:1) `cells` | # x | 40 | a\|b |" in text


def test_the_command_prints_rows_and_files_left_out(raw, tmp_path):
    shutil.copytree(raw / "cells", tmp_path / "raw" / "cells")
    (tmp_path / "raw" / "zzz").mkdir()
    table = tmp_path / "raw" / "cells" / "images.csv"
    table.write_text(table.read_text() + "9/9.png,9/8.png,round,movie 9,0\n")
    app = application("0")
    add_to(app)

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    options = ("build", tmp_path / "raw", "--out", tmp_path / "out", "--min-images", 4, "--workers", 0)
    shown = run(*options)
    assert shown.exit_code == 0, shown.output
    assert "cells: 41 rows in the image table = 40 usable + 1 missing_channel" in shown.output
    assert f"Left out: {tmp_path}/raw/zzz (not a known source)" in shown.output
    assert f"Rows of image tables that can't be used: {tmp_path}/out.build/catalog.rejected.csv" in shown.output
    told = json.loads(run(*options, "--json").stdout)
    assert told["catalog"]["left_out"] == {"zzz": "not a known source"}
    assert isinstance(run(*options, "--strict").exception, MetadataError)


def test_classes_of_one_group_are_named(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "raw" / "x").mkdir(parents=True)
    lines = ["file,phenotype,group"]
    for n in range(12):
        Image.fromarray(rng.integers(1, 255, (40, 40)).astype(np.uint8)).save(tmp_path / "raw" / "x" / f"{n}.png")
        lines.append(f"{n}.png,{'alone' if n < 6 else 'two'},{'P1' if n < 6 else n}")
    (tmp_path / "raw" / "x" / "images.csv").write_text("\n".join(lines))
    app = application("0")
    add_to(app)
    options = ("build", str(tmp_path / "raw"), "--out", str(tmp_path / "out"), "--min-images", "4", "--workers", "0")
    shown = CliRunner().invoke(app, options).output
    assert "1 classes have no validation images, since the split keeps groups together: alone" in shown


@pytest.mark.real
def test_a_real_zip_in_place(shared, tmp_path):
    source = shared / "real" / "pretrain" / "bccd.zip"
    if not source.exists():
        pytest.skip("no ../shared/real")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "bccd.zip").symlink_to(source)
    manifest, report = build(tmp_path / "raw", tmp_path / "out", Recipe(min_images=10), workers=0)
    assert report["counts"]["rows"] == {"in": 900, "kept": 900, "rejected": {}}
    assert [(c["label"], c["train"] + c["validation"]) for c in manifest.classes] == [
        ("platelets", 300), ("rbc", 300), ("wbc", 300),
    ]  # fmt: skip
    with zipfile.ZipFile(source) as archive, archive.open("images.csv") as table:
        group = {f"bccd.zip/{row.file}": row.group for row in pd.read_csv(table).itertuples()}
    rows = pd.read_parquet(tmp_path / "out" / "metadata.parquet")
    splits = rows.assign(group=rows["channels"].map(group)).groupby("group")["split"].nunique()
    assert len(splits) == 349
    assert (splits == 1).all()
    assert 0.08 < (rows["split"] == "validation").mean() < 0.12
