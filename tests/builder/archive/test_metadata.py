"""metadata.csv and the files it names, made by hand: which row gets which file, and which category a label has."""

import os
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from cytoimagenet.builder.archive import metadata
from cytoimagenet.builder.archive.files import list_archive
from cytoimagenet.builder.errors import MetadataError, UsageError

from tests import memory


@pytest.fixture
def archive(tmp_path):
    """Write files below a folder; return its listing."""

    def write(*names, csv=None):
        for name in names:
            path = tmp_path / "archive" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        if csv is not None:
            (tmp_path / "archive" / "cytoimagenet").mkdir(parents=True, exist_ok=True)
            (tmp_path / "archive" / "cytoimagenet" / "metadata.csv").write_text(csv)
        return list_archive(tmp_path / "archive")

    return write


def table_of(*rows, **columns):
    """Rows of (label, path, filename) as `read_metadata` returns them."""
    texts = dict.fromkeys(metadata.COLUMNS, [""] * len(rows))
    texts |= {name: [row[i] for row in rows] for i, name in enumerate(("label", "path", "filename"))} | columns
    return pa.table({name: pa.array(values, pa.string()) for name, values in texts.items()})


def test_the_metadata_nearest_to_the_root_is_taken(archive):
    listing = archive("c/metadata.csv", "a/b/metadata.csv", "a/not-metadata.csv")
    assert listing.names[metadata.find_metadata(listing)].as_py() == "c/metadata.csv"


def test_an_archive_without_metadata_is_refused(archive):
    with pytest.raises(UsageError, match=r"no metadata\.csv in the archive"):
        metadata.find_metadata(archive("a/metadata.csv.bak"))


def test_rows_find_their_files(archive):
    names = ["c/actin/a-1.png", "c/actin/a-2.png", "c/actin/twice.png", "c/er/twice.png", "c/er/only.png", "c/er/x.png"]
    listing = archive(*names, csv="")
    table = table_of(
        ("actin", "/home/someone/cytoimagenet/actin", "a-1.png"),  # by its last folder and name
        ("actin", "cytoimagenet/actin/", "a-2.png"),  # a slash at the end of the path changes nothing
        ("er", "", "twice.png"),  # without a path, the folder is the label
        ("golgi", "cytoimagenet/golgi", "only.png"),  # in another folder, but the only file of its name
        ("golgi", "cytoimagenet/golgi", "twice.png"),  # two files of that name elsewhere
        ("er", "cytoimagenet/er", "absent.png"),
        ("actin", "cytoimagenet/actin", "folder/a-1.png"),  # the same file as the first row
    )
    own = listing.names.to_pylist().index("cytoimagenet/metadata.csv")
    matched = metadata.match(listing, table, own)
    found = [listing.names[int(entry)].as_py() if entry >= 0 else None for entry in matched.entry]
    assert found == ["c/actin/a-1.png", "c/actin/a-2.png", "c/er/twice.png", "c/er/only.png", None, None, None]
    assert matched.moved.tolist() == [False, False, False, True, False, False, False]
    assert matched.twice.tolist() == [False, False, False, False, False, False, True]
    assert [listing.names[int(i)].as_py() for i in matched.extra] == ["c/actin/twice.png", "c/er/x.png"]


def test_no_row_gets_the_metadata_itself(archive):
    listing = archive(csv="")
    matched = metadata.match(listing, table_of(("x", "cytoimagenet", "metadata.csv")), 0)
    assert matched.entry.tolist() == [-1] and len(matched.extra) == 0


def test_the_category_that_most_rows_state():
    table = table_of(
        *[("actin", "", "")] * 3, *[("tp53", "", "")] * 2, ("odd", "", ""), *[("er", "", "")] * 2,
        category=["gene", "cell_visible", "cell_visible", "nonsense", "", "", "organism", "cell_type"],
        gene=["", "", "", "a|tp53", "tp53", "", "", ""],
        compound=["", "", "", "tp53", "", "", "", ""],
    )  # fmt: skip
    assert metadata.categories_of(table) == {
        "actin": "cell_visible",  # stated twice, gene once
        "tp53": "gene",  # nothing valid stated: in two rows under gene, in one under compound
        "odd": "phenotype",  # in no column
        "er": "organism",  # a tie: the first in the order of the columns
    }


def test_old_names_absent_columns_and_spare_ones(archive):
    csv = 'spare,unique_id,label,filename,cell_component\n1,rec-7,"pd 98,059",a.png,actin|er\n2,NA,er,b.png,\n'
    listing = archive(csv=csv)
    table = metadata.read_metadata(listing, 0)
    assert table.column_names == list(metadata.COLUMNS)
    assert [metadata.as_text(table[name]).to_pylist() for name in ("idx", "label", "cell_visible", "gene", "crop")] == [
        ["rec-7", "NA"], ["pd 98,059", "er"], ["actin|er", ""], ["", ""], ["", ""],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("csv", "problem"),
    [
        ("label,path\na,b\n", "has no column filename"),
        ("x,y\na,b\n", "has no column label and filename"),
        ("label,filename\na,b,c\n", "can't be read: .*Row #2"),
        ("", "can't be read"),
    ],
)
def test_what_is_no_metadata(csv, problem, archive):
    with pytest.raises(MetadataError, match=problem) as caught:
        metadata.read_metadata(archive(csv=csv), 0)
    assert caught.value.where.endswith("cytoimagenet/metadata.csv") and "filename" in caught.value.next


def test_a_table_that_is_too_large_is_not_opened(archive, monkeypatch):
    monkeypatch.setattr(metadata, "MAX_CSV_BYTES", 5)
    with pytest.raises(MetadataError, match="at most 5 allowed"):
        metadata.read_metadata(archive(csv="label,filename\n"), 0)


def test_the_last_folder_is_the_same_for_repeated_and_single_paths():
    paths = ["/a/b/c/", "c", "", "x/y"] * 2
    plain = pa.chunked_array([pa.array(paths)])
    coded = pa.chunked_array([pa.array(paths).dictionary_encode()])
    expected = ["c", "c", "", "y"] * 2
    assert np.array_equal(metadata._last_part(plain).to_pylist(), expected)
    assert np.array_equal(metadata._last_part(coded).to_pylist(), expected)


ROW = "actin,a-1.png"


def read(listing):
    return metadata.read_metadata(listing, listing.names.to_pylist().index("cytoimagenet/metadata.csv"))


def test_a_copy_with_both_spellings_of_a_column_is_read_by_the_new_one(archive):
    head = "label,filename,cell_component,cell_visible,unique_id,idx"
    table = read(archive(csv=f"{head}\n{ROW},old,new,x-1,x-2\n"))
    assert (table["cell_visible"].to_pylist(), table["idx"].to_pylist()) == (["new"], ["x-2"])


@pytest.mark.parametrize(
    ("csv", "reason"),
    [
        (b"label,filename,label\nactin,a-1.png,er\n", "the column 'label' twice"),
        (b"label,filename,\xff\nactin,a-1.png,x\n", "can't be read"),
        (b"label,filename\nactin,\xff\n", "can't be read"),
        (b"label,filename" + b",x" * 2000 + b"\n", "more than 1,000 columns"),
        (b"", "can't be read"),
    ],
)
def test_other_tables_are_refused(csv, reason, tmp_path):
    (tmp_path / "archive" / "cytoimagenet").mkdir(parents=True)
    (tmp_path / "archive" / "cytoimagenet" / "metadata.csv").write_bytes(csv)
    with pytest.raises(MetadataError, match=reason) as raised:
        read(list_archive(tmp_path / "archive"))
    assert raised.value.where.endswith("cytoimagenet/metadata.csv")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_table_of_too_many_lines_is_refused_before_it_is_in_memory(archive, monkeypatch, end):
    monkeypatch.setattr(metadata, "MAX_CSV_ROWS", 20_000)
    many = f"label,filename{end}" + f"a,b{end}" * 100_000
    with pytest.raises(MetadataError, match="more than 20,000 lines"):
        read(archive(csv=many))
    assert len(read(archive(csv=f"label,filename{end}" + f"a,b{end}" * 10_000))) == 10_000


def test_a_bomb_is_refused_by_the_directory_of_its_zip(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("cytoimagenet/metadata.csv", "w") as file:
            file.write(b"label,filename\n")
            for _ in range(40):
                file.write(b"a,b\n" * 2**17)
    with memory.at_most(100 * 2**20), pytest.raises(MetadataError, match=r"bytes that unpack to 20,971,535 are not"):
        read(list_archive(path))


def test_memory_that_does_not_suffice_is_an_error_and_no_traceback(archive, monkeypatch):
    def read_csv(*_, **__):
        raise pa.ArrowMemoryError("malloc of size 4294967296 failed")

    monkeypatch.setattr(metadata.pv, "read_csv", read_csv)
    with pytest.raises(MetadataError, match="malloc of size"):
        read(archive(csv="label,filename\n"))


def test_a_file_whose_name_is_not_text_is_refused_and_listed(archive, tmp_path):
    archive("cytoimagenet/actin/a-1.png", csv="label,filename\n")
    with open(os.fsencode(tmp_path) + b"/archive/\xff.png", "wb"):
        pass
    listing = list_archive(tmp_path / "archive")
    assert listing.refused == {r"\xff.png": "its name is no text"}
    assert len(listing.names) == 2
