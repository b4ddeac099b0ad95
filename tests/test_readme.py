"""The examples of the README and of docs/training.md run; commands, links and public names that the docs use exist."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
README, DOCS = CHECKOUT / "README.md", CHECKOUT / "docs"
ABOUT_THE_CODE = ("add-a-source.md", "architecture.md", "CONTRIBUTING.md")
"""Documents for people who change the code. The others name public names only."""
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)


@pytest.fixture
def at_home(small_dataset, tmp_path, monkeypatch):
    """A working directory that contains a dataset folder."""
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_lines_answer_the_first_questions():
    top = "\n".join(README.read_text().splitlines()[:14])
    for answer in ("Is it for me?", "What can I have today?", "*my* images?", "56 GB", "19 MB", "weights"):
        assert answer in top
    assert "| I have images | I have features | I want the dataset |" in top
    shown = re.findall(r"!\[(.*?)\]\((.*?)\)", README.read_text())
    assert all("simulated" in text.lower() for text, place in shown if place == "docs/demo.png")


def test_there_are_five_snippets():
    assert len(SNIPPETS) == 5


@pytest.mark.parametrize("number", range(4), ids=["load", "stream", "train", "evaluate"])
def test_snippet(number, at_home):
    done = subprocess.run([sys.executable, "-c", SNIPPETS[number]], cwd=at_home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_examples_of_training(at_home, small_dataset):
    """The examples run in one process, on a local copy instead of the Hub and a small run instead of a full one."""
    import numpy as np
    import tifffile
    from cytoimagenet import train
    from cytoimagenet.training.export import export

    train(at_home / "cytoimagenet", "runs/first", recipe="quick", epochs=1, size=32, labels=["actin", "human"])
    tifffile.imwrite("my_image.tif", np.random.default_rng(0).integers(0, 4000, (90, 120), np.uint16))
    export("runs/first", "first.onnx", size=64)
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / "training.md").read_text(), flags=re.DOTALL))
    for example, here in (
        ("hf://datasets/OWNER/cytoimagenet", "cytoimagenet"),
        ('category="compound"', 'category="cell_visible"'),
    ):
        assert example in code
        code = code.replace(example, here)
    code += "\nassert features.shape == (1, 1280)\nassert batch['images'].shape[1:] == (1, 224, 224)"
    code += "\nassert next(iter(loader))['images'].shape == (64, 1, 224, 224)"
    done = subprocess.run([sys.executable, "-c", code], cwd=at_home, capture_output=True, text=True)
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
    for package in ("builder", "loaders", "training", "eval"):
        __import__(f"cytoimagenet.{package}.commands", fromlist=["add_to"]).add_to(app)
    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"^cytoimagenet ([a-z][a-z-]+)", README.read_text(), flags=re.MULTILINE))
    named |= set(re.findall(r"`cytoimagenet ([a-z][a-z-]+)", README.read_text()))
    assert named
    assert named <= known


def test_the_documents_import_public_names_only():
    documents = [
        README,
        *(path for path in DOCS.rglob("*.md") if path.name not in ABOUT_THE_CODE and "generated" not in path.parts),
    ]
    assert len(documents) > 10
    pattern = r"cytoimagenet\.(?:builder|loaders|training|eval)\b(?:\.\w+)*"
    assert {path.name: found for path in documents if (found := re.findall(pattern, path.read_text()))} == {}


def test_the_names_they_import_exist():
    import cytoimagenet

    text = "\n".join(path.read_text() for path in (README, *DOCS.glob("*.md")))
    imported = re.findall(r"^from cytoimagenet import (.+)$", text, flags=re.MULTILINE)
    used = re.findall(r"\bcytoimagenet\.(\w+)\(", text)
    names = {name.strip() for line in imported for name in line.split(",")} | set(used)
    assert {"train", "import_archive", "load_backbone", "MapDataset", "class_weights", "evaluate"} <= names
    assert names <= set(cytoimagenet.__all__)


def test_links_exist(checkout):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text())
    assert links
    assert [link for link in links if not (checkout / link).exists()] == []
