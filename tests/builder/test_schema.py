"""Tables between stages: wrong columns are named, damage is found, and every writer is the same one."""

import re
from pathlib import Path

import cytoimagenet
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.errors import SchemaError

PACKAGE = Path(cytoimagenet.__file__).parent / "builder"


@pytest.fixture
def rejected():
    return pd.DataFrame({name: [f"{name} {n}" for n in range(40)] for name in schema.REJECTED.names})


def test_a_table_comes_back_and_equal_tables_are_equal_bytes(rejected, tmp_path):
    for name in ("a", "b"):
        schema.write(rejected, tmp_path / name, schema.REJECTED)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    pd.testing.assert_frame_equal(schema.read(tmp_path / "a", schema.REJECTED), rejected, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.drop(columns="reason"), "absent: reason"),
        (lambda t: t.assign(more=1), "unknown: more"),
        (lambda t: t.assign(reason=[*t["reason"][1:], None]), "'reason' has 1 nulls"),
        (lambda t: t.assign(reason=3.5), "'reason' is not string"),
    ],
)
def test_a_wrong_table_is_refused_by_name(rejected, tmp_path, change, named):
    with pytest.raises(SchemaError, match=named):
        schema.write(change(rejected), tmp_path / "a", schema.REJECTED)
    assert not (tmp_path / "a").exists()


def test_a_changed_byte_never_gives_other_values(rejected, tmp_path):
    path = tmp_path / "a"
    schema.write(rejected, path, schema.REJECTED)
    whole = path.read_bytes()
    found = 0
    for at in range(4, len(whole) - 2_500, 7):  # the pages; behind them comes the description of the file
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        try:
            pd.testing.assert_frame_equal(schema.read(path, schema.REJECTED), rejected, check_dtype=False)
        except SchemaError:
            found += 1
    assert found > 50


def test_wrong_remarks_to_pandas_in_a_table_change_nothing(rejected, tmp_path):
    schema.write(rejected, path := tmp_path / "t.parquet", schema.REJECTED)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"pandas": "{}"}), path, write_page_checksum=True)
    pd.testing.assert_frame_equal(schema.read(path, schema.REJECTED), rejected, check_dtype=False)


def test_all_tables_are_written_with_checksums():
    """Exceptions: the Parquet shards, which ask for them too, and a table inside a zip, which has its own."""
    direct = re.compile(r"pq\.(ParquetWriter|write_table)\(")
    files = {str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if direct.search(p.read_text())}
    assert files == {"schema.py", "shards/format.py", "curate/chunk.py"}
