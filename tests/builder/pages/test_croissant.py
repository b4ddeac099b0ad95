"""croissant.json is accepted by mlcroissant, which reads the rows with it."""

import json
import logging

import pandas as pd
import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages import croissant
from cytoimagenet.builder.pages.responsible_ai import responsible_ai
from cytoimagenet.builder.shards.write import write_dataset


@pytest.fixture(scope="module")
def read(small_dataset):
    import mlcroissant

    return mlcroissant.Dataset(jsonld=str(small_dataset / "croissant.json"))


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_its_own_library_finds_nothing_wrong(form, small_curated, small_dataset, tmp_path, caplog):
    import mlcroissant

    folder = small_dataset if form == "webdataset" else tmp_path / "parquet"
    if form == "parquet":
        write_dataset(small_curated, folder, format="parquet")
    with caplog.at_level(logging.WARNING):
        metadata = mlcroissant.Dataset(jsonld=str(folder / "croissant.json")).metadata
    assert not metadata.issues.errors and not metadata.issues.warnings
    assert not [record.getMessage() for record in caplog.records], "the context is the standard one"
    assert metadata.ctx.conforms_to.value == "http://mlcommons.org/croissant/1.1"
    assert {record.id for record in metadata.record_sets} == {"images", "classes"}


RESPONSIBLE_AI = (
    # attribute of mlcroissant, which reads the property `rai:...` into it
    *("data_collection", "data_collection_type", "data_collection_missing_data", "data_collection_raw_data"),
    *("data_preprocessing_protocol", "data_annotation_protocol", "annotations_per_item", "machine_annotation_tools"),
    *("data_biases", "data_use_cases", "data_limitations", "data_social_impact", "personal_sensitive_information"),
    "data_release_maintenance_plan",
)


def test_every_responsible_ai_property_is_read(read, small_dataset):
    assert all(getattr(read.metadata, name) for name in RESPONSIBLE_AI)
    written = json.loads((small_dataset / "croissant.json").read_text())
    assert sum(name.startswith("rai:") for name in written) == len(RESPONSIBLE_AI), "a name that nobody reads"
    assert "100 % come from made up" in read.metadata.data_biases[0]
    assert "5 of 5 classes have fewer than 100" in read.metadata.data_biases[2]
    assert "of 1 publisher, from 1 source." in read.metadata.data_collection


@pytest.mark.parametrize(
    ("settings", "part", "absent"),
    [
        ({}, "quadrant", "Crops of one source image"),
        ({"imported": "x"}, "PNG bytes are unchanged", "quadrant"),
        ({"split": "published"}, "Crops of one source image are in train and in validation", "PNG bytes"),
    ],
)
def test_the_properties_are_those_of_this_folder(settings, part, absent, small_dataset):
    written = Manifest.load(small_dataset)
    text = json.dumps(responsible_ai(Manifest(written.root, {**written.data, "settings": settings})))
    assert part in text and absent not in text


def test_the_facts_that_the_specification_requires(read):
    assert read.metadata.date_published.isoformat().startswith("2021-11-23")
    assert len(read.metadata.creators) == 3
    assert read.metadata.license[0].url == "LICENSE.md"
    assert read.metadata.same_as == ["https://doi.org/10.48550/arXiv.2111.11646"]


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
    assert set(Manifest.load(small_dataset).pages) == {"README.md", "croissant.json", "preview.png", "LICENSE.md"}
