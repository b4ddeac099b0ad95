"""A ready `wds.WebDataset`: every image once over processes and workers, with its pixels and its label."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter

import cytoimagenet
import fsspec
import numpy as np
import pytest
import webdataset as wds
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.loaders.webdataset_reader import webdataset
from PIL import Image
from torch.utils.data import DataLoader


@pytest.fixture(scope="module")
def truth(small_dataset):
    """Key -> (image, label) of each split, read by offset."""
    manifest = Manifest.load(small_dataset)
    rows = manifest.metadata()
    names = list(manifest.class_names)
    return {
        split: {
            key: (np.asarray(image), names.index(label))
            for key, label, image in zip(
                some["key"], some["label"], cytoimagenet.read_images(some, small_dataset), strict=True
            )
        }
        for split, some in rows.groupby("split")
    }


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_and_labels(small_dataset, truth, split):
    dataset = cytoimagenet.webdataset(small_dataset, split)
    assert isinstance(dataset, wds.WebDataset)
    found = {sample["__key__"]: (np.asarray(sample["image"]), sample["label"]) for sample in dataset}
    assert found.keys() == truth[split].keys()
    for key, (pixels, label) in found.items():
        assert label == truth[split][key][1] and np.array_equal(pixels, truth[split][key][0])


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("split", ["train", "validation"])  # 8 shards, and one
def test_every_image_once_over_nodes_and_workers(small_dataset, truth, monkeypatch, split, nodes):
    seen = Counter()
    for rank in range(nodes):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(nodes))
        dataset = webdataset(small_dataset, split, size=16)
        for batch in DataLoader(dataset, batch_size=7, num_workers=2):
            assert batch["image"].shape[1:] == (1, 16, 16)
            seen.update(batch["__key__"])
    assert seen == Counter(truth[split].keys())


def test_batches_of_webdataset_itself(small_dataset, truth):
    batches = list(wds.WebLoader(webdataset(small_dataset, size=24).batched(50), batch_size=None, num_workers=2))
    assert sum(len(batch["label"]) for batch in batches) == 270
    labels = {key: int(label) for batch in batches for key, label in zip(batch["__key__"], batch["label"], strict=True)}
    assert labels == {key: label for key, (_, label) in truth["train"].items()}
    for image, label in webdataset(small_dataset, "validation").to_tuple("image", "label"):
        assert image.mode == "L" and 0 <= label < 5


def test_the_size_is_that_of_load_dataset(small_dataset):
    ours = {sample["__key__"]: sample["image"] for sample in webdataset(small_dataset, "validation", size=20)}
    for row in cytoimagenet.load_dataset(small_dataset, split="validation", size=20):
        assert np.array_equal(ours[row["key"]][0], np.asarray(row["image"]))


def test_the_order_follows_the_seed_and_differs_between_passes(small_dataset):
    def keys(dataset):
        return [sample["__key__"] for sample in dataset]

    dataset = webdataset(small_dataset, seed=1)
    first, second = keys(dataset), keys(dataset)
    again = webdataset(small_dataset, seed=1)
    assert (keys(again), keys(again)) == (first, second)
    assert first != second and sorted(first) == sorted(second)
    assert keys(webdataset(small_dataset, seed=2)) != first
    plain = webdataset(small_dataset, shuffle=0)
    stored = Manifest.load(small_dataset).metadata(["key", "split", "shard", "offset"])
    in_order = stored[stored["split"] == "train"].sort_values(["shard", "offset"])["key"].tolist()
    assert keys(plain) == keys(plain) == in_order


def test_the_sample_of_each_class(small_dataset):
    counts = Counter(sample["label"] for sample in webdataset(small_dataset, "sample"))
    assert counts == dict.fromkeys(range(5), 10)


NO_TORCH = """
import sys
for name in ("torch", "cv2", "tifffile", "transformers"):
    sys.modules[name] = None
import cytoimagenet
samples = list(cytoimagenet.webdataset(sys.argv[1], "validation", size=8))
print(len(samples), samples[0]["image"].shape)
"""


def test_the_base_installation_is_enough(small_dataset):
    command = [sys.executable, "-c", NO_TORCH, str(small_dataset)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "30 (1, 8, 8)"), ran.stderr


def test_remote_folders(small_dataset, server):
    url = "http://{}:{}".format(*server.server_address)
    assert len(list(webdataset(url, "validation", size=8))) == 30
    fs = fsspec.filesystem("memory")
    fs.put(f"{small_dataset}/", "/webdataset-test/", recursive=True)
    assert len(list(webdataset("memory://webdataset-test", size=8))) == 270
    fs.rm("/webdataset-test", recursive=True)


def test_found_like_load_dataset_finds_it(small_dataset, monkeypatch):
    monkeypatch.setenv("CYTOIMAGENET_HOME", str(small_dataset))
    assert len(list(webdataset(split="validation"))) == 30


def test_a_shard_that_lacks_images_is_damaged(small_dataset, tmp_path):
    folder = tmp_path / "cut"
    shutil.copytree(small_dataset, folder)
    [(name, rows, *_)] = Manifest.load(folder).shards("validation")
    shard = folder / name
    last = Manifest.load(folder).metadata(["shard", "offset"]).query("shard == @name")["offset"].max()
    shard.write_bytes(shard.read_bytes()[: int(last) - 512])  # before the header of the last PNG: a valid end
    with pytest.raises(CheckFailedError, match=f"it has {rows - 1} images instead of {rows}") as found:
        list(webdataset(folder, "validation"))
    assert found.value.where == str(shard)
    assert next(iter(webdataset(folder, "validation")))["image"].size != (0, 0), "reading a part is no error"


def test_bad_input(small_dataset, small_curated, tmp_path):
    with pytest.raises(UsageError, match="No split 'test'; there are train, validation, sample"):
        webdataset(small_dataset, "test")
    with pytest.raises(UsageError, match="size can't be 0"):
        webdataset(small_dataset, size=0)
    write_dataset(small_curated, tmp_path / "parquet", format="parquet")
    with pytest.raises(UsageError, match="WebDataset reads tar files"):
        webdataset(tmp_path / "parquet")


def test_images_keep_their_sizes_without_one(small_dataset):
    samples = list(webdataset(small_dataset, "validation"))
    assert all(isinstance(sample["image"], Image.Image) and sample["image"].mode == "L" for sample in samples)
    assert len({sample["image"].size for sample in samples}) > 5
