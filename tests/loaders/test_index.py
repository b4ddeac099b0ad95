"""The index of a split: its arrays, restrictions to part of the dataset, and the former name of `database`."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from cytoimagenet import MapDataset, read_images, stream
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, SchemaError, UsageError
from cytoimagenet.loaders.index import Index, database_argument, read_index


@pytest.fixture(scope="module")
def two_databases(small_dataset, tmp_path_factory):
    """A copy of the small dataset in which every third row is of the database `Other`."""
    folder = tmp_path_factory.mktemp("databases") / "cytoimagenet"
    shutil.copytree(small_dataset, folder)
    table = pd.read_parquet(folder / "metadata.parquet")
    table["database"] = np.where(np.arange(len(table)) % 3 == 0, "Other", table["database"])
    table.to_parquet(folder / "metadata.parquet", index=False)
    return folder


def test_arrays_agree_with_the_table(small_dataset):
    table = Manifest.load(small_dataset).metadata()
    index = read_index(small_dataset, "validation")
    rows = table[table["split"] == "validation"]
    assert index.row.tolist() == rows.index.tolist()
    assert index.offset.tolist() == rows["offset"].tolist()
    assert index.size.tolist() == rows["size"].tolist()
    assert [index.shards[shard] for shard in index.shard] == rows["shard"].tolist()
    assert [index.class_names[label] for label in index.label] == rows["label"].tolist()
    assert (index.total, len(index)) == (300, 30)


def test_the_bytes_at_an_offset_are_a_png(small_dataset):
    index = read_index(small_dataset)
    shard = (small_dataset / index.shards[index.shard[7]]).read_bytes()
    png = shard[index.offset[7] : index.offset[7] + index.size[7]]
    assert png.startswith(b"\x89PNG")
    assert png.endswith(b"IEND\xaeB`\x82")


def test_where_contains_shard_size_and_offset():
    one = np.array([1])
    index = Index("/data", "", "train", ("a",), ("x",), ("data/0.tar", "data/1.tar"), one, one * 512, one * 99, one - 1,
                  one - 1, 1)  # fmt: skip
    assert index.where(0) == "/data/data/1.tar, 99 bytes from 512"


def test_only_images_of_a_database_are_kept(two_databases):
    table = pd.read_parquet(two_databases / "metadata.parquet", columns=["database", "split"])
    expected = np.flatnonzero((table["database"] == "Other") & (table["split"] == "train"))
    assert 0 < len(expected) < 270
    assert read_index(two_databases, database="Other").row.tolist() == expected.tolist()


def test_an_unknown_database_is_refused_with_the_known_ones(two_databases):
    with pytest.raises(UsageError, match=r"No database 'bbbc013' in this dataset\nThere are: Other, made up"):
        read_index(two_databases, database="bbbc013")


@pytest.mark.parametrize("read", [stream, MapDataset])
def test_the_former_argument_source_still_works_with_a_warning(two_databases, read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = read(two_databases, size=16, database="Other")
    with pytest.warns(DeprecationWarning, match="`source` is now called `database`") as caught:
        found = read(two_databases, size=16, source="Other")
    assert caught[0].filename == __file__, "the warning points to the caller"
    assert found.reader.index.row.tolist() == expected.reader.index.row.tolist()


def test_database_and_source_together_are_refused():
    assert database_argument("Kaggle", None) == "Kaggle"
    assert database_argument(None, None) is None
    with pytest.raises(UsageError, match="former name"):
        database_argument("Kaggle", "Kaggle")


def test_restrictions_without_a_common_image_are_refused(two_databases):
    table = pd.read_parquet(two_databases / "metadata.parquet")
    category = table.loc[table["label"] == "actin", "category"].iloc[0]
    other = next(entry["label"] for entry in Manifest.load(two_databases).classes if entry["category"] != category)
    with pytest.raises(UsageError, match="No train image is left"):
        read_index(two_databases, category=category, labels=[other])


def test_a_table_that_disagrees_with_the_manifest_is_refused(small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    table = pd.read_parquet(tmp_path / "cytoimagenet" / "metadata.parquet")
    table.iloc[1:].to_parquet(tmp_path / "cytoimagenet" / "metadata.parquet", index=False)
    with pytest.raises(CheckFailedError, match="images, the manifest"):
        for split in ("train", "validation"):
            read_index(tmp_path / "cytoimagenet", split)


@pytest.fixture
def misplaced(small_dataset, tmp_path):
    """Return a function that changes one place in a copy of the dataset, in a row of `train`."""

    def change(column, value):
        folder = tmp_path / "cytoimagenet"
        shutil.copytree(small_dataset, folder)
        table = pd.read_parquet(folder / "metadata.parquet")
        row = int(np.flatnonzero(table["split"] == "train")[3])
        table.loc[row, column] = value
        table.to_parquet(folder / "metadata.parquet", index=False)
        return folder, table.iloc[row : row + 1]

    return change


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", -1), ("offset", 10**12), ("offset", 2**63 - 1), ("size", 0), ("size", -5), ("size", 3 * 10**9)],
)
def test_a_place_outside_its_shard_is_refused_by_every_reader(misplaced, column, value):
    folder, rows = misplaced(column, value)
    for read in (read_index, MapDataset, stream):
        with pytest.raises(CheckFailedError, match=r"metadata\.parquet names [-\d,]+ bytes from [-\d,]+ of a shard of"):
            read(folder)
    with pytest.raises(CheckFailedError, match=r"No image has|No readable PNG"):
        read_images(rows, folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shard": "data/\0.tar"}, "names no file"),
        ({"shard": None}, "names no file"),
        ({"shard": ""}, "names no file"),
        ({"shard": "data"}, "points to a folder"),
        ({"shard": "../x.tar"}, "points outside its folder"),
        ({"offset": np.nan}, "has no place"),
        ({"size": None}, "has no place"),
    ],
)
def test_a_row_without_a_place_is_refused(small_dataset, change, reason):
    rows = Manifest.load(small_dataset).metadata().head(1).astype(object).assign(**change)
    with pytest.raises(CheckFailedError, match=reason):
        read_images(rows, small_dataset)


def test_an_absent_value_in_the_table_is_refused(misplaced):
    folder, _ = misplaced("shard", None)
    for read in (read_index, MapDataset, stream):
        with pytest.raises(SchemaError, match="Column 'shard' has 1 nulls"):
            read(folder)
