"""The files of a source, listed from its folder or read from its inventory."""

from __future__ import annotations

import os

import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.sources.folder import Folder


def lay(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")
    return Folder(root, "bbbc013")


def test_a_walk_lists_every_file_sorted_by_bytes(tmp_path):
    folder = lay(tmp_path, "b/2.tif", "a/1.TIF", "B/x.png", "table.csv", "a/ü |.tif", "a/.hidden")
    assert folder.files().to_pylist() == ["B/x.png", "a/.hidden", "a/1.TIF", "a/ü |.tif", "b/2.tif", "table.csv"]
    assert folder.counts.listed == 6


def test_the_inventory_replaces_the_walk(tmp_path):
    folder = lay(tmp_path, "on_disk.tif")
    (tmp_path / "files.txt").write_bytes(b"\xef\xbb\xbf./b.tif\r\nbbbc013/a.tif\r\n\r\nc d.tif\r\nb.tif")
    assert folder.files().to_pylist() == ["a.tif", "b.tif", "c d.tif"]
    assert folder.counts.listed == 4
    assert folder.counts.skipped == {"listed twice": 1}


def test_an_inventory_with_bare_carriage_returns(tmp_path):
    (tmp_path / "files.txt").write_bytes(b"a.tif\rb.tif\r")
    assert Folder(tmp_path, "x").files().to_pylist() == ["a.tif", "b.tif"]


@pytest.mark.parametrize(
    "line",
    [b"../up.tif", b"a/../../b.tif", b"/etc/passwd", b"s3://bucket/a.tif", b"a\0b.tif", b"\xff\xfe.tif", b"./../x"],
)
def test_a_line_that_leads_out_names_file_and_line(tmp_path, line):
    (tmp_path / "files.txt").write_bytes(b"good.tif\n" + line + b"\n")
    with pytest.raises(MetadataError) as caught:
        Folder(tmp_path, "x").files()
    assert caught.value.where == f"{tmp_path / 'files.txt'}, line 2"


def test_names_with_two_dots_are_names(tmp_path):
    (tmp_path / "files.txt").write_text("a..b/c...tif\n..hidden/x.tif\n")
    assert len(Folder(tmp_path, "x").files()) == 2


def test_a_name_that_is_no_utf_8_is_counted(tmp_path):
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.tif", os.O_CREAT))
    folder = lay(tmp_path, "a.tif")
    assert folder.files().to_pylist() == ["a.tif"]
    assert (folder.counts.listed, dict(folder.counts.skipped)) == (2, {"name is not UTF-8": 1})


def test_linked_folders_are_followed_once(tmp_path):
    folder = lay(tmp_path / "raw", "a/1.tif")
    lay(tmp_path / "store", "2.tif")
    (tmp_path / "raw" / "b").symlink_to(tmp_path / "store")
    (tmp_path / "raw" / "a" / "loop").symlink_to(tmp_path / "raw")
    assert folder.files().to_pylist() == ["a/1.tif", "b/2.tif"]
    assert folder.counts.notes == {"folder reached twice by a link": 1}


def test_tables_are_found_by_name_in_any_case_with_and_without_inventory(tmp_path):
    folder = lay(tmp_path, "screenA/X-annotation.CSV", "x-annotation.csv.gz", "a/b/c/d/e/x-annotation.csv", "img.tif")
    found = [f"{tmp_path}/screenA/X-annotation.CSV", f"{tmp_path}/x-annotation.csv.gz"]
    assert folder.find("x-ANNOTATION.csv*") == found
    folder.files()
    assert folder.find("x-ANNOTATION.csv*") == found


def test_tables_of_one_name_are_read_as_one_and_absence_is_noted(tmp_path):
    folder = Folder(tmp_path, "x")
    (tmp_path / "a.csv").write_text("Well,Gene\nA01,x\n")
    (tmp_path / "b.csv").write_text("Gene,Well\ny,B01\n")
    columns = {"well": "Well", "gene": "Gene"}
    assert folder.table("?.csv", columns).to_dict("list") == {"well": ["A01", "B01"], "gene": ["x", "y"]}
    assert folder.table("c.csv", columns, required=False) is None
    assert folder.counts.notes == {"no table c.csv": 1}
    with pytest.raises(MetadataError, match=r"No table 'c.csv' .*\n.*not images: a.csv, b.csv"):
        folder.table("c.csv", columns)
