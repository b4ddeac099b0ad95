"""The walks of docs/your-own-images.md run: on real files where they are there, otherwise on simulated ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.image_table.patterns import ALIASES, READY
from cytoimagenet.builder.sources import source_yaml
from cytoimagenet.builder.sources.own_table import COLUMNS
from PIL import Image

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "your-own-images.md"
TEXT = DOCUMENT.read_text()


def walk(number: int) -> tuple[list[str], list[str]]:
    """Return the lines of shell and the Python code of a walk."""
    part = re.search(rf"## Walk {number}:.*?(?=\n## |\Z)", TEXT, flags=re.DOTALL)
    assert part is not None
    shell, code = (re.findall(rf"```{kind}\n(.*?)```", part[0], flags=re.DOTALL) for kind in ("sh", "python"))
    return [line for block in shell for line in block.splitlines() if line.strip()], code


def run(lines: list[str], folder: Path) -> str:
    """Run lines of shell with the programs of this environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def plate(shared, tmp_path):
    """The folder `plate`: eight wells of BBBC013, or images with the same names."""
    folder = tmp_path / "plate"
    real = shared / "raw/bbbc013/BBBC013_v1_images_bmp"
    if real.is_dir():
        shutil.copytree(real, folder)
        return folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    wells = [(row, column) for row in "AH" for column in (1, 2, 7, 12)]
    for row, column in wells:
        for channel in (1, 2):
            number = "ABCDEFGH".index(row) * 12 + column
            name = f"Channel{channel}-{number:02}-{row}-{column:02}.tif"
            Image.fromarray(rng.integers(0, 256, (640, 640)).astype(np.uint8)).save(folder / name)
    return folder


def test_walk_1_features_of_a_plate(plate, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    lines, code = walk(1)
    assert 1 < len(lines) <= 10
    printed = run(lines, tmp_path)
    assert "8 samples of 2 channels" in printed and "rejected  0 of 8" in printed
    assert re.search(r"Metadata_Well +imagenet_1_0000 .*\n0 +A01 +0\.\d+ ", printed)
    wells, rows = pd.read_parquet(tmp_path / "wells.parquet"), pd.read_csv(tmp_path / "rows.csv.gz")
    assert wells["Metadata_Well"].tolist() == [f"{row}{column}" for row in "AH" for column in ("01", "02", "07", "12")]
    assert wells.columns[4:].tolist() == [f"imagenet_{c}_{n:04d}" for c in (1, 2) for n in range(1280)]
    assert rows[["Metadata_row", "Metadata_Image_Count"]].to_numpy().tolist() == [["A", 4], ["H", 4]]
    assert Image.open(tmp_path / "plate.png").size[0] > 500
    assert len(code) == 1
    checks = "\nassert normalised.shape == wells.shape == (8, 2564)"
    run([f"python - <<'END'\n{code[0]}{checks}\nEND"], tmp_path)


@pytest.fixture
def smears(shared, tmp_path):
    """The folder `smears`: cells cut from blood smears, or images with the same columns."""
    folder = tmp_path / "smears"
    folder.mkdir()
    real = shared / "real/pretrain/bccd.zip"
    if real.exists():
        with zipfile.ZipFile(real) as archive:
            archive.extractall(folder)
        return folder
    rng = np.random.default_rng(0)
    lines = ["file,cell_type,microscopy,group"]
    for label in ("platelets", "rbc", "wbc"):
        (folder / f"bccd__{label}").mkdir()
        for n in range(300):
            file = f"bccd__{label}/{n:05}.jpg"
            Image.fromarray(rng.integers(0, 256, (40, 48)).astype(np.uint8)).save(folder / file)
            lines.append(f"{file},{label},brightfield,BloodImage_{n % 100:05}")
    (folder / "images.csv").write_text("\n".join(lines))
    return folder


def test_walk_3_a_source(smears, tmp_path):
    lines, code = walk(3)
    assert 1 < len(lines) <= 10
    assert code == []
    printed = run(lines, tmp_path)
    assert re.search(r"Our lab\n +smears +Cells of blood smears\n +900 images \(jpg\) · human", printed)
    assert "smears: 900 rows in the image table = 900 usable" in printed
    assert "cytoimagenet is complete and undamaged: 900 images" in printed
    rows = pd.read_parquet(tmp_path / "cytoimagenet" / "metadata.parquet")
    assert rows["label"].value_counts().to_dict() == {"platelets": 300, "rbc": 300, "wbc": 300}
    assert (rows["licence"] == "MIT").all()
    table = pd.read_csv(smears / "images.csv")
    assert table.columns.tolist() == ["file", "cell_type", "microscopy", "group"]
    group = dict(zip("smears/" + table["file"], table["group"], strict=True))
    assert (rows.groupby(rows["channels"].map(group))["split"].nunique() == 1).all()
    assert f"num_rows: {(rows['split'] == 'validation').sum()}" in printed
    assert Image.open(tmp_path / "montage.png").size[0] > 500


def test_the_facts_in_the_document_are_read():
    [text] = re.findall(r"```yaml\n(.*?)```", TEXT, flags=re.DOTALL)
    facts = source_yaml.parse(text.encode(), "source.yaml", "x")
    assert facts.labels == {"organism": "human"}
    assert facts.stains == {"dna": "nucleus", "gfp": "er/golgi", "bf": "brightfield"}
    assert facts.label == "phenotype"
    for column in (*COLUMNS, "group"):
        assert f"`{column}`" in TEXT.split("### The table of a source")[1].split("### source.yaml")[0], column


@pytest.fixture
def cells(shared, tmp_path):
    """The zip `cells.zip`: every twentieth of the T cells of six donors, or images with the same columns."""
    real, path = shared / "real/tasks/tcell.zip", tmp_path / "cells.zip"
    with zipfile.ZipFile(path, "w") as to:
        if real.is_file():
            with zipfile.ZipFile(real) as source:
                table = pd.read_csv(source.open("images.csv"))[["file", "label", "group"]].iloc[::20]
                for name in table["file"]:
                    to.writestr(name, source.read(name))
        else:
            rng = np.random.default_rng(0)
            names = [(f"{n:02}.png", ("activated", "quiescent")[n % 2], f"donor{n // 2 % 6}") for n in range(48)]
            table = pd.DataFrame(names, columns=["file", "label", "group"])
            for name in table["file"]:
                Image.fromarray(rng.integers(0, 256, (48, 48)).astype(np.uint8)).save(tmp_path / name)
                to.write(tmp_path / name, name)
        to.writestr("images.csv", table.to_csv(index=False))
    return table


def test_walk_2_a_task_with_groups(cells, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    lines, code = walk(2)
    assert 1 < len(lines) <= 10
    run([line.replace("--input-size 128", "--input-size 48") for line in lines], tmp_path)  # quicker
    found, tables = (json.loads((tmp_path / out / "results.json").read_text()) for out in ("results", "tables"))
    knn = {e["model"]: e for e in found["results"] if e["score"] == "knn"}
    assert set(knn) == {"random:0", "random:1", "random:2", "imagenet", "mean-intensity"}
    assert {(e["task"], e["n"], e["settings"]["folds"]) for e in knn.values()} == {
        ("cells", len(cells), "leave one of 6 groups out")
    }
    again = {(e["model"], e["score"]): e for e in tables["results"]}
    for score in ("knn", "probe"):
        first = next(e for e in found["results"] if (e["model"], e["score"]) == ("imagenet", score))
        second = again["imagenet", score]
        assert (first["confusion"], first["bootstrap"]) == (second["confusion"], second["bootstrap"])
    assert [pair["models"] for pair in tables["paired"]] == [["imagenet", "untrained"]] * 2
    page = (tmp_path / "results" / "report.html").read_text()
    assert "cells" in page and "imagenet" in page
    checks = f"\nassert (knn.correct, knn.n) == ({knn['imagenet']['correct']}, {len(cells)})"
    assert len(code) == 1
    quick = code[0].replace("input_size=128", "input_size=48")
    run([f"python - <<'END'\n{quick}{checks}\nEND"], tmp_path)


def test_every_ready_pattern_is_documented():
    for name, ready in READY.items():
        assert re.search(rf"\| `{name}`.*`{re.escape(ready.example)}`", TEXT), name
    for alias, name in ALIASES.items():
        if alias != "opera-phenix":
            assert re.search(rf"`{name}` \(also .*`{alias}`", TEXT), alias
