"""Training learns: on simulated images it generalises to new ones, on real images it fits the training images."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.build import Recipe, build
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from cytoimagenet.loaders.subsets import LABEL_SUBSETS
from cytoimagenet.training.train import train
from PIL import Image


def test_quick_generalises_to_source_images_not_trained_on(tmp_path):
    """EfficientNet-B0 with the quick recipe, but 32 px and half the epochs; the demo tests the full recipe."""
    curated = write_curated(tmp_path / "curated", classes=8, images=40, sides=(40, 48))
    write_dataset(curated, tmp_path / "cytoimagenet")
    rows = pd.read_parquet(tmp_path / "cytoimagenet" / "metadata.parquet", columns=["idx", "split"])
    sources = {split: set(part) for split, part in rows.groupby("split")["idx"]}
    assert sources["train"].isdisjoint(sources["validation"])
    done = train(
        tmp_path / "cytoimagenet", tmp_path / "run", recipe="quick", size=32, epochs=6, batch_size=16, workers=0
    )
    assert done.metrics["validation_accuracy"] >= 3 / 8
    assert json.loads((done.folder / "run.json").read_text())["images"] == {"train": 288, "validation": 32}


@pytest.mark.real
def test_quick_fits_real_images_and_reports_it(shared, tmp_path):
    """Four labels of BBBC010 to BBBC038; one has 188 of 240 images, so classes are sampled equally often."""
    build(shared / "raw", tmp_path / "cytoimagenet", Recipe(min_images=3, labels="published"), workers=0)
    chosen = {"size": 32, "epochs": 8, "batch_size": 16, "workers": 0, "balance": "sampling"}
    done = train(tmp_path / "cytoimagenet", tmp_path / "run", recipe="quick", **chosen)
    history = pd.read_csv(done.folder / "history.csv")
    first, last = history["train_accuracy"].iloc[[0, -1]]
    assert last >= first + 0.1
    assert last >= 0.5, "chance is a quarter"
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    classes = pd.read_csv(done.folder / "per_class.csv")
    assert sorted(classes["label"]) == ["fly", "intestine", "nematode", "u2os"]
    assert f"| training accuracy (augmented images) | {last:.2%} |" in (done.folder / "README.md").read_text()
    for name in ("loss.png", "accuracy.png", "per_class.png"):
        with Image.open(done.folder / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("L")))) > 10, "the plot is not empty"


@pytest.mark.real
def test_small_subsets_are_the_authors(shared):
    expected = json.loads((shared / "metadata" / "registry" / "label_subsets.json").read_text())
    assert {name: sorted(labels) for name, labels in LABEL_SUBSETS.items()} == {
        name: sorted(labels) for name, labels in expected.items() if name in LABEL_SUBSETS
    }
