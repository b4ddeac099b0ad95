"""The walks of docs/your-own-images.md run: on real files where they are there, otherwise on simulated ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.image_table.patterns import ALIASES, READY
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


def test_every_ready_pattern_is_documented():
    for name, ready in READY.items():
        assert re.search(rf"\| `{name}`.*`{re.escape(ready.example)}`", TEXT), name
    for alias, name in ALIASES.items():
        if alias != "opera-phenix":
            assert re.search(rf"`{name}` \(also .*`{alias}`", TEXT), alias
