"""The listing of a folder and of a zip, and the bytes read from them, with files made by hand."""

import os
import zipfile

import pytest
from cytoimagenet.builder.archive import files
from cytoimagenet.builder.archive.files import Archive, list_archive, unsafe
from cytoimagenet.builder.errors import UnreadableImageError, UsageError

CONTENT = {"b/2.png": b"second", "a/1.png": b"first" * 100, "metadata.csv": b"label\n"}


@pytest.fixture(params=["folder", "zip"])
def archive(request, tmp_path):
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in CONTENT.items():
                packed.writestr(name, content)
        return tmp_path / "a.zip"
    for name, content in CONTENT.items():
        (tmp_path / "a" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / name).write_bytes(content)
    return tmp_path / "a"


def test_folder_and_zip_give_the_same_listing_and_bytes(archive):
    listing = list_archive(archive)
    assert listing.is_zip is archive.is_file()
    assert listing.names.to_pylist() == ["a/1.png", "b/2.png", "metadata.csv"]
    assert listing.sizes.tolist() == [500, 6, 6] and listing.refused == {}
    with Archive(listing) as opened:
        opened.announce([0, 2])
        for number, name in enumerate(listing.names.to_pylist()):
            assert opened.read(number) == CONTENT[name]
            with opened.stream(number) as stream:
                assert stream.read() == CONTENT[name]


def test_a_file_over_the_limit_is_not_read(archive, monkeypatch):
    listing = list_archive(archive)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 499)
    with Archive(listing) as opened, pytest.raises(UnreadableImageError, match="500 bytes, at most 499"):
        opened.read(0)


def test_a_zip_lists_no_image_over_the_limit_but_any_table(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 5)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("six.png", "six.csv", "five.png"):
            packed.writestr(name, name[:4].ljust(6 if name.startswith("six") else 5))
    listing = list_archive(tmp_path / "a.zip")
    assert listing.names.to_pylist() == ["five.png", "six.csv"]
    assert listing.refused == {"six.png": "6 bytes once decompressed, at most 5 allowed"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "leads out of the archive"),
        ("\\server\\x", "leads out of the archive"),
        ("a/../../x", "leads out of the archive"),
        ("a\\..\\x", "leads out of the archive"),
        ("C:x", "leads out of the archive"),
        ("a\nb.png", "name holds a control character"),
        ("a..b/c.png", ""),
        ("a:b/µ.png", "leads out of the archive"),
        ("actin/a b,c.png", ""),
    ],
)
def test_names(name, reason):
    assert unsafe(name) == reason


def test_what_a_folder_does_not_list(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    os.symlink(tmp_path / "a" / "1.png", tmp_path / "a" / "2.png")
    os.symlink(tmp_path / "a", tmp_path / "a" / "again")
    os.mkfifo(tmp_path / "a" / "pipe")
    listing = list_archive(tmp_path / "a")
    assert listing.names.to_pylist() == ["1.png"]
    assert listing.refused == {"2.png": "a symbolic link", "again": "a symbolic link", "pipe": "no regular file"}


def test_a_file_that_vanished_or_grew(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"x")
    listing = list_archive(tmp_path / "a")
    (tmp_path / "a" / "1.png").unlink()
    with Archive(listing) as opened, pytest.raises(UnreadableImageError, match="No such file"):
        opened.read(0)


def test_altered_bytes_of_a_zip_are_noticed(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("1.png", b"content of the file")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[data.index(b"content")] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    with Archive(list_archive(tmp_path / "a.zip")) as opened:
        with pytest.raises(UnreadableImageError, match="content and checksum differ"):
            opened.read(0)
        with pytest.raises(UnreadableImageError, match="content and checksum differ"):
            opened.stream(0).read()


def test_what_is_no_archive(tmp_path):
    with pytest.raises(UsageError, match="no such archive"):
        list_archive(tmp_path / "none.zip")
    (tmp_path / "a.zip").write_bytes(b"PK but no zip")
    with pytest.raises(UsageError, match="Not a complete zip file"):
        list_archive(tmp_path / "a.zip")
