"""Loading is light (it imports nothing that only writing needs), takes a path, and gives images of one size."""

import subprocess
import sys

import cytoimagenet
import datasets
import numpy as np
import pytest
import torch
from cytoimagenet.builder.dataset.resize import resize
from cytoimagenet.builder.errors import UsageError
from PIL import Image
from torch.utils.data import DataLoader

LIGHT = """
import sys
import cytoimagenet, datasets          # `datasets` itself imports yaml
before = set(sys.modules)
import cytoimagenet.builder.hf.load, cytoimagenet.builder.hf.builder, cytoimagenet.builder.hf.examples
after = set(sys.modules) - before
writers = ("yaml", "jinja2", "markupsafe", "torch", "tifffile", "cv2", "imagecodecs", "matplotlib")
ours = [name.removeprefix("cytoimagenet.builder.") for name in after if name.startswith("cytoimagenet.builder.")]
print(*[name for name in after if name.split(".")[0] in writers], "|", *sorted(ours))
"""
NEVER = ("pages", "images", "curate", "labels", "sources", "archive", "commands", "simulate")


def test_load_dataset_does_not_import_the_pages_nor_their_libraries():
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    heavy, ours = (part.split() for part in ran.stdout.split("|"))
    assert heavy == []
    assert {"hf.load", "hf.builder", "hf.examples", "dataset.manifest"} <= set(ours)
    assert [name for name in ours if name.split(".")[0] in NEVER] == []


def test_finding_the_dataset_needs_neither_datasets_nor_yaml():
    code = "import sys, cytoimagenet.builder.hf.load\nprint(*{'datasets', 'yaml', 'jinja2'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.split()) == (0, []), ran.stderr


def test_the_first_argument_may_be_the_folder(small_dataset, monkeypatch):
    monkeypatch.chdir(small_dataset.parent)
    for path in (small_dataset, str(small_dataset), "./cytoimagenet", "cytoimagenet", f"file://{small_dataset}"):
        rows = cytoimagenet.load_dataset(path, split="validation")
        assert rows.num_rows == 30 and rows.column_names[:2] == ["image", "label"]
    some = cytoimagenet.load_dataset(small_dataset, split="train", labels="human", streaming=True)
    assert {row["organism"] for row in some} == {"human"}
    with pytest.raises(UsageError, match="Two dataset folders are named"):
        cytoimagenet.load_dataset(small_dataset, data_dir=small_dataset)
    with pytest.raises(UsageError, match=r"No config 'oragnism'\n.*organism.*or give the path of a folder"):
        cytoimagenet.load_dataset("oragnism")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_size_makes_images_that_a_loader_can_stack(small_dataset, streaming):
    plain = cytoimagenet.load_dataset(small_dataset, split="validation", streaming=streaming)
    assert len({row["image"].size for row in plain}) > 5
    sized = cytoimagenet.load_dataset(small_dataset, split="validation", size=40, streaming=streaming)
    kept = ["key", "label", "width", "height", "x_max", "sha256"]
    for before, after in zip(plain, sized, strict=True):
        assert after["image"].size == (40, 40) and after["image"].mode == "L"
        assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
        # the documented transform, by another road: bilinear, over areas where the image shrinks
        assert after["image"].tobytes() == before["image"].resize((40, 40), Image.Resampling.BILINEAR).tobytes()
    batches = list(DataLoader(sized.with_format("torch"), batch_size=16))
    assert [batch["image"].shape for batch in batches] == [(16, 1, 40, 40), (14, 1, 40, 40)]
    assert batches[0]["image"].dtype == torch.uint8 and batches[0]["label"].dtype == torch.int64


def test_a_size_shrinks_by_means_and_has_a_cache_of_its_own(small_dataset):
    stripes = Image.fromarray(np.tile(np.array([0, 200], np.uint8), (64, 32)))
    assert set(np.unique(np.asarray(resize(stripes, 8))[:, 1:-1])) <= set(range(95, 106)), "no pixel is skipped"
    sizes = (None, 24, 32)
    rows = [cytoimagenet.load_dataset(small_dataset, split="validation", size=size)[0]["image"].size for size in sizes]
    assert rows[1:] == [(24, 24), (32, 32)]
    by_hook = datasets.load_dataset(str(small_dataset), split="validation", size=24)
    assert by_hook[0]["image"].size == (24, 24)


@pytest.mark.parametrize("size", [0, -3, 2.5, "64", True, 100_000])
def test_a_wrong_size_is_refused(small_dataset, size):
    with pytest.raises(UsageError, match="size can't be"):
        cytoimagenet.load_dataset(small_dataset, split="validation", size=size)


def test_the_builder_describes_itself(small_dataset):
    whole = cytoimagenet.CytoImageNet(data_dir=small_dataset)
    expected = "default: train 270 images, validation 30 images, 5 classes, sizes as stored"
    assert repr(whole) == f"CytoImageNet({expected}; {small_dataset})"
    part = cytoimagenet.CytoImageNet(data_dir=small_dataset, config_name="organism", size=64)
    assert "organism: train 54 images, validation 6 images, 1 class, 64 px" in repr(part)
