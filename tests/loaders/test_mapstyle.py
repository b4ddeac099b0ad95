"""What loaders say about themselves, and that none complains when the interpreter ends."""

from __future__ import annotations

import subprocess
import sys

import cytoimagenet
from cytoimagenet.loaders import mapstyle
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index


def test_a_loader_tells_split_images_classes_and_size(small_dataset, tmp_path):
    assert repr(cytoimagenet.MapDataset(small_dataset, size=64)) == "MapDataset(train, 270 images, 5 classes, 64 px)"
    one = cytoimagenet.MapDataset(small_dataset, "validation", labels="human")
    assert repr(one) == "MapDataset(validation, 6 images, 1 class, 224 px)"
    batches = cytoimagenet.stream(small_dataset, batch_size=32, size=48)
    assert repr(batches) == "Batches(train, 270 images, 5 classes, 48 px, 8 batches of 32)"
    part = cytoimagenet.stream(small_dataset, "validation", batch_size=30, rank=1, world=2)
    assert repr(part) == "Batches(validation, 30 images, 5 classes, 224 px, 1 batch of 30, process 1 of 2)"
    index = read_index(small_dataset, "validation")
    assert CacheReader(index, build_cache(small_dataset, size=32, folder=tmp_path, workers=0)).size == 32


AT_EXIT = """
import sys
import cytoimagenet
dataset = cytoimagenet.MapDataset(sys.argv[1])
dataset[0]
sys.modules["keeper"] = dataset       # kept until the modules themselves are removed
import cytoimagenet.loaders.mapstyle as mapstyle
mapstyle.os = None                    # as at the end of the interpreter, when modules are cleared in any order
"""


def test_nothing_is_printed_at_the_exit(small_dataset):
    command = [sys.executable, "-c", AT_EXIT, str(small_dataset)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_files_are_closed_with_the_reader(small_dataset, monkeypatch):
    dataset = cytoimagenet.MapDataset(small_dataset, size=8)
    dataset[0]
    files = list(dataset.reader._files.values())
    closed = []
    dataset.reader.__del__(closed.append)
    assert closed == files and files
    dataset.reader._files.clear()
    for file in files:
        mapstyle.os.close(file)
