"""A path that is no dataset folder: what it is, and what to do."""

from __future__ import annotations

import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import UsageError


def error(path):
    with pytest.raises(UsageError) as raised:
        Manifest.load(path)
    return raised.value


def test_a_folder_that_does_not_exist(tmp_path):
    (tmp_path / "cytoimagenet").mkdir()
    assert error(tmp_path / "nothing").what == "There is no such folder"
    assert error(tmp_path / "cytoimagnet").next == f"Did you mean {tmp_path / 'cytoimagenet'}?"
    assert error("C:\\data\\cytoimagenet").what == "There is no such folder"


def test_images_of_ones_own(tmp_path):
    (tmp_path / "actin").mkdir()
    (tmp_path / "actin" / "1.TIF").touch()
    for place in (tmp_path, tmp_path / "actin"):
        assert error(place).what == "This is a folder of images, not a dataset folder: it has no manifest.json"
        assert f"cytoimagenet features {place}" in error(place).next
    assert "This is a file, not a dataset folder" in error(tmp_path / "actin" / "1.TIF").what


def test_the_folder_above_a_dataset(small_dataset):
    assert error(small_dataset.parent).next == f"Name the folder {small_dataset}"


def test_an_unfinished_dataset(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "1.png").touch()
    assert error(tmp_path).what == "This is not a finished dataset folder: it has no manifest.json"
    assert "again to finish it" in error(tmp_path).next
