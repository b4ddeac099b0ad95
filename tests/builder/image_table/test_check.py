"""Reading every image once: each unreadable one has its reason; the montage shows the samples."""

import io
import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
import tifffile
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.image_table import reader as reader_module
from cytoimagenet.builder.image_table.check import check_pixels
from cytoimagenet.builder.image_table.montage import montage
from cytoimagenet.builder.image_table.table import read_image_table
from cytoimagenet.builder.images.contact_sheet import GAP, NAME_WIDTH, TILE
from cytoimagenet.builder.images.guard import ImageLimits
from cytoimagenet.builder.images.isolated import Isolated
from PIL import Image

from tests.builder.image_table import at_fault


@pytest.fixture
def mixed(tmp_path):
    """Two channels per sample; good ones are `ok` and `grey`."""
    root = tmp_path / "mixed"
    root.mkdir()
    dna = np.arange(12 * 10, dtype=np.uint16).reshape(12, 10) * 50
    tifffile.imwrite(root / "dna.tif", dna)
    tifffile.imwrite(root / "stack.tif", np.stack([dna, dna + 1, dna + 2]), photometric="minisblack")
    tifffile.imwrite(root / "nan.tif", np.where(dna == 0, np.nan, dna).astype(np.float32))
    Image.fromarray(np.stack([dna.astype(np.uint8), *[np.zeros_like(dna, np.uint8)] * 2], -1)).save(root / "rgb.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(root / "small.png")
    (root / "text.tif").write_bytes(b"II*\0 and no more")
    rows = [
        ("ok", "dna.tif", "stack.tif#page=2"),
        ("grey", "rgb.png", "dna.tif"),
        ("stack", "stack.tif", "dna.tif"),
        ("sizes", "dna.tif", "small.png"),
        ("text", "dna.tif", "text.tif"),
        ("nan", "nan.tif", "dna.tif"),
        ("box", "dna.tif#xywh=5,5,9,9", "dna.tif"),
        ("page", "stack.tif#page=3", "dna.tif"),
    ]
    pd.DataFrame(rows, columns=["id", "file_dna", "file_er"]).to_csv(root / "images.csv", index=False)
    return root


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_unreadable_image_has_its_reason(mixed, tmp_path, zipped, workers):
    if zipped:
        with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
            for path in mixed.iterdir():
                archive.write(path, path.name)
    offered = read_image_table(tmp_path / "mixed.zip" if zipped else mixed)
    assert len(offered) == 8
    table, measured = check_pixels(offered, workers=workers)
    assert table.rows["id"].tolist() == measured["id"].tolist() == ["ok", "grey"]
    assert measured[["size", "type"]].to_numpy().tolist() == [["10x12", "uint16"], ["10x12", "float32, uint16"]]
    assert table.offered == 8
    reasons = dict(zip(table.rejected["id"], table.rejected["reason"] + ": " + table.rejected["detail"], strict=True))
    assert {name: reason.split(":")[0] for name, reason in reasons.items()} == {
        "stack": "unreadable",
        "sizes": "sizes_differ",
        "text": "unreadable",
        "nan": "not_finite",
        "box": "unreadable",
        "page": "unreadable",
    }
    assert "10x12, 5x5" in reasons["sizes"] and "stack of 3 planes" in reasons["stack"]
    assert "box outside the 10x12" in reasons["box"] and "no page 3" in reasons["page"]
    assert table.rejected["file"].tolist()[1:3] == ["dna.tif", "text.tif"]
    with pytest.raises(MetadataError, match=r"Only 2 of 8 samples can be used: stack\.tif"):
        check_pixels(offered, strict=True)


def test_an_image_that_ends_its_process_or_takes_too_much_is_a_rejected_row(tmp_path, monkeypatch):
    names = ["a.png", "dies.png", "b.png", "hangs.png", "large.png"]
    for name in names:
        Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / name)
    monkeypatch.setattr(reader_module, "_planes", at_fault.planes)
    limits = ImageLimits(seconds=1, memory_bytes=2**30)
    monkeypatch.setattr(reader_module, "Isolated", partial(Isolated, limits=limits))
    table, measured = check_pixels(read_image_table(tmp_path), workers=2)
    assert measured["id"].tolist() == ["a.png", "b.png"]
    assert table.rejected[["file", "reason", "detail"]].to_numpy().tolist() == [
        ["dies.png", "unreadable", "the process that read it died, twice"],
        ["hangs.png", "too_slow", "more than 1 seconds of processor time"],
        ["large.png", "too_much_memory", "more than 1 GiB of memory"],
    ]


def first_pixels(reader, places):
    return [float(plane[0, 1]) for plane in reader.planes(places)]


def test_a_reader_works_in_other_processes(mixed, tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for path in mixed.iterdir():
            archive.write(path, path.name)
    for source in (mixed, tmp_path / "z.zip"):
        table = read_image_table(source)
        table.read(0)  # opened here first: a handle must not travel
        places = table.rows[table.files].iloc[0].tolist()
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            assert pool.submit(first_pixels, table.reader, places).result() == [50, 52]
        assert pickle.loads(pickle.dumps(table)).rows.equals(table.rows)


def test_montage_rows_are_labels_and_tiles_are_samples(tmp_path):
    for label, count in (("many", 5), ("few", 2)):
        (tmp_path / "x" / label).mkdir(parents=True)
        for number in range(count):
            half = np.zeros((8, 8), np.uint8)
            half[:, 4:] = 10 + number
            Image.fromarray(half).save(tmp_path / "x" / label / f"{number}.png")
    picture = montage(read_image_table(tmp_path / "x"), tiles=3)
    step = TILE + GAP
    assert picture.size == (NAME_WIDTH + 3 * step + GAP, 2 * step + GAP)
    pixels = np.asarray(picture.convert("L"))
    for row, shown in ((0, 3), (1, 2)):  # `many` first; dark left half, bright right half
        for column in range(3):
            left, top = NAME_WIDTH + column * step, GAP + row * step
            tile = pixels[top : top + TILE, left : left + TILE]
            assert (tile[:, 2].max() == 0 and tile[:, -2].min() == 255) == (column < shown)


def test_montage_of_samples_without_labels_has_a_row_per_sample_of_many_channels(mixed):
    table, _ = check_pixels(read_image_table(mixed))
    picture = montage(table, tiles=2)
    assert picture.size == (NAME_WIDTH + 2 * (TILE + GAP) + GAP, 2 * (TILE + GAP) + GAP)
    file = io.BytesIO()
    picture.save(file, "PNG")
