"""Members of a zip are read whole and within the bound, or refused by name."""

from __future__ import annotations

import zipfile

import pytest
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.builder.formats import zips
from cytoimagenet.builder.formats.zips import open_member, open_zip


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("folder/small.bin", b"0123456789")
        made.writestr("folder/large.bin", bytes(11))
    return path


def test_a_member_is_read_by_name_and_by_its_entry(archive):
    opened = open_zip(str(archive))
    assert open_member(opened, "folder/small.bin", "here").read() == b"0123456789"
    assert open_member(opened, opened.getinfo("folder/small.bin"), "here").read() == b"0123456789"
    with pytest.raises(UnreadableImageError, match="there is no such file in the zip") as caught:
        open_member(opened, "absent", "a.zip::absent")
    assert caught.value.where == "a.zip::absent"


def test_nothing_above_the_bound_is_decompressed(archive, monkeypatch):
    monkeypatch.setattr(zips, "MAX_MEMBER_BYTES", 10)
    opened = open_zip(str(archive))
    assert len(open_member(opened, "folder/small.bin", "here").read()) == 10  # exactly at the bound
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # must not be reached
    with pytest.raises(TooLargeError, match="more than 10 bytes"):
        open_member(opened, "folder/large.bin", "here")


def test_a_damaged_member_is_refused(archive):
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as made:
        made.writestr("a", b"0123456789")
    content = bytearray(archive.read_bytes())
    content[content.index(b"0123456789") + 4] ^= 1
    archive.write_bytes(content)
    with pytest.raises(UnreadableImageError, match="can't be unpacked: Bad CRC-32"):
        open_member(open_zip(str(archive)), "a", "here")


def test_a_zip_is_opened_once_and_again_after_it_has_changed(archive):
    first = open_zip(str(archive))
    assert open_zip(str(archive)) is first
    archive.unlink()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("other", b"x")
    assert open_zip(str(archive)).namelist() == ["other"]


def test_what_is_no_zip_is_refused_by_path(tmp_path, archive):
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:-30])
    for name in ("cut.zip", "absent.zip"):
        with pytest.raises(UnreadableImageError, match="not a whole zip file") as caught:
            open_zip(str(tmp_path / name))
        assert caught.value.where == str(tmp_path / name)


def test_a_damaged_directory_is_refused_whatever_zipfile_raises(archive, tmp_path, rng):
    whole = archive.read_bytes()
    start = whole.index(b"PK\x01\x02")
    newer = bytearray(whole)
    newer[start + 6] = 255  # "needed to extract" version 25.5: NotImplementedError
    damaged = [bytes(newer)]
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(start, len(data), 3):
            data[at] = rng.integers(256)
        damaged.append(bytes(data))
    refused = 0
    for number, data in enumerate(damaged):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        try:
            opened = open_zip(str(path))
            for entry in opened.infolist():
                open_member(opened, entry, "here")
        except UnreadableImageError:
            refused += 1
            continue
        assert number, "the first one is always refused"
    assert refused > 200
