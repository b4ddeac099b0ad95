"""The files of the three sets: every layout gives the same samples, and every damage is reported when it is read."""

from __future__ import annotations

import gzip
import os
import pickle
import shutil
import zipfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from cytoimagenet.builder.curate.evaluation_images import read_evaluation
from cytoimagenet.builder.errors import (
    CytoImageNetError,
    MetadataError,
    TooLargeError,
    UnreadableImageError,
    UsageError,
)
from cytoimagenet.builder.formats import zips
from cytoimagenet.eval.sets import bbbc021, coos7, cyclops, fingerprint, stored
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops

FILES = {"bbbc021": bbbc021, "coos7": coos7, "cyclops": cyclops}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """One small set in each layout."""
    root = tmp_path_factory.mktemp("sets")
    for layout in ("folders", "nested", "zips"):
        simulate_bbbc021(root / "bbbc021" / layout, shape=(40, 48), sites=1, layout=layout)
    for layout in ("hdf5", "tree"):
        simulate_coos7(root / "coos7" / layout, train=3, test=2, layout=layout)
        simulate_cyclops(root / "cyclops" / layout, cells=4, layout=layout)
    simulate_cyclops(root / "cyclops" / "numbered", cells=4, numbered=True)
    return root


@pytest.fixture
def copy(sets, tmp_path):
    """Return a function that copies a set, which may then be damaged."""

    def copied(name):
        return shutil.copytree(sets / name, tmp_path / "copy")

    return copied


def pixels(samples):
    return np.stack([samples.load(i) for i in range(len(samples))])


# BBBC021


def test_bbbc021_is_the_same_in_all_layouts(sets):
    found = [bbbc021.read(sets / "bbbc021" / layout) for layout in ("folders", "nested", "zips")]
    for samples in found:
        assert samples.ids == found[0].ids
        assert samples.digest() == found[0].digest()
        np.testing.assert_array_equal(pixels(samples), pixels(found[0]))
    table = found[0].table
    assert found[0].channels == ("DAPI", "Tubulin", "Actin")
    assert found[0].shape == (40, 48)
    assert found[0].load(0).dtype == np.uint16
    assert table.loc[table["id"] == "Week4_27481_B02_s1", "label"].item() == "DMSO"
    # every one of the four kinds of file name was read
    assert set(table["week"]) == {"Week1", "Week4", "Week7", "Week8"}
    assert (table["label"] != "").all()
    assert sum(found[0].left_out.values()) + len(table) == 2 * (10 + 10 + 9 + 9)  # wells


def test_bbbc021_takes_the_tables_as_they_circulate(copy):
    root = copy("bbbc021/folders")
    before = bbbc021.read(root)
    listed = root / "BBBC021_v1_image.csv"
    text = listed.read_text()
    # another variant: numbers written short, no quotes, another order of rows, gzipped
    head, *rows = text.replace('"', "").replace("0.300000", "0.3").strip().split("\n")
    listed.unlink()
    (root / "BBBC021_v1_image.csv.gz").write_bytes(gzip.compress("\n".join([head, *rows[::-1]]).encode()))
    moa = root / "BBBC021_v1_moa.csv"
    moa.write_bytes(moa.read_bytes().replace(b"\n", b"\r"))  # a third variant ends lines with a bare CR
    after = bbbc021.read(root)
    assert after.digest() == before.digest()
    assert after.table["label"].tolist() == before.table["label"].tolist()


def test_bbbc021_without_images_is_enough_for_a_table(copy):
    root = copy("bbbc021/folders")
    before = bbbc021.read(root).ids
    for plate in root.glob("Week*"):
        shutil.rmtree(plate)
    assert bbbc021.read(root, images=False).ids == before
    with pytest.raises(MetadataError, match=r"images are missing.*8 plates: Week1_22123"):
        bbbc021.read(root)


def damage_missing(root):
    next(root.glob("Week1*/*_D06_*w2*.tif")).unlink()


def damage_cut(root):
    path = next(root.glob("Week4*/*w1*.tif"))
    path.write_bytes(path.read_bytes()[:-500])


def damage_empty(root):
    next(root.glob("Week4*/*w1*.tif")).write_bytes(b"")


def damage_shape(root):
    tifffile.imwrite(next(root.glob("Week8*/*w4*.tif")), np.zeros((40, 47), np.uint16))


def damage_colour(root):
    tifffile.imwrite(next(root.glob("Week8*/*w4*.tif")), np.zeros((40, 48, 3), np.uint8), photometric="rgb")


def damage_moa(root):
    (root / "BBBC021_v1_moa.csv").unlink()


def damage_columns(root):
    path = root / "BBBC021_v1_image.csv"
    path.write_text(path.read_text().replace("Image_Metadata_Compound", "Compound"))


def damage_dose(root):
    path = root / "BBBC021_v1_moa.csv"
    path.write_text(path.read_text().replace("0.300000", "low", 1))


def damage_channel(root):
    path = root / "BBBC021_v1_image.csv"
    path.write_text(path.read_text().replace("_B02_s1_w2", "_B02_s1_w3", 1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "1 of .* images are missing"),
        (damage_cut, "cut off"),
        (damage_empty, "read image"),
        (damage_shape, "it is 40 x 47 pixels, the others 40 x 48"),
        (damage_colour, "one grey plane expected"),
        (damage_moa, "BBBC021_v1_moa.csv .or"),
        (damage_columns, "Missing columns: Image_Metadata_Compound"),
        (damage_dose, "'low' is not a concentration"),
        (damage_channel, "is not the Tubulin image .w2."),
    ],
)
def test_bbbc021_names_the_damage(copy, damage, message):
    root = copy("bbbc021/folders")
    damage(root)
    with pytest.raises(CytoImageNetError, match=message) as caught:
        bbbc021.read(root)
    assert caught.value.where


def test_bbbc021_names_a_cut_zip(copy):
    root = copy("bbbc021/zips")
    path = next(root.glob("*.zip"))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableImageError, match="not a whole zip") as caught:
        bbbc021.read(root)
    assert caught.value.where == str(path)


def test_a_member_above_the_bound_is_not_decompressed(copy, monkeypatch):
    root = copy("bbbc021/zips")
    path = next(root.glob("*22123.zip"))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, b"II*\x00" + bytes(2_000_000))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # must not be reached
    monkeypatch.setattr(zips, "MAX_MEMBER_BYTES", 1_000_000)
    monkeypatch.setattr(stored.WORKERS, "each", lambda tasks: [stored._call(task) for task in tasks])  # as patched
    with pytest.raises(TooLargeError, match="unpacks to more than 1,000,000 bytes"):
        bbbc021.read(root)


# COOS-7


def test_coos7_reads_by_key_and_keeps_the_order_of_the_channels(sets):
    samples = coos7.read(sets / "coos7" / "hdf5")
    assert len(samples) == 7 * 3 + 4 * 7 * 2
    assert samples.channels == ("protein", "nucleus")
    with h5py.File(sets / "coos7" / "hdf5" / "COOS7_v1.0_test3.hdf5") as file:
        data, labels, wells = file["data"][:], file["labels"][:], file["wellIDs"][:]
    table = samples.table
    rows = table.index[table["split"] == "test3"]
    np.testing.assert_array_equal(np.stack([samples.load(i) for i in rows]), data)
    assert samples.load(rows[0]).dtype == data.dtype
    assert table.loc[rows, "label"].tolist() == [coos7.CLASSES[label] for label in labels]
    assert table.loc[rows, "well"].tolist() == [str(well) for well in wells]
    assert table.loc[rows[0], "id"] == "test3/000000"


def test_coos7_reads_the_authors_tree(sets):
    samples, files = (coos7.read(sets / "coos7" / layout) for layout in ("tree", "hdf5"))
    assert samples.table.groupby(["split", "label"]).size().to_dict() == (
        files.table.groupby(["split", "label"]).size().to_dict()
    )
    # the same cells, whatever they are called: the mask is no channel
    assert sorted(p.tobytes() for p in pixels(samples)) == sorted(p.tobytes() for p in pixels(files))


def rewrite(path, **changed):
    with h5py.File(path, "r+") as file:
        for key, value in changed.items():
            del file[key]
            if value is not None:
                file[key] = value


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": np.zeros((14, 64, 64))}, r"shape \(14, 64, 64\), not \(N, 2, 64, 64\)"),
        ({"data": np.zeros((14, 2, 32, 32))}, "not .N, 2, 64, 64"),
        ({"data": np.zeros((14, 3, 64, 64))}, "not .N, 2, 64, 64"),
        ({"data": np.zeros((0, 2, 64, 64))}, "no cells"),
        ({"data": np.array([b"x"] * 14)}, "not numbers"),
        ({"labels": np.zeros(13, int)}, "14 rows are expected"),
        ({"labels": np.full(14, 0.5)}, "not whole numbers"),
        ({"labels": None}, "no data set 'labels'; the file has data, dateIDs"),
        ({"wellIDs": np.zeros(3)}, "14 rows are expected"),
    ],
)
def test_coos7_names_the_damage(copy, changed, message):
    root = copy("coos7/hdf5")
    rewrite(root / "COOS7_v1.0_test2.hdf5", **changed)
    with pytest.raises(MetadataError, match=message) as caught:
        coos7.read(root)
    assert "test2" in caught.value.where


def other_file(kind, root):
    """Make a data set of COOS-7 refer to something else."""
    with h5py.File(root / "COOS7_v1.0_test2.hdf5", "r+") as file:
        shape, pixels = file["data"].shape, file["data"][:]
        del file["data"]
        if kind == "raw bytes":
            (root / "secret").write_bytes(pixels.tobytes())
            file.create_dataset("data", shape, pixels.dtype, external=[(str(root / "secret"), 0, pixels.nbytes)])
            return
        with h5py.File(root / "secret.h5x", "w") as secret:
            secret["data"] = pixels
        if kind == "link":
            file["data"] = h5py.ExternalLink(str(root / "secret.h5x"), "/data")
        elif kind == "soft link":
            file["data"] = h5py.SoftLink("/elsewhere/data")
        else:
            layout = h5py.VirtualLayout(shape, pixels.dtype)
            layout[:] = h5py.VirtualSource(str(root / "secret.h5x"), "data", shape)
            file.create_virtual_dataset("data", layout)


@pytest.mark.parametrize("kind", ["raw bytes", "link", "soft link", "virtual"])
def test_hdf5_that_refers_to_another_file_is_refused(copy, kind):
    root = copy("coos7/hdf5")
    other_file(kind, root)
    with pytest.raises(MetadataError, match=r"stored in another file|a reference to another") as caught:
        coos7.read(root)
    assert caught.value.where.endswith("test2.hdf5")
    evaluation = read_evaluation(root, workers=0)
    assert [name for name in evaluation.skipped if name.endswith("test2.hdf5")]


@pytest.mark.parametrize(
    ("shape", "chunks", "reason"),
    [
        ((2**40, 2, 64, 64), (1, 2, 64, 64), "1,099,511,627,776 rows"),
        ((14, 2, 64, 64), (2**16, 2, 64, 64), "chunks of 536,870,912 bytes"),
    ],
)
def test_hdf5_that_claims_too_much_is_refused(copy, shape, chunks, reason):
    root = copy("coos7/hdf5")
    with h5py.File(root / "COOS7_v1.0_test2.hdf5", "r+") as file:
        del file["data"]
        more = (None, 2, 64, 64)
        file.create_dataset("data", shape, "u1", chunks=chunks, maxshape=more, compression="gzip")
    with pytest.raises(MetadataError, match=reason):
        coos7.read(root)


@pytest.mark.parametrize("length", [1, 4, 16, 64])
def test_hdf5_with_a_damaged_object_is_one_error(copy, length):
    root = copy("coos7/hdf5")
    path = root / "COOS7_v1.0_test2.hdf5"
    with h5py.File(path) as file:
        at = h5py.h5o.get_info(file["data"].id).addr
    data = bytearray(path.read_bytes())
    data[at : at + length] = b"\xa5" * length
    path.write_bytes(data)
    with pytest.raises(MetadataError, match="'data' can't be read") as caught:
        coos7.read(root)
    assert caught.value.where == str(path)


def test_coos7_takes_labels_and_groups_of_any_shape_of_one_number_a_row(copy, sets):
    root = copy("coos7/hdf5")
    before = coos7.read(sets / "coos7" / "hdf5").table["label"].tolist()
    with h5py.File(root / "COOS7_v1.0_test1.hdf5") as file:
        labels = file["labels"][:]
    rewrite(root / "COOS7_v1.0_test1.hdf5", labels=labels[:, None].astype(np.float64), wellIDs=None)
    assert coos7.read(root).table["label"].tolist() == before


def test_coos7_names_what_is_missing_and_what_is_cut(copy):
    root = copy("coos7/hdf5")
    path = root / "COOS7_v1.0_test4.hdf5"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MetadataError, match="Not a whole HDF5 file") as caught:
        coos7.read(root)
    assert caught.value.where == str(path)
    path.unlink()
    with pytest.raises(MetadataError, match="test4 missing") as caught:
        coos7.read(root)
    assert "Zenodo" in caught.value.next


def test_coos7_needs_both_images_of_a_cell(copy):
    root = copy("coos7/tree")
    next((root / "test1").glob("*/*_nucleus.tif")).unlink()
    with pytest.raises(MetadataError, match="has no nucleus image"):
        coos7.read(root)


# CYCLoPs


def test_cyclops_is_the_same_in_all_layouts(sets):
    found = [cyclops.read(sets / "cyclops" / layout) for layout in ("hdf5", "numbered", "tree")]
    for samples in found:
        assert samples.ids == found[0].ids
        assert samples.table[["label", "folder"]].equals(found[0].table[["label", "folder"]])
        assert samples.left_out == {"cells of DEAD": 4, "cells of GHOST": 4}
    np.testing.assert_array_equal(pixels(found[0]), pixels(found[1]))
    assert found[0].channels == ("GFP", "RFP")
    assert found[2].channels == ("gfp", "rfp")
    # the tree has the same cells on another scale
    scaled = (pixels(found[0]) - 33000) / 2000 * 0.4
    np.testing.assert_allclose(pixels(found[2]), scaled, atol=1e-3)
    assert set(found[0].table.loc[found[0].table["folder"] == "SPINDLEPOLE", "label"]) == {"SPINDLE"}


def test_cyclops_published_labels_are_shifted_from_dead_on(sets):
    root = sets / "cyclops" / "hdf5"
    clean, shifted = cyclops.read(root), cyclops.read(root, labels="published")
    true = shifted.table["id"].str.rpartition("_")[0]
    called = dict(zip(true, shifted.table["folder"], strict=True))
    assert called == {
        "ACTIN": "ACTIN",
        "CELLPERIPHERY": "CELLPERIPHERY",
        "CYTOPLASM": "CYTOPLASM",
        "DEAD": "ER",
        "ER": "MITOCHONDRIA",
        "GHOST": "NUCLEI",
        "MITOCHONDRIA": "NUCLEOLUS",
        "NUCLEI": "SPINDLE",
        "NUCLEOLUS": "SPINDLEPOLE",
        "SPINDLE": "VACUOLE",
    }
    assert shifted.left_out == {"cells of SPINDLEPOLE": 4, "cells of VACUOLE": 4}
    assert len(clean) == len(shifted)


def test_cyclops_shift_needs_the_folders_that_shift(copy):
    root = copy("cyclops/tree")
    shutil.rmtree(root / "DEAD")
    with pytest.raises(UsageError, match="DEAD is missing"):
        cyclops.read(root, labels="published")


def two_labels(file):
    file["Index1"][0] = 1


def no_names(file):
    del file.attrs["Index1_columns"]


def flat_pixels(file):
    del file["data1"]
    file["data1"] = np.zeros((22, 4096))


def few_labels(file):
    kept = file["Index1"][:5]
    del file["Index1"]
    file["Index1"] = kept


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (two_labels, "Row 0 of `Index1` has more than one label"),
        (no_names, "does not name its classes"),
        (flat_pixels, r"not \(N, 8192\)"),
        (few_labels, r"`Index1` has the shape \(5, 19\)"),
    ],
)
def test_cyclops_names_the_damage(copy, damage, message):
    root = copy("cyclops/hdf5")
    with h5py.File(root / "datasets" / "Chong_train_set.hdf5", "r+") as file:
        damage(file)
    with pytest.raises(MetadataError, match=message) as caught:
        cyclops.read(root)
    assert "train" in caught.value.where


def test_cyclops_counts_cells_without_a_label(copy):
    root = copy("cyclops/hdf5")
    with h5py.File(root / "datasets" / "Chong_train_set.hdf5", "r+") as file:
        file["Index1"][:3] = 0
    before = cyclops.read(root)
    assert before.left_out["cells without a label"] == 3
    assert len(before) + sum(before.left_out.values()) == 12 * 4


def test_cyclops_prefers_the_screen_that_is_scored(copy, sets):
    root = copy("cyclops/hdf5")
    shutil.copy(root / "datasets" / "Chong_test_set.hdf5", root / "datasets" / "Schuldiner_test_set.hdf5")
    assert cyclops.read(root).ids == cyclops.read(sets / "cyclops" / "hdf5").ids


def test_cyclops_names_a_missing_partner(copy):
    root = copy("cyclops/tree")
    next((root / "ER").glob("*_rfp.tif")).unlink()
    with pytest.raises(MetadataError, match="has no rfp image"):
        cyclops.read(root)


def test_the_error_of_an_empty_folder_explains_how_to_get_the_data(tmp_path):
    for files in (bbbc021, coos7, cyclops):
        with pytest.raises(MetadataError) as caught:
            files.read(tmp_path)
        assert caught.value.next == files.HOW_TO_GET


@pytest.mark.parametrize("name", ["bbbc021/zips", "coos7/hdf5", "cyclops/tree"])
def test_samples_can_be_read_in_another_process(sets, name):
    samples = FILES[name.partition("/")[0]].read(sets / name)
    first = samples.load(1)
    assert pickle.loads(pickle.dumps(samples)).digest() == samples.digest()
    # after a fork the parent's handles are in the child too, and must not be used there
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        for other in pool.map(samples.load, [1] * 4):
            np.testing.assert_array_equal(other, first)


def test_a_file_that_was_replaced_is_read_afresh(copy, sets):
    root = copy("coos7/hdf5")
    before = coos7.read(root).digest()
    for name in ("COOS7_v1.0_test1.hdf5", "COOS7_v1.0_test2.hdf5"):
        (root / name).rename(root / f"old {name}.bak")
    shutil.copy(sets / "coos7/hdf5/COOS7_v1.0_test2.hdf5", root / "COOS7_v1.0_test1.hdf5")
    shutil.copy(sets / "coos7/hdf5/COOS7_v1.0_test1.hdf5", root / "COOS7_v1.0_test2.hdf5")
    assert coos7.read(root).digest() != before


def flip_a_byte(path, at):
    """Change one byte and set the time of modification back."""
    about, content = path.stat(), bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


@pytest.mark.parametrize("name", ["bbbc021/folders", "coos7/hdf5", "cyclops/tree"])
def test_one_changed_pixel_anywhere_changes_the_digest_and_only_its_file_is_read(copy, tmp_path, monkeypatch, name):
    root, kept, hashed = copy(name), tmp_path / "files.json", []
    files_of, real = FILES[name.partition("/")[0]], fingerprint._sha256

    def seen(locator):
        hashed.append(locator)
        return real(locator)

    monkeypatch.setattr(fingerprint, "_sha256", seen)
    before = files_of.read(root).digest(kept)
    assert before == files_of.read(root).digest() and len(set(hashed)) == len(hashed) / 2
    files = hashed[: len(hashed) // 2]
    for victim in (files[0], files[len(files) // 2 + 1], files[-1]):
        hashed.clear()
        kept_before = files_of.read(root).digest(kept)
        assert not hashed
        flip_a_byte(Path(victim), -40)
        assert files_of.read(root).digest(kept) != kept_before
        assert hashed == [victim]
        flip_a_byte(Path(victim), -40)
        assert files_of.read(root).digest(kept) == before  # it is the bytes that count, not the times
    kept.write_text("[half")
    assert files_of.read(root).digest(kept) == before


def test_a_damaged_member_is_named_when_its_bytes_are_read(copy):
    root = copy("bbbc021/zips")
    samples = bbbc021.read(root)
    victim = samples.table["Tubulin"].iloc[5]
    archive, _, member = victim.partition("::")
    with zipfile.ZipFile(archive) as packed:
        at = packed.getinfo(member).header_offset + 200
    flip_a_byte(Path(archive), at)
    with pytest.raises(UnreadableImageError, match=r"Week\d"):
        samples.digest()


# real files


@pytest.mark.real
def test_the_official_tables_of_bbbc021(shared):
    samples = bbbc021.read(shared / "evaldata" / "bbbc021", images=False)
    table = samples.table
    assert len(table) + samples.left_out["images without a mechanism of action"] == 13_200
    assert (table["label"] == "DMSO").sum() == 1_320
    treated = table[table["label"] != "DMSO"]
    assert len(treated) == 2_528
    assert treated.groupby(["compound", "concentration"]).ngroups == 103
    assert (treated["compound"].nunique(), treated["label"].nunique()) == (38, 12)
    taxol = treated[(treated["compound"] == "taxol") & (treated["concentration"] == 0.3)]
    assert (len(taxol), taxol["plate"].nunique(), taxol.groupby(["plate", "well"]).ngroups) == (1_332, 55, 333)
    assert set(table["site"]) == {"1", "2", "3", "4"}


@pytest.mark.real
def test_real_deeploc_cells(shared):
    samples = cyclops.read(shared / "evaldata" / "cyclops" / "deeploc_hdf5")
    assert samples.channels == ("RFP", "DIC")  # as this file says, not as another does
    assert len(samples) == 36
    assert samples.table["label"].value_counts()["Cell Periphery"] == 7
    assert "Bud Neck" not in set(samples.table["label"])  # named by the file, without a cell
    cell = samples.load(0)
    assert cell.shape == (2, 64, 64)
    assert 32_983 <= cell.min() <= cell.max() <= 35_372
    assert cell[0].mean() > cell[1].mean()


@pytest.mark.real
def test_real_wt2_cells_are_unlabelled(shared):
    samples = cyclops.read(shared / "evaldata" / "cyclops" / "wt2_toy")
    assert len(samples) == 80
    assert set(samples.table["label"]) == {""}
    assert "AAC1_1_rfp_10" in samples.ids
    i = samples.ids.index("AAC1_1_rfp_10")
    folder = shared / "evaldata" / "cyclops" / "wt2_toy" / "AAC1"
    for plane, channel in zip(samples.load(i), ("gfp", "rfp"), strict=True):
        np.testing.assert_array_equal(plane, tifffile.imread(folder / f"AAC1_1_rfp_10_{channel}.tif"))
    assert samples.load(i).dtype == np.float32


def test_the_19_folders():
    assert len(cyclops.FOLDERS) == 19
    assert list(cyclops.FOLDERS) == sorted(cyclops.FOLDERS)
