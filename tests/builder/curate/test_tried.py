"""The tables of all chunks are joined with the rows they are about."""

import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cytoimagenet.builder.curate import chunk
from cytoimagenet.builder.curate.chunk import ChunkResult
from cytoimagenet.builder.curate.plan import Plan
from cytoimagenet.builder.curate.tried import gather

from tests.builder.curate.tried_by_hand import selection_of, table_of, tried_of

ROWS = [("a-0", "actin", "A"), ("a-1", "actin", "BC"), ("b-0", "lamin", "D"), ("b-1", "lamin", "EF")]


def write_chunk(folder, name, table):
    (folder / chunk.FOLDER).mkdir(exist_ok=True)
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    with zipfile.ZipFile(folder / chunk.FOLDER / name, "w") as archive:
        archive.writestr(chunk.TABLE, buffer.getvalue().to_pybytes())


def test_every_image_finds_its_row_class_and_chunk(tmp_path):
    plan = Plan(selection_of(ROWS), np.array([3, 0, 1, 2]), np.ones(4, np.int8))  # row 3 is processed first
    write_chunk(tmp_path, "x.zip", table_of([(0, "E"), (1, "F"), (0, "A")], row=[0, 0, 1]))
    write_chunk(tmp_path, "y.zip", table_of([(0, "B"), (1, "C"), (0, "D")], row=[0, 0, 1]))
    tried = gather(plan, [ChunkResult("x.zip", 2, 0), ChunkResult("y.zip", 2, 0)], str(tmp_path))
    assert [digest[:1] for digest in tried.table["sha256"].to_pylist()] == [b"E", b"F", b"A", b"B", b"C", b"D"]
    assert tried.row.tolist() == [3, 3, 0, 1, 1, 2]
    assert tried.chunk.tolist() == [0, 0, 0, 1, 1, 1]
    assert tried.number.tolist() == [0, 1, 0, 0, 1, 0]
    assert tried.classes == ["actin", "lamin"] and tried.class_of_row.tolist() == [0, 0, 1, 1]
    assert tried.class_of_image.tolist() == [1, 1, 0, 0, 0, 1]


def test_images_are_named_by_source_file_by_the_file_at_fault_and_by_box():
    rows = [("a-0", "actin", "AB", "a.tif|b.tif"), ("a-1", "actin", "xC", "c.tif#page=2|d.tif")]
    boxes = {"crop": [False, True, False, True], "x_min": [0, 10, 0, 1], "x_max": [100, 30, 100, 4],
             "y_min": [0, 20, 0, 2], "y_max": [100, 50, 100, 6], "file": ["", "", "d.tif", ""]}  # fmt: skip
    tried = tried_of(*rows, **boxes)
    assert tried.files(np.array([3, 0, 1, 2])) == [
        "c.tif#page=2&xywh=1,2,3,4",
        "a.tif",
        "a.tif#xywh=10,20,20,30",
        "d.tif",
    ]
