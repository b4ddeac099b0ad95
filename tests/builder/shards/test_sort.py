"""Rows sorted by shard, batch by batch: the same as sorting all of them at once."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.shards import sort
from cytoimagenet.builder.shards.plan import ShardPlan


@pytest.fixture
def rows(small_curated):
    return schema.read(small_curated / "rows.parquet", schema.CURATED).head(40)


@pytest.mark.parametrize(("batch", "files"), [(65_536, 256), (7, 256), (4, 3), (8, 2)])
def test_every_shard_gets_its_rows_in_the_planned_order(batch, files, rows, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(sort, "ROWS_PER_BATCH", batch)
    monkeypatch.setattr(sort, "MAX_OPEN_FILES", files)
    pq.write_table(schema.check(rows, schema.CURATED), tmp_path / "rows.parquet", row_group_size=11)
    # 40 rows in shards 0 to 4 of eight rows; rows 0 to 9 are in shard 5 as well
    order = rng.permutation(40)
    again = rng.permutation(10)
    row = np.concatenate([order, again])
    shard = np.concatenate([np.repeat(np.arange(5), 8), np.full(10, 5)])
    position = np.concatenate([np.tile(np.arange(8), 5), np.arange(10)])
    by_row = np.argsort(row, kind="stable")
    keys = [f"key-{i}" for i in range(40)]
    plan = ShardPlan(keys, pd.DataFrame(), [str(i) for i in range(6)], ["train"] * 5 + ["sample"], row[by_row],
                     shard[by_row], position[by_row])  # fmt: skip
    with sort.sorting_folder(str(tmp_path / "unfinished")) as folder:
        groups = sort.sort_rows(str(tmp_path / "rows.parquet"), plan, folder)
        assert len(set(groups)) <= files + 1
        for number, expected in enumerate([*order.reshape(5, 8), again]):
            table = sort.rows_of_shard(groups[number], number)
            assert table.column_names == [*schema.CURATED.names, "key"]
            assert table["key"].to_pylist() == [keys[i] for i in expected]
            assert table["filename"].to_pylist() == rows["filename"].iloc[expected].tolist()
            assert table["store_offset"].to_pylist() == rows["store_offset"].iloc[expected].tolist()
    assert not folder.exists()


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "unfinished" / "sorted").mkdir(parents=True)
    (tmp_path / "unfinished" / "sorted" / "0.arrow").write_bytes(b"half a file")
    with sort.sorting_folder(str(tmp_path / "unfinished")) as folder:
        assert folder.parent == tmp_path / "unfinished" and list(folder.iterdir()) == []
    with sort.sorting_folder("memory://somewhere") as folder:
        assert folder.is_dir() and "somewhere" not in str(folder)
    assert not folder.exists()
