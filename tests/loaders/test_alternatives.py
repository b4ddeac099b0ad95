"""Alternatives reach the loaders as indices of classes: the same from every loader, with any number of workers."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from cytoimagenet import MapDataset, stream, webdataset
from cytoimagenet.builder import schema
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.loaders.alternatives import class_indices
from cytoimagenet.loaders.index import read_index
from cytoimagenet.training.feeding import batches_of
from cytoimagenet.training.recipes import settings
from torch.utils.data import DataLoader


def slow(text, names):
    return {names.index(name) for name in text.split("|") if name in names}


@pytest.fixture(scope="module")
def alternatives_dataset(small_curated, tmp_path_factory):
    """The small dataset, in which images have up to three alternatives."""
    curated = tmp_path_factory.mktemp("alternatives") / "curated"
    shutil.copytree(small_curated, curated)
    rows = schema.read(curated / "rows.parquet", schema.CURATED)
    names = sorted(rows["label"].unique())
    rng = np.random.default_rng(0)
    rows["alternatives"] = [
        "|".join(sorted(set(rng.choice(names, rng.integers(0, 4))) - {label})) for label in rows["label"]
    ]
    schema.write(rows, curated / "rows.parquet", schema.CURATED)
    out = curated.parent / "cytoimagenet"
    write_dataset(curated, out)
    return out


def test_names_become_indices_and_unknown_names_are_left_out(rng):
    names = ["a", "b", "c (gene)", "d"]
    texts = ["|".join(rng.permutation([*names, "other"])[: rng.integers(0, 5)]) for _ in range(200)]
    found = class_indices(texts, names)
    assert found.dtype == np.int32 and found.shape[0] == 200
    for row, text in zip(found.tolist(), texts, strict=True):
        assert {index for index in row if index >= 0} == slow(text, names)
        assert sorted(row, key=lambda index: index < 0) == row, "-1 at the end"
    assert class_indices([], names).shape == (0, 0)
    assert class_indices(["", ""], names).shape == (2, 0)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_index_agrees_with_the_table(alternatives_dataset, split):
    index = read_index(alternatives_dataset, split, alternatives=True)
    table = pd.read_parquet(alternatives_dataset / "metadata.parquet").iloc[index.row]
    expected = [slow(text, index.class_names) for text in table["alternatives"]]
    assert [{i for i in row if i >= 0} for row in index.alternatives.tolist()] == expected
    assert any(expected)
    assert not (index.alternatives == index.label[:, None]).any()
    assert read_index(alternatives_dataset, split).alternatives is None


def test_a_subset_has_alternatives_among_its_own_classes(alternatives_dataset):
    two = read_index(alternatives_dataset, alternatives=True).class_names[:2]
    index = read_index(alternatives_dataset, labels=two, alternatives=True)
    assert index.class_names == two and set(np.unique(index.alternatives)) <= {-1, 0, 1}
    assert (index.alternatives >= 0).any()


# five workers are processes
@pytest.mark.parametrize(("loader", "workers"), [("map", 0), ("map", 2), ("map", 5), ("stream", 2), ("cache", 0)])
def test_evaluation_batches_have_them_and_training_batches_do_not(alternatives_dataset, tmp_path, loader, workers):
    index = read_index(alternatives_dataset, "validation", alternatives=True)
    chosen = settings("quick", size=16, batch_size=3, workers=workers, loader=loader, cache_dir=str(tmp_path))
    batches = list(batches_of(index, chosen, training=False))
    assert torch.cat([batch["labels"] for batch in batches]).tolist() == index.label.tolist()
    assert torch.cat([batch["alternatives"] for batch in batches]).tolist() == index.alternatives.tolist()
    index = read_index(alternatives_dataset, alternatives=True)
    assert {key for batch in batches_of(index, chosen, training=True) for key in batch} == {"images", "labels"}


def test_public_loaders_return_them_on_request(alternatives_dataset):
    index = read_index(alternatives_dataset, "validation", alternatives=True)
    one = torch.cat([batch["alternatives"] for batch in stream(
        alternatives_dataset, "validation", size=16, batch_size=7, workers=0, alternatives=True)])  # fmt: skip
    dataset = MapDataset(alternatives_dataset, "validation", size=16, alternatives=True)
    two = torch.cat([batch["alternatives"] for batch in DataLoader(dataset, batch_size=7)])
    assert one.tolist() == two.tolist() == index.alternatives.tolist()
    texts = [s["alternatives"] for s in webdataset(alternatives_dataset, "validation", alternatives=True)]
    three = class_indices(texts, index.class_names)
    assert {tuple(sorted(row)) for row in three.tolist()} == {tuple(sorted(row)) for row in one.tolist()}
    assert "alternatives" not in MapDataset(alternatives_dataset, "validation", size=16)[0]
    assert all("alternatives" not in s for s in webdataset(alternatives_dataset, "validation"))


def test_a_dataset_without_alternatives_has_none(small_dataset):
    assert read_index(small_dataset, "validation", alternatives=True).alternatives.shape == (30, 0)
