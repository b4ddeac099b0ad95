"""One shard made by hand, checked alone: what is reported of it, and every problem in its own words."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.names import FORMATS
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.shards import check as checks
from cytoimagenet.builder.shards.check import MAX_PROBLEMS, check_shard
from cytoimagenet.builder.shards.format import WRITERS, Tally, header

INDEX = {"actin": 0, "human": 1}
SPLITS = ("train", "validation", "train")


def row(number):
    text = {name: schema.empty(name) for name in schema.ROW.names} | {
        "label": "human" if number else "actin",
        "split": SPLITS[number],
    }
    numbers = {"crop": False, "scaling": 1.0, "x_min": 0, "x_max": 9, "y_min": 0, "y_max": 5, "width": 9, "height": 5}
    return {"key": f"k{number}", **text, **numbers, "idx": f"s-{number}", "channels": f"s/{number // 2}.tif#page=1"}


PNGS = [encode_png(np.full((5, 9), number, np.uint8)) for number in range(3)]


@pytest.fixture(params=["webdataset", "parquet"])
def made(request, tmp_path):
    """A shard of three images, its manifest and its rows of metadata.parquet."""
    form = request.param
    name = f"data/train-00000-of-00001.{FORMATS[form]}"
    file = io.BytesIO()
    tally = Tally(file)
    offsets = WRITERS[form](tally, [(row(i), PNGS[i]) for i in range(3)], INDEX)
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_bytes(file.getvalue())
    entry = {"rows": 3, "bytes": len(file.getvalue()), "sha256": hashlib.sha256(file.getvalue()).hexdigest()}
    classes = [{"label": label, "category": "gene", "train": 0, "validation": 0} for label in INDEX]
    manifest = Manifest(
        str(tmp_path),
        {"schema_version": schema.VERSION, "shard_format": form, "files": {name: entry}, "classes": classes},
    )
    rows = [row(i) | {"shard": name, "offset": offsets[i], "size": len(PNGS[i])} for i in range(3)]
    return manifest, name, rows


def check(made, rows=None):
    manifest, name, own = made
    return check_shard(manifest, name, pa.Table.from_pylist(own if rows is None else rows, schema=schema.METADATA))


def test_the_content_of_a_good_shard(made):
    manifest, name, rows = made
    for row_ in rows:
        row_["split"] = "train"
    checked = check(made)
    assert checked.bytes == manifest.files[name]["bytes"]
    assert len(np.unique(checked.keys)) == 3
    assert len(np.unique(checked.sources)) == 2, "a source image is its file, without the page"
    assert checked.counts == {("actin", "train"): 1, ("human", "validation"): 1, ("human", "train"): 1}
    # the second image is for validation, but metadata.parquet has train
    assert checked.problems == ["k1: metadata.parquet differs in split", "1 images belong to another split"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"gene": "tp53"}, "k0: metadata.parquet differs in gene"),
        ({"size": 3}, "k0: metadata.parquet differs in size"),
        ({"licence": "x", "stains": "y", "idx": "z", "path": "w"}, "k0: metadata.parquet differs in path, idx, stains"),
    ],
)
def test_a_row_that_differs(change, problem, made):
    rows = [made[2][0] | change, *made[2][1:]]
    assert problem in check(made, rows).problems


def test_an_offset_that_points_elsewhere(made):
    rows = [made[2][0] | {"offset": made[2][1]["offset"]}, *made[2][1:]]
    assert any("offset" in problem and problem.startswith("k0: ") for problem in check(made, rows).problems)


def test_another_number_of_rows(made):
    assert check(made, made[2][:2]).problems[0] == "3 images; metadata.parquet has 2"
    made[0].files[made[1]]["rows"] = 2
    assert any("2" in problem for problem in check(made).problems)


def test_the_hash_comes_first_and_problems_are_few(made, tmp_path):
    made[0].files[made[1]]["sha256"] = "0" * 64
    checked = check(made, [one | {"gene": "x", "idx": "y"} for one in made[2]])
    assert checked.problems[0] == "sha256 differs, the file was damaged or altered"
    assert len(checked.problems) <= MAX_PROBLEMS
    (tmp_path / made[1]).unlink()
    assert "can't be read" in check(made).problems[0]


def replaced(made, data):
    """Write other bytes in place of the shard, and record them in the manifest."""
    manifest, name, _ = made
    Path(manifest.root, name).write_bytes(data)
    manifest.files[name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return check(made)


@pytest.mark.parametrize("column", ["channels", "idx", "label"])
@pytest.mark.parametrize("made", ["webdataset"], indirect=True)
def test_half_a_character_in_a_row_is_a_problem(made, column):
    manifest, name, _ = made
    half = json.dumps(row(0) | {column: "a\ud800"}, separators=(",", ":")).encode()
    whole = json.dumps(row(0), separators=(",", ":")).encode()
    data = Path(manifest.root, name).read_bytes()
    start = data.index(whole) - tarfile.BLOCKSIZE
    padded = whole + bytes(-len(whole) % tarfile.BLOCKSIZE)
    member = header("k0.json", len(half)) + half + bytes(-len(half) % tarfile.BLOCKSIZE)
    problems = replaced(made, data[:start] + member + data[start + tarfile.BLOCKSIZE + len(padded) :]).problems
    assert problems[0] == f"k0.json: {column} is not text"


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("key", pa.array([None] * 3, pa.string()), "key is not of type str"),
        ("key", pa.array([1, 2, 3]), "key is not of type str"),
        ("split", pa.array([["train"]] * 3), "split is not of type str"),
        ("width", pa.array([9.0] * 3), "width is not of type int"),
        ("label", pa.array(["actin"] * 3), "differs in label"),
        ("label", pa.array([None] * 3, pa.int64()), "differs in label"),
        ("image", pa.array([None] * 3, pa.struct([("bytes", pa.binary())])), "has no bytes"),
        ("image", pa.array([b"x"] * 3), "has no bytes"),
        ("idx", pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff"] * 3).buffers()), "UTF"),
        ("gene", None, "no column gene"),
    ],
)
@pytest.mark.parametrize("made", ["parquet"], indirect=True)
def test_a_parquet_shard_with_other_types_is_a_problem(made, column, values, problem):
    manifest, name, _ = made
    table = pq.read_table(Path(manifest.root, name))
    at = table.column_names.index(column)
    table = table.remove_column(at) if values is None else table.set_column(at, column, values)
    file = io.BytesIO()
    pq.write_table(table, file, use_dictionary=False)
    problems = replaced(made, file.getvalue()).problems
    assert any(problem in one for one in problems), problems


def test_whatever_a_library_raises_is_a_problem_of_the_shard(made, monkeypatch):
    def fails(*_):
        raise ZeroDivisionError("inside a library")

    for reader in ("_check_tar", "_check_parquet"):
        monkeypatch.setattr(checks, reader, fails)
    assert check(made).problems == ["can't be read: ZeroDivisionError: inside a library"]
