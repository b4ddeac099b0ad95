"""The simulated evaluation sets have exactly the formats of the publishers."""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zipfile
from collections import Counter

import h5py
import numpy as np
import pytest
import tifffile
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops
from cytoimagenet.eval.simulate.sets import simulate

SMALL = {"shape": (16, 20), "sites": 1}


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_bbbc021_tables_and_files_agree(tmp_path):
    root = simulate_bbbc021(tmp_path, **SMALL)
    rows = list(csv.DictReader((root / "BBBC021_v1_image.csv").open()))
    named = {
        f"{row['Image_Metadata_Plate_DAPI']}/{row[f'Image_FileName_{stain}']}"
        for row in rows
        for stain in ("DAPI", "Tubulin", "Actin")
    }
    assert named == {f"{path.parent.name}/{path.name}" for path in root.rglob("*.tif")}
    assert len(named) == 3 * len(rows)
    page = tifffile.imread(root / sorted(named)[0])
    assert page.dtype == np.uint16 and page.shape == (16, 20)
    # every plate has its positive and negative controls; all other treatments are in one week
    plates = {row["Image_Metadata_Plate_DAPI"] for row in rows}
    controls = Counter(row["Image_Metadata_Plate_DAPI"] for row in rows if row["Image_Metadata_Compound"] == "taxol")
    assert len(plates) == 8 and set(controls) == plates
    weeks = {}
    for row in rows:
        key = (row["Image_Metadata_Compound"], float(row["Image_Metadata_Concentration"]))
        weeks.setdefault(key, set()).add(row["Image_Metadata_Plate_DAPI"].split("_")[0])
    assert {len(seen) for key, seen in weeks.items() if key not in {("taxol", 0.3), ("DMSO", 0.0)}} == {1}


@pytest.mark.real
def test_bbbc021_header_is_the_official_one(tmp_path, shared):
    root = simulate_bbbc021(tmp_path, **SMALL)
    with gzip.open(shared / "evaldata/bbbc021/BBBC021_v1_image.csv.gz") as file:
        official = file.read().split(b"\n")
    ours = (root / "BBBC021_v1_image.csv").read_bytes().split(b"\n")
    assert ours[0] == official[0]
    shape = re.compile(rb"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}")
    assert len(shape.findall(ours[1])) == len(shape.findall(official[1])) == 3
    moa = (shared / "evaldata/bbbc021/BBBC021_v1_moa.csv").read_text().splitlines()
    assert set((root / "BBBC021_v1_moa.csv").read_text().splitlines()) < set(moa)


def test_bbbc021_layouts_have_the_same_pixels(tmp_path):
    flat = simulate_bbbc021(tmp_path / "folders", **SMALL)
    nested = simulate_bbbc021(tmp_path / "nested", layout="nested", **SMALL)
    zips = simulate_bbbc021(tmp_path / "zips", layout="zips", **SMALL)
    archives = sorted(zips.glob("*.zip"))
    assert len(archives) == 8
    for archive in archives:
        plate = archive.stem.removeprefix("BBBC021_v1_images_")
        with zipfile.ZipFile(archive) as packed:
            assert packed.namelist()
            for name in packed.namelist():
                assert packed.read(name) == (flat / name).read_bytes()
                assert packed.read(name) == (nested / archive.stem / name).read_bytes()
                assert name.startswith(f"{plate}/")


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_coos7_keys(tmp_path, dtype):
    root = simulate_coos7(tmp_path, train=3, test=2, dtype=dtype)
    names = ["training", "test1", "test2", "test3", "test4"]
    assert sorted(path.name for path in root.iterdir()) == sorted(f"COOS7_v1.0_{name}.hdf5" for name in names)
    with h5py.File(root / "COOS7_v1.0_training.hdf5") as file:
        assert set(file) == {"data", "labels", "dateIDs", "microscopeIDs", "plateIDs", "wellIDs"}
        assert file["data"].shape == (21, 2, 64, 64) and file["data"].dtype == dtype
        assert Counter(file["labels"][:].tolist()) == dict.fromkeys(range(7), 3)
        # cells of one well share a label: the well is a group
        pairs = set(zip(file["wellIDs"][:].tolist(), file["labels"][:].tolist(), strict=True))
        assert len(pairs) == len({well for well, _ in pairs})


def test_coos7_tree(tmp_path):
    root = simulate_coos7(tmp_path, train=2, test=1, layout="tree")
    assert len(list((root / "train").glob("*/*_protein.tif"))) == 14
    assert len(list((root / "test4").glob("*/*_mask.tif"))) == 7


def test_cyclops_one_hot_names_are_attributes(tmp_path):
    root = simulate_cyclops(tmp_path, cells=4)
    with h5py.File(root / "datasets" / "Chong_train_set.hdf5") as file:
        assert set(file) == {"data1", "Index1", "Info1"}
        assert file["data1"].shape == (24, 8192) and file["Index1"].shape == (24, 19)
        assert np.array_equal(file["Index1"][:].sum(axis=1), np.ones(24))
        names = [name.decode() for name in file.attrs["Index1_columns"]]
        assert names[-2:] == ["DEAD", "GHOST"] and len(names) == 19


def test_cyclops_layouts_have_the_same_cells(tmp_path):
    tree = simulate_cyclops(tmp_path / "tree", cells=4, layout="tree")
    numbered = simulate_cyclops(tmp_path / "numbered", cells=4, numbered=True)
    single = simulate_cyclops(tmp_path / "single", cells=4)
    count = 0
    for part in ("test", "valid", "train"):  # the order in which the tree's index runs
        with h5py.File(numbered / f"datasets/Chong_{part}_set.hdf5") as cut:
            data = np.concatenate([cut["data1"][:], cut["data2"][:]])
            one_hot = np.concatenate([cut["Index1"][:], cut["Index2"][:]])
            names = [name.decode() for name in cut.attrs["Index1_columns"]]
        with h5py.File(single / f"datasets/Chong_{part}_set.hdf5") as whole:
            assert np.array_equal(whole["data1"][:], data) and np.array_equal(whole["Index1"][:], one_hot)
        for row, hot in zip(data, one_hot, strict=True):
            label = names[hot.argmax()]
            page = tifffile.imread(tree / label / f"{label}_{count}_gfp.tif")
            assert page.dtype == np.float32
            # 0 = GFP: the same cell, whatever the scale of the container
            assert np.allclose((row.reshape(2, 64, 64)[0] - 33000) / 2000 * 0.4, page, atol=2e-4)
            count += 1
    assert count == len(list(tree.rglob("*_rfp.tif"))) == 48


def test_equal_seeds_give_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        simulate_coos7(tmp_path / folder / "coos7", train=2, test=1)
        simulate_cyclops(tmp_path / folder / "cyclops", cells=2)
        simulate_bbbc021(tmp_path / folder / "bbbc021", **SMALL)
    simulate_coos7(tmp_path / "c", seed=1, train=2, test=1)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    name = "COOS7_v1.0_training.hdf5"
    assert digest(tmp_path / "c")[name] != digest(tmp_path / "a")[f"coos7/{name}"]


def test_unknown_task(tmp_path):
    with pytest.raises(UsageError, match="bbbc022"):
        simulate(tmp_path, tasks=["bbbc022"])
