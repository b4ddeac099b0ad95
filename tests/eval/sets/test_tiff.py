"""TIFFs of one grey plane are read as stored; everything else is refused by name."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import tifffile
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.eval.sets import tiff
from cytoimagenet.eval.sets.shapes import common_shape
from cytoimagenet.eval.sets.tiff import read_plane, shape_of


@pytest.fixture
def written(tmp_path, rng):
    """Return a function that writes a TIFF, on disk or in a zip, and returns its locator."""

    def write(pixels, inside=False, **options):
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, pixels, **options)
        if not inside:
            return str(path)
        with zipfile.ZipFile(tmp_path / "plate.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(path, "plate/image.tif")
        return f"{tmp_path / 'plate.zip'}::plate/image.tif"

    return write


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"rowsperstrip": 3}])
def test_pixels_are_those_of_the_file(written, rng, inside, dtype, options):
    pixels = (rng.random((17, 23)) * 200).astype(dtype)
    locator = written(pixels, inside, photometric="minisblack", **options)
    found = read_plane(locator)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)
    assert shape_of(locator) == (17, 23)


@pytest.mark.parametrize("inside", [False, True])
def test_a_colour_image_is_refused(written, inside):
    locator = written(np.zeros((8, 9, 3), np.uint8), inside, photometric="rgb")
    for read in (read_plane, shape_of):
        with pytest.raises(UnreadableImageError, match="one grey plane expected") as caught:
            read(locator)
        assert caught.value.where == locator


def test_a_cut_file_is_refused_by_its_header(written, tmp_path):
    locator = written(np.ones((40, 40), np.uint16))
    content = (tmp_path / "image.tif").read_bytes()
    (tmp_path / "image.tif").write_bytes(content[:-100])
    for read in (read_plane, shape_of):
        with pytest.raises(UnreadableImageError):
            read(locator)


def test_nothing_above_the_bound_is_decoded(written, monkeypatch):
    locator = written(np.zeros((8193, 8193), np.uint8), compression="zlib", photometric="minisblack")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)  # must not be reached
    for read in (read_plane, shape_of):
        with pytest.raises(TooLargeError, match="8193 x 8193 pixels, at most 67,108,864 allowed"):
            read(locator)


def test_all_files_have_one_shape(tmp_path):
    for name, shape in (("a", (4, 5)), ("b", (4, 5)), ("c", (5, 4))):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.zeros(shape, np.uint8))
    paths = [str(tmp_path / f"{name}.tif") for name in "abc"]
    assert common_shape(paths[:2], "Checking") == (4, 5)
    with pytest.raises(UnreadableImageError, match="it is 5 x 4 pixels, the others 4 x 5") as caught:
        common_shape(paths, "Checking")
    assert caught.value.where == paths[2]


def test_files_of_a_zip_are_listed_without_folders(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.mkdir("plate")
        archive.writestr("plate/a.tif", b"x")
    assert [member.filename for member in tiff.zip_members(str(tmp_path / "a.zip"))] == ["plate/a.tif"]
