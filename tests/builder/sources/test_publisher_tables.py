"""Publishers' tables: every spelling gives the same table, every damage an error that names the line."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.simulate.bbbc import workbook
from cytoimagenet.builder.simulate.source import table
from cytoimagenet.builder.sources import publisher_tables as tables
from cytoimagenet.builder.sources.publisher_tables import read_table
from cytoimagenet.builder.text_tables import read_bounded
from hypothesis import given
from hypothesis import strategies as st

COLUMNS = {"plate": "Plate", "compound": ("Compound Name", "Compound")}
ROWS = [{"plate": "1", "compound": "(+)-taxol"}, {"plate": "2", "compound": 'a, "b"; [c]'}]
WANTED = {"plate": ["1", "2"], "compound": ["(+)-taxol", 'a, "b"; [c]']}


def read(tmp_path, data, name="t.csv", columns=COLUMNS, **how):
    path = tmp_path / name
    path.write_bytes(data)
    return read_table(path, columns, **how)


@pytest.fixture
def default_cell_bound():
    """Undo what other tests of this process set: the bound is global to Python's csv."""
    before = csv.field_size_limit(131_072)
    yield
    csv.field_size_limit(before)


def outcome(tmp_path, data, name, **how):
    try:
        frame = read(tmp_path, data, name, **how)
    except MetadataError as error:
        return "error that says where" if name in error.where else error
    return "table" if list(frame.columns) == list(COLUMNS) else frame


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"end": "\r\n"},
        {"end": "\r"},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"tail": ","},
        {"tail": ",,,"},
        {"packed": True},
        {"separator": "\t"},
        {"separator": ";"},
        {"separator": "\t", "end": "\r\n", "encoding": "utf-8-sig", "packed": True},
    ],
)
def test_every_spelling_is_read_alike(tmp_path, how):
    if how.get("separator"):
        how = {**how, "tail": ""}
    data = table(ROWS, {"Plate": "plate", "compound  NAME %% url=https://x/%s": "compound"}, **how)
    assert read(tmp_path, data).to_dict("list") == WANTED


def test_latin_1_is_read_where_it_is_no_utf_8(tmp_path):
    data = table(
        [{"plate": "1", "compound": "5 µM naïve"}], {"Plate": "plate", "Compound": "compound"}, encoding="latin-1"
    )
    assert read(tmp_path, data)["compound"].tolist() == ["5 µM naïve"]


def test_a_workbook_gives_whole_numbers_without_a_point(tmp_path):
    data = workbook([["Plate", "x", "Compound"], [1, 2.5, "Taxol"], [12.0, 0, "7"]])
    assert read(tmp_path, data, "t.xls").to_dict("list") == {"plate": ["1", "12"], "compound": ["Taxol", "7"]}


def test_empty_cells_are_empty_text_and_ends_are_trimmed(tmp_path):
    frame = read(tmp_path, b"Plate,Compound\n 1 ,\n,x\n\n2,nan\n")
    assert frame.to_dict("list") == {"plate": ["1", "", "2"], "compound": ["", "x", "nan"]}
    assert {str(kind) for kind in frame.dtypes} == {"str"}


def test_optional_columns_and_tables_without_a_header(tmp_path):
    frame = read(tmp_path, b"Plate,Compound\n1,x\n", optional={"gene": "Gene Symbol"})
    assert frame["gene"].tolist() == [""]
    bare = read(tmp_path, b"1\tx\n2\ty\n", "t.tsv", {"plate": "plate", "path": "path"}, header=False)
    assert bare.to_dict("list") == {"plate": ["1", "2"], "path": ["x", "y"]}


def test_columns_after_the_last_named_one_may_hold_text(tmp_path):
    assert read(tmp_path, b"Plate,Compound,,\n1,x,note,\n2,y\n")["compound"].tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (b"Plate,Compound\n1,x\n2\n", 3, "1 cells where 2"),
        (b"Plate,Compound\n1,x\n2,y,z\n", 3, "3 cells where 2"),
        (b"Plate,Kompound\n1,x\n", 1, "No column 'Compound Name' or 'Compound'; the header has Plate, Kompound"),
        (b"", 1, "the header has nothing"),
        (b'Plate,Compound\n1,"x\n2,y\n', 2, "unexpected end of data"),
        (b'Plate,Compound\n1,"x"y\n', 2, "expected after"),
        (b'Plate,Compound\n1,"two\nlines"\n3\n', 4, "1 cells where 2"),
        (b"Plate,Compound\r1,x\r2\r", 3, "1 cells where 2"),
        (b"Plate,Compound\n1," + b"x" * 200_000 + b"\n", 2, "field larger than"),
    ],
)
def test_damage_names_file_line_and_columns(tmp_path, data, line, said, default_cell_bound):
    with pytest.raises(MetadataError) as caught:
        read(tmp_path, data)
    assert caught.value.where == f"{tmp_path / 't.csv'}, line {line}"
    assert said in caught.value.what
    assert caught.value.next == "Expected columns: Plate, Compound Name or Compound"


def test_a_cell_that_must_fit_and_does_not_is_named(tmp_path):
    with pytest.raises(MetadataError, match="'x' is not a value") as caught:
        read(tmp_path, b"Plate,Compound\n1,a\nx,b\n", must={"plate": r"\d+"})
    assert caught.value.where.endswith("line 3")


def test_a_cut_off_table_keeps_its_good_lines(tmp_path):
    frame = read(tmp_path, b'Plate,Compound\n1,x\nbad\n2,"y"z\n3', tolerant=True)
    assert frame["plate"].tolist() == ["1", "2"]
    assert frame.attrs["bad_lines"] == 2


@pytest.mark.parametrize("cut", [1, 9, 20, -9, -1])
def test_damaged_gzip_is_an_error_not_a_short_table(tmp_path, cut):
    whole = gzip.compress(table(ROWS * 100, {"Plate": "plate", "Compound": "compound"}))
    with pytest.raises(MetadataError, match=r"t\.csv\.gz"):
        read(tmp_path, whole[:cut], "t.csv.gz")


def test_gzip_of_several_members_is_read_completely(tmp_path):
    first, second = b"Plate,Compound\n1,x\n", b"2,y\n"
    data = gzip.compress(first) + gzip.compress(second)
    assert read(tmp_path, data, "t.csv.gz")["plate"].tolist() == ["1", "2"]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"x" * 1_000_000))
    with pytest.raises(MetadataError, match="more than 10,000 bytes"):
        read_bounded(path, 10_000)


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_workbook_is_an_error_or_a_table(tmp_path, seed):
    rng = np.random.default_rng(seed)
    data = bytearray(workbook([["Plate", "Compound"], *([n, f"c{n}"] for n in range(40))]))
    for place in rng.integers(0, len(data), 3):
        data[place] = rng.integers(256)
    assert outcome(tmp_path, bytes(data[: rng.integers(4, len(data))]), "t.xls") in ("table", "error that says where")


CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\n\r\x85\x1c\x1d\x1e", exclude_categories=("Cs",)), max_size=12
)


@given(
    st.lists(st.tuples(CELL, CELL), max_size=8),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_what_is_written_is_read(tmp_path_factory, rows, separator, end):
    written = [{"plate": f"p{plate}", "compound": compound} for plate, compound in rows]
    data = table(written, {"Plate": "plate", "Compound": "compound"}, separator=separator, end=end)
    frame = read(tmp_path_factory.mktemp("t"), data)
    assert frame["plate"].tolist() == [row["plate"].strip() for row in written]
    assert frame["compound"].tolist() == [row["compound"].strip() for row in written]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_an_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("t")
    for name in ("t.csv", "t.tsv.gz", "t.xls"):
        for tolerant in (False, True):
            whole = b"Plate,Compound\n" + data if name == "t.csv" else data
            assert outcome(folder, whole, name, tolerant=tolerant) in ("table", "error that says where")


def test_the_bound_is_far_above_the_largest_real_table():
    assert tables.MAX_TABLE_BYTES >= 1 << 30
