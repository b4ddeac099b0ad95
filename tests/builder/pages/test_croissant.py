"""croissant.json is accepted by mlcroissant, which reads the rows with it."""

import json

import pandas as pd
import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages import croissant


@pytest.fixture(scope="module")
def read(small_dataset):
    import mlcroissant

    return mlcroissant.Dataset(jsonld=str(small_dataset / "croissant.json"))


def test_its_own_library_finds_nothing_wrong(read):
    assert not read.metadata.issues.errors
    assert {record.id for record in read.metadata.record_sets} == {"images", "classes"}


def test_the_rows_can_be_read_by_it(read, small_dataset):
    rows = pd.DataFrame(read.records("classes"))
    manifest = Manifest.load(small_dataset)
    labels = [str(value, "utf-8") if isinstance(value, bytes) else value for value in rows["classes/label"]]
    assert labels == list(manifest.class_names)


def test_files_and_hashes_are_those_of_the_manifest(small_dataset):
    manifest = Manifest.load(small_dataset)
    described = json.loads((small_dataset / "croissant.json").read_text())
    files = {f["@id"]: f["sha256"] for f in described["distribution"] if f["@type"] == "cr:FileObject"}
    assert files == {name: entry["sha256"] for name, entry in manifest.files.items() if name != "rejected.parquet"}
    assert described == croissant.describe(manifest)


def test_the_preview_is_there(small_dataset):
    from PIL import Image

    with Image.open(small_dataset / "preview.png") as picture:
        assert picture.width > 500
    assert set(Manifest.load(small_dataset).pages) == {"README.md", "croissant.json", "preview.png"}
