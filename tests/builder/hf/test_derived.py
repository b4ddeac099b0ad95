"""The configs of `load_dataset` that read what `embed` and `audit` add to a folder."""

from __future__ import annotations

import shutil

import datasets
import numpy as np
import pandas as pd
import pytest
from cytoimagenet import load_dataset
from cytoimagenet.builder.dataset import embeddings, quality
from cytoimagenet.builder.dataset.manifest import Manifest, record_derived
from cytoimagenet.builder.dataset.names import QUALITY
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.schema import write


def add_audit(folder, flagged):
    """Write a table of an audit that flags every `flagged`th image as an outlier."""
    manifest = Manifest.load(folder)
    keys = manifest.metadata(["key"])["key"]
    table = pd.DataFrame({"key": keys, "duplicate_group": -1})
    for column in quality.COLUMNS.names[2:]:
        table[column] = "" if quality.COLUMNS.field(column).type == "string" else 0.0
    table.loc[::flagged, "flags"] = "duplicate_across_classes|outlier"
    table.loc[1::flagged, "flags"] = "duplicate_across_classes"  # such an image stays
    write(table, folder / QUALITY, quality.COLUMNS)
    record_derived(folder, QUALITY, rows=len(table), settings={"dataset": manifest.digest, "summary": {}})


def add_embeddings(folder, model, dimensions):
    import json

    import pyarrow.parquet as pq

    manifest = Manifest.load(folder)
    rows = manifest.metadata(["key", "sha256"])
    vectors = np.random.default_rng(0).normal(size=(len(rows), dimensions)).astype(np.float16)
    import pyarrow as pa

    table = embeddings.table(pa.array(rows["key"], pa.string()), pa.array(rows["sha256"], pa.string()), vectors)
    settings = {"dataset": manifest.digest, "dimensions": dimensions}
    path = folder / embeddings.path_of(model)
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table.replace_schema_metadata({embeddings.SETTINGS: json.dumps(settings)}), path)
    record_derived(folder, embeddings.path_of(model), rows=len(rows), settings=settings)
    return vectors


@pytest.fixture
def folder(small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    return tmp_path / "cytoimagenet"


def test_the_clean_part(folder):
    rows = Manifest.load(folder).metadata()
    with pytest.raises(UsageError, match="was not audited"):
        load_dataset("clean", data_dir=folder)
    add_audit(folder, 4)
    clean = np.arange(len(rows)) % 4 != 0
    loaded = load_dataset("clean", data_dir=folder)
    for split, part in loaded.items():
        expected = set(rows.loc[clean & (rows["split"] == split), "key"])
        assert set(part["key"]) == expected
        assert len(part) == len(expected)
    streamed = load_dataset("clean", data_dir=folder, split="validation", streaming=True)
    assert [one["key"] for one in streamed] == loaded["validation"]["key"][:]
    some = load_dataset("clean", data_dir=folder, labels=["actin"], split="train")
    assert set(some["key"]) == set(rows.loc[clean & (rows["split"] == "train") & (rows["label"] == "actin"), "key"])


def test_a_new_audit_is_not_read_from_the_cache_of_the_former(folder):
    add_audit(folder, 4)
    before = load_dataset("clean", data_dir=folder, split="train")
    add_audit(folder, 2)
    assert len(load_dataset("clean", data_dir=folder, split="train")) < len(before)


def test_embeddings(folder):
    rows = Manifest.load(folder).metadata()
    with pytest.raises(UsageError, match="no embeddings"):
        load_dataset("embeddings", data_dir=folder)
    vectors = add_embeddings(folder, "first", 6)
    loaded = load_dataset("embeddings", data_dir=folder)
    for split, part in loaded.items():
        here = (rows["split"] == split).to_numpy()
        assert part["key"][:] == rows.loc[here, "key"].tolist()
        assert part.features["label"].int2str(part["label"][:]) == rows.loc[here, "label"].tolist()
        assert np.array_equal(np.array(part["vector"][:], np.float16), vectors[here])
        streamed = list(load_dataset("embeddings", data_dir=folder, split=split, streaming=True))
        assert [one["key"] for one in streamed] == part["key"][:]
        assert [one["label"] for one in streamed] == part["label"][:]
        assert np.array_equal(np.array([one["vector"] for one in streamed], np.float16), vectors[here])
    add_embeddings(folder, "second", 3)
    with pytest.raises(UsageError, match="several models"):
        load_dataset("embeddings", data_dir=folder)
    second = load_dataset("embeddings", data_dir=folder, model="second", labels=["hela"], split="train")
    assert {len(vector) for vector in second["vector"]} == {3}
    assert len(second) == ((rows["split"] == "train") & (rows["label"] == "hela")).sum()
    with pytest.raises(UsageError, match="has no model"):
        load_dataset("default", data_dir=folder, model="second")


def test_vectors_are_copied_as_tables(folder, monkeypatch):
    # as a list of Python numbers each vector of 1,280 values took more than a millisecond
    vectors = add_embeddings(folder, "first", 6)
    monkeypatch.setattr(datasets.Features, "encode_example", lambda *_: pytest.fail("a row was encoded by itself"))
    part = load_dataset("embeddings", data_dir=folder, split="train", labels=["actin"])
    rows = Manifest.load(folder).metadata(["split", "label"])
    here = (rows["split"] == "train") & (rows["label"] == "actin")
    assert np.array_equal(part.with_format("numpy")["vector"][:], vectors[here])
    assert str(part.data.schema.field("vector").type) == "fixed_size_list<item: halffloat>[6]"


def test_through_load_dataset_of_datasets(folder):
    import cytoimagenet  # noqa: F401 -- installs the name

    add_embeddings(folder, "first", 6)
    add_audit(folder, 4)
    assert datasets.load_dataset("cytoimagenet", "embeddings", data_dir=str(folder))["train"].column_names == [
        "key",
        "label",
        "vector",
    ]
    assert "image" in datasets.load_dataset("cytoimagenet", "clean", data_dir=str(folder))["train"].column_names


def test_which_files_a_pull_fetches(folder):
    from cytoimagenet.builder.hf.pull import _files, _files_to_fetch

    add_embeddings(folder, "first", 6)
    add_embeddings(folder, "second", 3)
    add_audit(folder, 4)
    manifest = Manifest.load(folder)
    names = {"quality.parquet", "embeddings/first.parquet", "embeddings/second.parquet"}
    assert names <= set(_files(manifest))

    def fetched(splits=(), include=()):
        found = set(_files_to_fetch(manifest, splits, include))
        assert {"quality.parquet", "metadata.parquet", "README.md"} <= found
        return {name for name in found if name.startswith(("data/", "embeddings/"))}

    shards = {name for name in manifest.files if name.startswith("data/")}
    assert fetched() == shards | {"embeddings/first.parquet", "embeddings/second.parquet"}
    assert fetched(include=["embeddings/f*"]) == {"embeddings/first.parquet"}
    assert fetched(splits=["validation"]) == {name for name in shards if "validation" in name}
    assert fetched(splits=["validation"], include=["embeddings/*"]) == fetched(splits=["validation"]) | {
        "embeddings/first.parquet",
        "embeddings/second.parquet",
    }
    with pytest.raises(UsageError, match="No embedding matches"):
        fetched(include=["embeddings/third*"])
