"""Files are written completely or not at all, on every kind of storage; dangerous paths are refused."""

import hashlib
import pickle

import fsspec
import pytest
from cytoimagenet.builder.errors import UnreadableImageError, UsageError
from cytoimagenet.builder.storage import (
    TEMPORARY,
    atomic_writer,
    cache_folder,
    exists,
    filesystem,
    join,
    read_bytes,
    remove_temporaries,
    sha256_of,
    size,
    write_atomic,
)


@pytest.mark.parametrize(
    "path", ["pipe:cat /etc/passwd", "zip://a.csv::file:///etc/x.zip", "ftp://host/x", "simplecache::s3://a/b"]
)
def test_dangerous_paths_are_refused(path):
    with pytest.raises(UsageError):
        filesystem(path)


@pytest.mark.parametrize("root", ["local", "memory://atomic-test"])
def test_a_failed_write_leaves_nothing(root, tmp_path):
    root = tmp_path if root == "local" else root
    path = join(root, "sub", "x.bin")
    with pytest.raises(RuntimeError), atomic_writer(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert not exists(path)
    write_atomic(path, b"0123456789")
    assert read_bytes(path) == b"0123456789"
    assert read_bytes(path, 3, 4) == b"3456"
    with pytest.raises(RuntimeError), atomic_writer(path) as file:
        file.write(b"other")
        raise RuntimeError
    assert read_bytes(path) == b"0123456789"
    fs, inner = filesystem(join(root, "sub"))
    assert [str(p).rsplit("/", 1)[-1] for p in fs.ls(inner, detail=False)] == ["x.bin"]
    fsspec.filesystem("memory").store.clear()


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{TEMPORARY}x-1-2").write_bytes(b"half")
    (tmp_path / "sub" / "whole").write_bytes(b"whole")
    assert remove_temporaries(tmp_path) == 1
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["whole"]


def test_errors_can_be_sent_between_processes():
    error = pickle.loads(pickle.dumps(UnreadableImageError("a.tif", "truncated")))
    assert (error.path, error.reason, error.where) == ("a.tif", "truncated", "a.tif")
    assert "truncated" in str(error)


def test_the_digest_of_a_file_is_that_of_its_bytes_on_every_storage(tmp_path):
    data = bytes(range(256)) * 5_000
    for path in (tmp_path / "a", f"memory://digest-{tmp_path.name}/a"):
        write_atomic(path, data)
        assert sha256_of(path) == hashlib.sha256(data).hexdigest()
        assert size(path) == len(data)


def test_the_cache_folder_follows_the_convention(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "cytoimagenet"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cytoimagenet"
