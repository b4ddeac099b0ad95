"""Evaluation images are read in worker processes: those that can't be read are named, and the others are the same."""

from __future__ import annotations

import os
import zipfile
from functools import partial

import h5py
import numpy as np
import pytest
from cytoimagenet.builder.curate import evaluation_images
from cytoimagenet.builder.curate.evaluation_images import read_evaluation
from cytoimagenet.builder.images.guard import ImageLimits
from cytoimagenet.builder.images.isolated import each_image

from tests.builder.curate import curated_sources as made
from tests.builder.curate import evaluation_at_fault as at_fault


@pytest.fixture
def folder(tmp_path, rng):
    with zipfile.ZipFile(tmp_path / "plate.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"w{number}.tif", made.tif(made.cells(number)))
    (tmp_path / "loose.png").write_bytes(made.png(made.cells(3)))
    (tmp_path / "same.png").write_bytes(made.png(made.cells(3)))
    with h5py.File(tmp_path / "cells.hdf5", "w") as file:
        file["data"] = rng.integers(0, 255, (600, 64, 64), np.uint8)
        file["labels"] = np.zeros(600)
    (tmp_path / "torn.hdf5").write_bytes((tmp_path / "cells.hdf5").read_bytes()[:5000])
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("read.me", "")
    return tmp_path


def test_any_number_of_processes_finds_the_same(folder):
    here, there = read_evaluation(folder, workers=0), read_evaluation(folder, workers=2)
    assert here == there
    assert list(here.files.items()) == list(there.files.items())
    assert sorted(set(here.files.values())) == ["cells.hdf5", "loose.png", *(f"plate.zip/w{n}.tif" for n in range(3))]
    assert len(here.files) == 604
    assert here.skipped.keys() == {"torn.hdf5"} and "not a readable HDF5 file" in here.skipped["torn.hdf5"]


def test_images_that_hang_or_need_too_much_memory_are_skipped(folder, monkeypatch):
    expected = read_evaluation(folder, workers=0)
    limits = ImageLimits(seconds=0.5, memory_bytes=2**30)
    monkeypatch.setattr(evaluation_images, "each_image", partial(each_image, limits=limits))
    monkeypatch.setattr(
        evaluation_images, "_digests", partial(at_fault.digests, {"plate.zip/w1.tif": "hangs", "cells.hdf5": "large"})
    )
    found = read_evaluation(os.fspath(folder), workers=2)
    assert found.skipped == {
        **expected.skipped,
        "plate.zip/w1.tif": "more than 0.5 seconds of processor time",
        "cells.hdf5": "more than 1 GiB of memory",
    }
    # of the cells, only the group at fault is missing
    lost = {digest: name for digest, name in expected.files.items() if digest not in found.files}
    assert sorted(lost.values()) == ["cells.hdf5"] * 256 + ["plate.zip/w1.tif"]
    assert found.files.items() <= expected.files.items()
