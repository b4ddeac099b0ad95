"""The image table: what people write is understood, what is wrong has a reason, and every sample is accounted for."""

import gzip
import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.image_table.table import read_image_table
from cytoimagenet.builder.images.channel_reader import Reader
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8)


def png(array=GREY) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png")
    return file.getvalue()


@pytest.fixture
def plate(tmp_path):
    """A folder with a.png, b.png and sub/c.png."""
    for number, name in enumerate(["a.png", "b.png", "sub/c.png"]):
        path = tmp_path / "plate" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(GREY + number))
    return tmp_path / "plate"


def written(plate, text, name="images.csv"):
    path = plate / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_keys_are_text_and_other_columns_travel_along(plate):
    path = written(plate, "file,label,group,Dose,plate\na.png,01,NA,0.10,7\nsub/c.png,None,1,0.2,007\n", "wells.csv")
    table = read_image_table(path)
    assert table.name == "wells" and table.channels == ("",) and table.files == ["file"]
    assert table.rows.to_dict("list") == {
        "id": ["a.png", "sub/c.png"],
        "file": ["a.png", "sub/c.png"],
        "label": ["01", "None"],
        "group": ["NA", "1"],
        "split": ["", ""],
        "Dose": ["0.10", "0.2"],
        "plate": ["7", "007"],
    }
    assert table.metadata == ("Dose", "plate") and table.notes == ()
    assert (len(table.rejected), table.offered) == (0, 2)
    assert np.array_equal(table.read(1)[0], GREY + 2) and len(table.read(1)) == 1
    assert table.has("label") and not table.has("split")


@pytest.mark.parametrize(
    "data",
    [
        "file;label\na.png;x\nb.png;y\n".encode("utf-16"),
        "\ufefffile;label\r\na.png;x\r\nb.png;y\r\n".encode(),
        b"sep=;\r\nfile;label\r\na.png;x\r\nb.png;y\r\n",
        b"file\tlabel\na.png\tx\nb.png\ty\n",
        b"File,Label,\na.png,x,\n\n,,\nb.png,y,\n",
        b',file,label\n0,a.png,x\n1,"b.png",y\n',
        b".\\a.png,x\n".join([b"file,label\n", b"b.png,y\n"]),
    ],
    ids=["utf-16", "bom", "sep", "tabs", "capitals-and-commas", "row-numbers", "backslash"],
)
def test_exports_of_every_kind(plate, data):
    table = read_image_table(written(plate, data))
    assert table.rows[["file", "label"]].to_numpy().tolist() == [["a.png", "x"], ["b.png", "y"]]
    assert table.metadata == () and not len(table.rejected)


def test_decimal_commas_stay_text_and_a_box_needs_quotes(plate):
    table = read_image_table(written(plate, 'file;dose\n"a.png#xywh=1,2,3,4";0,5\n'))
    assert table.rows["dose"].tolist() == ["0,5"]
    assert np.array_equal(table.read(0)[0], GREY[2:6, 1:4])
    with pytest.raises(MetadataError, match="5 cells where 2 are expected") as caught:
        read_image_table(written(plate, "file,dose\na.png#xywh=1,2,3,4,5\n"))
    assert caught.value.where.endswith("images.csv, line 2") and "in quotes" in caught.value.next


def test_gzip_tsv_and_parquet_give_the_same(plate):
    frame = pd.DataFrame(
        {"file": ["a.png", "sub/c.png"], "label": ["01", "2"], "dose": [0.5, 2.0], "plate": ["p", "q"]}
    )
    frame.to_csv(plate / "t.csv.gz", index=False)
    frame.to_csv(plate / "t.tsv", sep="\t", index=False)
    frame.to_parquet(plate / "t.parquet")
    gz, tsv, parquet = (read_image_table(plate / f"t.{kind}") for kind in ("csv.gz", "tsv", "parquet"))
    assert gzip.decompress((plate / "t.csv.gz").read_bytes())
    assert gz.name == tsv.name == parquet.name == "t"
    pd.testing.assert_frame_equal(gz.rows, tsv.rows)
    pd.testing.assert_frame_equal(parquet.rows.drop(columns="dose"), gz.rows.drop(columns="dose"))
    assert parquet.rows["dose"].tolist() == [0.5, 2.0] and gz.rows["dose"].tolist() == ["0.5", "2.0"]


def test_whole_numbers_of_parquet_keys_stay_whole(plate):
    pd.DataFrame({"file": ["a.png", "b.png"], "label": [1.0, None], "group": [3, 4]}).to_parquet(plate / "t.parquet")
    table = read_image_table(plate / "t.parquet")
    assert table.rows["label"].tolist() == ["1", ""] and table.rows["group"].tolist() == ["3", "4"]
    assert table.notes == ("label is empty in 1 of 2 rows",)


@pytest.mark.parametrize(
    "remarks",
    [
        "{}",
        '{"column_indexes": [], "columns": []}',
        '{"index_columns": ["absent"], "column_indexes": [], "columns": []}',
        '{"index_columns": 1, "column_indexes": 2, "columns": 3}',
    ],
)
def test_wrong_remarks_to_pandas_in_a_parquet_file_change_nothing(plate, remarks):
    table = pa.table({"file": ["a.png", "b.png"], "dose": [0.5, 2.0]})
    pq.write_table(table.replace_schema_metadata({"pandas": remarks}), plate / "t.parquet")
    rows = read_image_table(plate / "t.parquet").rows
    assert rows["id"].tolist() == ["a.png", "b.png"] and rows["dose"].tolist() == [0.5, 2.0]


def test_an_index_that_pandas_wrote_into_a_parquet_file(plate):
    frame = pd.DataFrame({"file": ["a.png", "b.png"]}, index=[7, 3])
    frame.to_parquet(plate / "t.parquet")
    assert read_image_table(plate / "t.parquet").metadata == ()
    frame.rename_axis("well").to_parquet(plate / "t.parquet")
    table = read_image_table(plate / "t.parquet")
    assert table.metadata == ("well",) and table.rows["well"].tolist() == [7, 3]


def test_two_columns_of_one_name_in_a_parquet_file(plate):
    pq.write_table(pa.table([["a.png"], ["b.png"]], names=["file", "file"]), plate / "t.parquet")
    with pytest.raises(MetadataError, match="Two columns have one name"):
        read_image_table(plate / "t.parquet")


def test_channels_in_the_order_of_the_table(plate):
    table = read_image_table(written(plate, "File_GFP,well,file_DAPI\nb.png,A01,a.png\na.png,A02,sub/c.png\n"))
    assert table.channels == ("GFP", "DAPI") and table.files == ["file_GFP", "file_DAPI"]
    assert table.rows["id"].tolist() == ["b.png", "a.png"] and table.metadata == ("well",)
    assert [plane[0, 0] for plane in table.read(1)] == [0, 2]


def test_ids_of_samples_that_share_their_first_channel(plate):
    table = read_image_table(written(plate, "file_a,file_b\na.png,b.png\na.png,sub/c.png\n"))
    assert table.rows["id"].tolist() == ["a.png|b.png", "a.png|sub/c.png"]


def test_every_bad_row_has_its_reason_and_line(plate):
    (plate / "out.png").write_bytes(png())
    text = "file_a,file_b\na.png,b.png\na.png,\nx.png,b.png\n../../out.png,b.png\n/etc/passwd,b.png\na.png,b.png\n"
    table = read_image_table(written(plate, text + "https://x.org/a.png,b.png\na.png#page=x,b.png\nC:\\a.png,b.png\n"))
    found = dict(zip(table.rejected["detail"], table.rejected["reason"], strict=True))
    outside = f"not below {plate}"
    assert found == {
        "line 3, column file_b: no file is named": "missing_channel",
        "line 4, column file_a: there is no such file": "missing_channel",
        f"line 5, column file_a: {outside}": "outside",
        f"line 6, column file_a: {outside}": "outside",
        "line 7, column file_a: the same image is in an earlier row": "repeated",
        f"line 8, column file_a: {outside}": "outside",
        "line 9, column file_a: there is no such file (what follows # is neither a page nor a box)": "missing_channel",
        f"line 10, column file_a: {outside}": "outside",
    }
    assert table.rejected["file"].tolist()[1:4] == ["x.png", "../../out.png", "/etc/passwd"]
    assert len(table) == 1 and table.offered == 9
    assert "rejected  8 of 9: outside 4, missing_channel 3, repeated 1" in repr(table)
    with pytest.raises(MetadataError, match=r"Only 1 of 9 samples can be used.*line 3, column file_b.*and 5 more"):
        read_image_table(plate, strict=True)


def test_absolute_paths_below_the_table_are_taken(plate):
    table = read_image_table(written(plate, f"file\n{plate}/sub/c.png\nfile://{plate}/a.png\nsub/../b.png\n"))
    assert table.rows["file"].tolist() == ["sub/c.png", "a.png", "b.png"]


def test_a_table_of_nothing_but_absent_files_is_an_error(plate):
    with pytest.raises(
        MetadataError, match=r"None of 2 samples can be used: p/a.png: line 2, column file: there is"
    ) as e:
        read_image_table(written(plate, "file\np/a.png\np/b.png\n"))
    assert e.value.next == "Paths are relative to the folder of the table."


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("path,label\na.png,x\n", "no column `file`; its columns are path, label", "images.csv"),
        ("file,file_a\na.png,b.png\n", "both `file` and `file_<channel>`", "images.csv"),
        ("file,x,x\na.png,1,2\n", "Two columns are called 'x'", "images.csv"),
        ("file,Label,label\na.png,1,2\n", "Two columns are called 'label'", "images.csv"),
        ("file,,x\na.png,1,2\n", "Column 2 has no name", "images.csv, line 1"),
        ("file,x\na.png,1\nb.png,2,3\n", "3 cells where 2 are expected", "images.csv, line 3"),
        ("file\n", "no rows", "images.csv"),
        ('file,x\na.png,"1\nb.png,2\n', "unexpected end of data", "images.csv, line 2"),
        ("", "empty", "images.csv"),
        ("id,file\nu,a.png\nv,b.png\nu,sub/c.png\n", "'u' is in lines 2 and 4", "images.csv, column id"),
        ("id,file\nu,a.png\n,b.png\n", "1 rows have no id", "images.csv, line 3, column id"),
    ],
)
def test_errors_name_file_line_and_column(plate, text, problem, where):
    with pytest.raises(MetadataError, match=problem) as caught:
        read_image_table(written(plate, text))
    assert caught.value.where == f"{plate}/{where}"


def test_an_empty_column_is_as_if_absent(plate):
    table = read_image_table(written(plate, "id,file,label,group,split\n,a.png,,g,\n,b.png,,,\n"))
    assert table.rows["id"].tolist() == ["a.png", "b.png"]
    assert (table.has("label"), table.has("group"), table.has("split")) == (False, True, False)
    assert table.notes == ("group is empty in 1 of 2 rows",)


def test_what_is_no_table_folder_or_zip(plate, tmp_path):
    for name, problem in [
        ("none", "no such file or folder"),
        ("plate/a.png", "neither a table, a folder nor a zip"),
        ("none.csv", "no such table"),
        ("none.zip", "no such zip"),
        ("x.xlsx", "workbook"),
    ]:
        with pytest.raises(UsageError, match=problem):
            read_image_table(tmp_path / name)
    written(plate, "file\na.png\n", "images.csv")
    written(plate, "file\na.png\n", "images.tsv")
    with pytest.raises(UsageError, match=r"several tables: images.csv, images.tsv"):
        read_image_table(plate)
    written(plate, b"PAR1 and nothing else", "t.parquet")
    with pytest.raises(MetadataError, match="Not a readable Parquet"):
        read_image_table(plate / "t.parquet")
    written(plate, "file\na.png\n".encode("utf-16")[2:], "raw16.csv")
    with pytest.raises(MetadataError, match="not a text table"):
        read_image_table(plate / "raw16.csv")
    with pytest.raises(UsageError, match="pattern is for files without a table"):
        read_image_table(plate / "images.csv", pattern="(?P<x>a)")


def test_a_table_by_url(plate):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/lab/p/images.csv": b"file,label\na.png,x\nsub/c.png,y\nno.png,z\n", "/lab/p/a.png": png()})
    memory.pipe("/lab/p/sub/c.png", png(GREY + 2))
    table = read_image_table("memory://lab/p/images.csv")
    assert table.name == "p" and table.rows["label"].tolist() == ["x", "y"]
    assert np.array_equal(table.read(1)[0], GREY + 2)
    assert table.rejected["reason"].tolist() == ["missing_channel"]
    assert read_image_table("memory://lab/p").rows["file"].tolist() == ["a.png", "sub/c.png"]
    memory.rm("/lab", recursive=True)


@pytest.mark.parametrize("prefix", ["", "mito/"])
def test_a_zip_is_read_in_place(tmp_path, prefix):
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        archive.writestr(f"{prefix}images.csv", "file,label\nx/a.png,1\n../b.png,2\nx/c.png,3\nx/d.png,4\n")
        archive.writestr(f"{prefix}x/a.png", png(GREY + 5))
        archive.writestr(f"{prefix}x/d.png", b"no image")
        archive.writestr("__MACOSX/x/._a.png", b"")
    table = read_image_table(tmp_path / "cells.zip")
    assert table.name == "cells" and table.rows["id"].tolist() == ["x/a.png", "x/d.png"]
    assert table.rejected[["id", "reason"]].to_numpy().tolist() == [
        ["(line 3)", "outside"],
        ["x/c.png", "missing_channel"],
    ]
    assert np.array_equal(table.read(0)[0], GREY + 5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a.png", "b.png", "sub/c.png", "no.png", "", "../a.png", "/a.png", "a.png#page=0", "sub"]),
            st.sampled_from(["", "x", "NA"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_counts_add_up_for_any_table(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    (folder / "sub").mkdir()
    for name in ("a.png", "b.png", "sub/c.png"):
        (folder / name).write_bytes(png())
    pd.DataFrame([("r", *row) for row in rows], columns=["r", "file", "label"]).to_csv(folder / "t.csv", index=False)
    good = [name for name, _ in rows if name in ("a.png", "b.png", "sub/c.png", "a.png#page=0")]
    if not good:
        with pytest.raises(MetadataError, match=f"None of {len(rows)} samples"):
            read_image_table(folder / "t.csv")
        return
    table = read_image_table(folder / "t.csv")
    assert table.offered == len(rows)
    assert table.rows["file"].tolist() == list(dict.fromkeys(good))
    ids = [*table.rows["id"], *table.rejected["id"]]
    assert len(set(ids)) == len(rows)
    for place in table.rows["file"]:
        assert np.array_equal(Reader(folder).channel(place), GREY)
