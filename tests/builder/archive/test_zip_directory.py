"""The zip directory in arrays equals that of Python's zipfile, and damage always gives the same kind of error."""

import io
import zipfile

import numpy as np
import pytest
from cytoimagenet.builder.archive.files import Archive, list_archive
from cytoimagenet.builder.archive.zip_directory import DamagedZipError, entries_of
from cytoimagenet.builder.errors import UnreadableImageError, UsageError

CONTENT = {
    "cytoimagenet/actin/actin-01.png": b"one" * 50,
    "cytoimagenet/taxol (10 µm)/β-1.png": b"two",
    "cytoimagenet/empty.png": b"",
    "cytoimagenet/a,b.png": bytes(range(256)) * 9,
    "cytoimagenet/metadata.csv": b"label,filename\n",
}


def write(path, *, before=b"", comment=b"", method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.mkdir("cytoimagenet")
        for name, content in CONTENT.items():
            archive.writestr(name, content)
        archive.comment = comment
    path.write_bytes(before + buffer.getvalue())
    return path


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 9])
@pytest.mark.parametrize("comment", [b"", b"PK\x01\x02 a comment" * 100])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_it_equals_the_directory_that_zipfile_reads(tmp_path, monkeypatch, long, before, comment, method):
    if long:  # every number of every entry goes into the zip64 field, the counts into the zip64 record
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", -1)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    path = write(tmp_path / "a.zip", before=before, comment=comment, method=method)
    assert (b"PK\x06\x06" in path.read_bytes()) == long
    with zipfile.ZipFile(path) as archive:
        wanted = [
            (i.filename, i.flag_bits, i.compress_type, i.external_attr >> 16, i.CRC, i.compress_size, i.file_size,
             i.header_offset) for i in archive.infolist()
        ]  # fmt: skip
    found = [(e.name, e.flags, e.method, e.mode, e.crc, e.packed, e.size, e.start) for e in entries_of(path)]
    assert found == wanted
    listing = list_archive(path)
    assert listing.names.to_pylist() == sorted(CONTENT)
    with Archive(listing) as archive:
        for number, name in enumerate(sorted(CONTENT)):
            assert archive.read(number) == CONTENT[name]
            assert archive.stream(number).read() == CONTENT[name]
            stream, pieces = archive.stream(number), []
            while piece := stream.read(7):
                pieces.append(piece)
            assert b"".join(pieces) == CONTENT[name]


def test_a_stream_ends_with_an_error_where_its_content_differs(tmp_path):
    path = write(tmp_path / "a.zip", method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[data.index(b"label,filename")] ^= 1
    path.write_bytes(data)
    listing = list_archive(path)
    with Archive(listing) as archive:
        with pytest.raises(UnreadableImageError, match="checksum"):
            archive.stream(listing.names.to_pylist().index("cytoimagenet/metadata.csv")).read()


def test_no_damage_is_another_error(tmp_path):
    whole = write(tmp_path / "a.zip").read_bytes()
    directory = whole.index(b"PK\x01\x02")
    rng = np.random.default_rng(0)
    path, ends = tmp_path / "b.zip", {"read": 0, "damaged": 0}
    for _ in range(400):
        data = bytearray(whole)
        for place in rng.integers(directory, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(directory, len(data))] if rng.random() < 0.2 else data)
        try:
            listing = list_archive(path)
            with Archive(listing) as archive:
                for number in range(len(listing.names)):
                    try:
                        archive.read(number)
                        archive.stream(number).read()
                    except UnreadableImageError:
                        pass
            ends["read"] += 1
        except UsageError:
            ends["damaged"] += 1
    assert ends["read"] > 50 and ends["damaged"] > 50


def test_an_entry_that_reaches_beyond_the_archive_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", -1)
    path = write(tmp_path / "a.zip")
    with zipfile.ZipFile(path) as archive:
        packed = archive.getinfo("cytoimagenet/a,b.png").compress_size
    data = path.read_bytes()
    at = data.rindex(packed.to_bytes(8, "little"))
    path.write_bytes(data[:at] + (2**62).to_bytes(8, "little") + data[at + 8 :])
    listing = list_archive(path)
    assert listing.refused == {"cytoimagenet/a,b.png": "reaches beyond the end of the archive"}
    assert len(listing.names) == len(CONTENT) - 1


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"no zip" * 1000])
def test_what_is_no_zip(tmp_path, content):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    if content.startswith(b"PK\x05\x06"):
        assert list(entries_of(path)) == []  # an empty archive is one
        return
    with pytest.raises(DamagedZipError):
        list(entries_of(path))
