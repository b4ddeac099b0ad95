"""One chunk: any zip tool opens it, rows say where the PNGs are, and its name changes with what it depends on."""

import io
import os
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from cytoimagenet.builder.curate import chunk
from cytoimagenet.builder.curate.chunk import make_chunk, read_table
from cytoimagenet.builder.images.digest import pixel_digest
from cytoimagenet.builder.images.isolated import CRASHED
from cytoimagenet.builder.images.make import PixelSettings, SourceImage
from PIL import Image

from tests.builder.curate import curated_sources as made

ROWS = [SourceImage("a-0", "a.tif", 2), SourceImage("b-0", "b.tif|c.tif", 1), SourceImage("d-0", "d.tif", 4)]
PIXELS = PixelSettings(seed=0)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, name in enumerate("abc"):
        (folder / f"{name}.tif").write_bytes(made.tif(made.cells(number)))
    return folder


def test_a_chunk_is_a_zip_whose_pngs_are_where_its_table_says(raw, tmp_path):
    result = make_chunk(ROWS, str(raw), str(tmp_path), PIXELS)
    assert (result.rows, result.rejected) == (3, 1)
    path = tmp_path / chunk.FOLDER / result.name
    table = read_table(str(path)).to_pandas()
    assert table[["row", "number", "reason"]].values.tolist() == [
        [0, 0, ""], [0, 1, ""], [1, 0, ""], [2, 0, "missing_channel"]
    ]  # fmt: skip
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["0000-0.png", "0000-1.png", "0001-0.png", "tried.parquet"]
        for line in table[table["reason"] == ""].itertuples():
            png = content[line.offset : line.offset + line.size]
            assert png == archive.read(f"{line.row:04d}-{line.number}.png")
            pixels = np.asarray(Image.open(io.BytesIO(png)))
            assert pixels.shape == (line.height, line.width) and pixel_digest(pixels) == line.sha256.hex()


def test_a_finished_chunk_is_read_not_written_again(raw, tmp_path, monkeypatch):
    first = make_chunk(ROWS, str(raw), str(tmp_path), PIXELS)
    monkeypatch.setattr(chunk, "_write", None)
    assert make_chunk(ROWS, str(raw), str(tmp_path), PIXELS) == first


def test_a_source_file_newer_than_the_chunk_is_read_again(raw, tmp_path):
    name = make_chunk(ROWS, str(raw), str(tmp_path), PIXELS).name
    path = tmp_path / chunk.FOLDER / name
    before = path.read_bytes()
    replacement = made.tif(made.cells(9))
    assert len(replacement) == (raw / "a.tif").stat().st_size
    os.utime(path, (1e9, 1e9))  # the chunk is old now, whatever the clock's resolution
    (raw / "a.tif").write_bytes(replacement)
    assert make_chunk(ROWS, str(raw), str(tmp_path), PIXELS).name == name
    assert path.read_bytes() != before


def test_the_name_follows_rows_crops_settings_and_sizes(raw, tmp_path):
    def name(rows=ROWS, pixels=PIXELS):
        return make_chunk(rows, str(raw), str(tmp_path), pixels).name

    names = [name(), name(ROWS[:2]), name([ROWS[0]._replace(crops=1), *ROWS[1:]]), name(pixels=replace(PIXELS, seed=1)),
             name(pixels=replace(PIXELS, match_shapes=((5, 5),)))]  # fmt: skip
    (raw / "d.tif").write_bytes(made.tif(made.cells(3)))
    names.append(name())
    (raw / "d.tif").write_bytes((raw / "d.tif").read_bytes() + b"\0")
    names.append(name())
    assert len(set(names)) == len(names)


def test_images_that_end_their_process_are_rejected_unread(raw, tmp_path):
    result = make_chunk(ROWS, str(raw), str(tmp_path), PIXELS, unread={"a-0": CRASHED})
    table = read_table(str(tmp_path / chunk.FOLDER / result.name)).to_pandas()
    assert table.loc[table["row"] == 0, ["reason", "detail"]].values.tolist() == [
        ["unreadable", "the process that read it died, twice"]
    ]


def test_channels_of_a_requested_shape_are_digested_one_by_one(raw, tmp_path):
    result = make_chunk(ROWS, str(raw), str(tmp_path), replace(PIXELS, match_shapes=(made.SHAPE,)))
    digests = read_table(str(tmp_path / chunk.FOLDER / result.name))["channel_digests"].to_pylist()
    assert [len(digest.split("|")) if digest else 0 for digest in digests] == [1, 0, 2, 0]
