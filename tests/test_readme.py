"""The README's snippets run as they stand, its commands exist, its links lead somewhere."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def at_home(small_dataset, tmp_path, monkeypatch):
    """A working directory that holds a dataset folder, and an archive as published."""
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_five_snippets():
    assert len(SNIPPETS) == 5


@pytest.mark.parametrize("number", range(4), ids=["load", "stream", "train", "evaluate"])
def test_snippet(number, at_home):
    done = subprocess.run([sys.executable, "-c", SNIPPETS[number]], cwd=at_home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_snippet_of_the_published_archive(small_dataset, tmp_path):
    import pandas as pd
    from cytoimagenet.builder.dataset.ranges import reader_of

    rows = pd.read_parquet(small_dataset / "metadata.parquet")
    pngs = reader_of(small_dataset)(*(rows[name].tolist() for name in ("shard", "offset", "size")))
    with zipfile.ZipFile(tmp_path / "cytoimagenet.zip", "w") as archive:
        for (label, name), png in zip(rows[["label", "filename"]].itertuples(index=False), pngs, strict=True):
            archive.writestr(f"cytoimagenet/{label}/{name}", png)
        table = rows[["label", "category", "dir_name", "idx", "filename"]].assign(path="cytoimagenet/" + rows["label"])
        archive.writestr("cytoimagenet/metadata.csv", table.to_csv(index=False))
    done = subprocess.run([sys.executable, "-c", SNIPPETS[4]], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(rows):,} images of {len(rows):,} rows kept" in done.stdout


def test_every_command_it_names_exists():
    import cytoimagenet
    import typer
    from cytoimagenet.builder import console

    app = console.application(cytoimagenet.__version__)
    for room in ("builder", "loaders", "training", "eval"):
        __import__(f"cytoimagenet.{room}.commands", fromlist=["add_to"]).add_to(app)
    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"^cytoimagenet ([a-z][a-z-]+)", README.read_text(), flags=re.MULTILINE))
    named |= set(re.findall(r"`cytoimagenet ([a-z][a-z-]+)", README.read_text()))
    assert named
    assert named <= known


def test_its_links_lead_somewhere(checkout):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (checkout / link).exists()] == []
