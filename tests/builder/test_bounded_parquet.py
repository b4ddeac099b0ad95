"""Parquet files that claim much, or contain what is no text: refused before they are in memory."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import bounded_parquet, schema
from cytoimagenet.builder.bounded_parquet import BoundedParquet
from cytoimagenet.builder.errors import SchemaError
from cytoimagenet.eval.tables.feature_table import read_table

from tests import memory

MEMORY = 500 * 2**20


def written(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd", **options)
    return file


def repeated(text, rows):
    """A column with one text in every row, stored once."""
    indices = pa.array(np.zeros(rows, np.int32))
    return pa.table({"label": pa.DictionaryArray.from_arrays(indices, pa.array([text]))})


@pytest.mark.parametrize("column", ["text", "number"])
def test_a_billion_rows_in_a_few_bytes(column, monkeypatch):
    rows = 2_000_000
    monkeypatch.setattr(bounded_parquet, "ALWAYS_ALLOWED_BYTES", 8 * 2**20)
    table = repeated("a", rows) if column == "text" else pa.table({"n": pa.array(np.zeros(rows, np.int64))})
    file = written(table)
    assert len(file.getvalue()) < 20_000
    with pytest.raises(SchemaError, match="2,000,000 rows would take 16,000,000 bytes of memory"):
        BoundedParquet(file, "t.parquet")


def test_one_long_text_in_every_row():
    file = written(repeated("x" * 2**20, 100_000))
    assert len(file.getvalue()) < 10_000
    with memory.at_most(MEMORY):
        table = BoundedParquet(file, "t.parquet")
        with pytest.raises(SchemaError, match=r"its texts would take 104,858,\d+,\d+ bytes") as raised:
            table.read()
    assert raised.value.where == "t.parquet"


def test_pages_that_unpack_to_gigabytes(monkeypatch):
    monkeypatch.setattr(bounded_parquet, "ALWAYS_ALLOWED_BYTES", 2**24)
    texts = pa.table({"label": pa.array(["x" * 2**21] * 16)})
    file = written(texts, use_dictionary=False)
    with pytest.raises(SchemaError, match="its columns would take 33,"):
        BoundedParquet(file, "t.parquet")


def test_images_stored_as_a_dictionary():
    image = pa.array(
        [{"bytes": b"x" * 1000, "path": "p"}] * 50, pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    with pytest.raises(SchemaError, match="a dictionary of images"):
        BoundedParquet(written(pa.table({"image": image})), "t.parquet")
    table = BoundedParquet(written(pa.table({"image": image}), use_dictionary=False), "t.parquet").read()
    assert table["image"].to_pylist() == image.to_pylist()


def test_what_is_no_text_or_no_parquet():
    bytes_ = pa.array([b"\xff"]).cast(pa.binary())
    invalid = pa.Array.from_buffers(pa.string(), 1, bytes_.buffers())
    with pytest.raises(SchemaError, match="UTF"):
        BoundedParquet(written(pa.table({"label": invalid})), "t.parquet").read()
    for content in (b"", b"PAR1", b"PAR1" + b"\xff" * 100 + b"PAR1"):
        with pytest.raises(SchemaError, match="Not a readable Parquet file"):
            BoundedParquet(io.BytesIO(content), "t.parquet")


@pytest.mark.parametrize("dictionary", [True, False, ["a"]])
def test_ordinary_tables_are_read_as_they_are(dictionary, rng):
    table = pa.table(
        {
            "a": [f"text {n}" for n in rng.integers(0, 5, 1000)],
            "b": [f"µ {n}" for n in range(1000)],
            "n": rng.integers(0, 9, 1000),
            "x": rng.random(1000),
            "empty": [""] * 1000,
        }
    )
    file = written(table, use_dictionary=dictionary, row_group_size=300)
    bounded = BoundedParquet(file, "t.parquet")
    assert (bounded.rows, bounded.row_groups) == (1000, 4)
    assert bounded.schema.equals(table.schema)
    assert bounded.read().equals(table)
    assert bounded.read(["b", "n"], 3).equals(table.select(["b", "n"]).slice(900))
    kept = bounded.read(only=("a", ["text 1", "text 3", "other"]))
    assert kept["b"].to_pylist() == [
        b for a, b in zip(*(table[c].to_pylist() for c in "ab"), strict=True) if a[-1] in "13"
    ]


def test_a_table_between_stages_has_no_nulls(tmp_path):
    frame = pa.table(
        {"index": [0, None], "label": ["a", "b"], "category": ["c", "c"], "train": [1, 2], "validation": [0, 0]}
    )
    pq.write_table(frame, tmp_path / "classes.parquet")
    with pytest.raises(SchemaError, match="Column 'index' has 1 nulls"):
        schema.read(tmp_path / "classes.parquet", schema.CLASSES)


def test_tables_of_features_have_the_same_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_parquet, "ALWAYS_ALLOWED_BYTES", 2**20)
    pq.write_table(pa.table({"f": np.zeros(10**6), "id": ["a"] * 10**6}), tmp_path / "t.parquet")
    with pytest.raises(Exception, match="1,000,000 rows would take 16,000,000 bytes"):
        read_table(tmp_path / "t.parquet")
