"""A dataset folder with planted defects, and its audit."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.read_images import read_images
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.images.digest import pixel_digest
from cytoimagenet.builder.shards.write import write_dataset
from PIL import Image


@dataclass
class Planted:
    """Where the dataset folder is, and what is wrong in it; images are named by their `filename`."""

    folder: Path
    task: Path
    wrong_labels: set[str] = field(default_factory=set)
    copies: dict[str, str] = field(default_factory=dict)
    with_text: set[str] = field(default_factory=set)
    in_the_task: set[str] = field(default_factory=set)


def write_folder(rows: pd.DataFrame, images: list[np.ndarray], out: Path) -> None:
    """Write a dataset folder of some images; `rows` has the columns of `schema.ROW`."""
    curated = out.parent / f"{out.name}.curated"
    store, facts, end = [], [], 0
    for image in images:
        png = encode_png(image)
        facts.append((image.shape[1], image.shape[0], pixel_digest(image), "store.bin", end, len(png)))
        store.append(png)
        end += len(png)
    names = ["width", "height", "sha256", "store", "store_offset", "store_size"]
    frame = rows.assign(**pd.DataFrame(facts, columns=names, index=rows.index))[schema.CURATED.names]
    curated.mkdir(parents=True)
    (curated / "store.bin").write_bytes(b"".join(store))
    schema.write(frame, curated / "rows.parquet", schema.CURATED)
    rejected = pd.DataFrame(columns=schema.REJECTED.names).astype(str)
    schema.write(rejected, curated / "rejected.parquet", schema.REJECTED)
    note = {"settings": {"min_images": 1}, "seed": 0, "counts": {"kept": len(frame)}}
    (curated / "curated.json").write_text(json.dumps(note))
    write_dataset(curated, out)
    shutil.rmtree(curated)


@pytest.fixture(scope="session")
def planted(small_dataset, tmp_path_factory) -> Planted:
    """A dataset folder of 5 classes with wrong labels, copies, text and evaluation images. Do not change it."""
    here = tmp_path_factory.mktemp("planted")
    rows = Manifest.load(small_dataset).metadata().sort_values("filename").reset_index(drop=True)
    images = [np.asarray(image) for image in read_images(rows, small_dataset)]
    result = Planted(here / "cytoimagenet", here / "task")
    rng = np.random.default_rng(5)
    order = rng.permutation(len(rows))
    labels = rows.drop_duplicates("label").set_index("label")["category"]
    for row in order[:15]:
        others = [label for label in labels.index if label != rows.loc[row, "label"]]
        rows.loc[row, "label"] = others[rng.integers(len(others))]
        rows.loc[row, "category"] = labels[rows.loc[row, "label"]]
        result.wrong_labels.add(rows.loc[row, "filename"])
    for row in order[15:21]:
        image = images[row].copy()
        cv2.putText(image, "24 h", (3, image.shape[0] // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
        images[row] = image
        result.with_text.add(rows.loc[row, "filename"])
    new = []
    train = [row for row in order[21:] if rows.loc[row, "split"] == "train"]
    for row in train[:8]:
        name = f"copy-of-{rows.loc[row, 'filename']}"
        new.append({**rows.loc[row], "filename": name, "idx": name, "channels": name, "split": "validation"})
        images.append((30 + 0.7 * np.rot90(images[row])).astype(np.uint8))
        result.copies[name] = rows.loc[row, "filename"]
    table = []
    result.task.mkdir()
    for number, row in enumerate(train[8:12]):
        Image.fromarray(images[row][::-1].copy()).save(result.task / f"{number}.png")
        table.append((f"{number}.png", "treated"))
        result.in_the_task.add(rows.loc[row, "filename"])
    foreign = cv2.GaussianBlur(rng.normal(128, 60, (70, 80)), (0, 0), 3).astype(np.uint8)
    Image.fromarray(foreign).save(result.task / "foreign.png")
    table.append(("foreign.png", "control"))
    pd.DataFrame(table, columns=["file", "label"]).to_csv(result.task / "images.csv", index=False)
    rows = pd.concat([rows, pd.DataFrame(new)], ignore_index=True)
    write_folder(rows, images, result.folder)
    return result


@pytest.fixture(scope="session")
def tiny_network():
    """A network without weights that are worth naming: it returns 48 means of an image."""
    import torch
    from cytoimagenet.eval.features.backbones import backbone

    return backbone(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten()), "tiny")


@pytest.fixture(scope="session")
def audited(planted, tiny_network) -> Planted:
    """The planted folder with embeddings and an audit. Do not change it."""
    from cytoimagenet.eval.audit.run import audit
    from cytoimagenet.eval.features.embed import embed

    embed(planted.folder, tiny_network, size=32, engine="torch", workers=1)
    audit(planted.folder, tasks=[planted.task / "images.csv"], workers=1)
    return planted
