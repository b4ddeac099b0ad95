"""Paths of every kind through fsspec, and writes that are whole or absent."""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from .errors import UsageError

TEMPORARY = ".partial-"  # every unfinished file starts with this, so that it can be told from a finished one
ALLOWED = ("file", "local", "memory", "s3", "gs", "gcs", "hf", "http", "https", "az", "abfs", "abfss")


def filesystem(path: str | PathLike[str]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system a path or URL lies on, and the path on it.

    Parameters
    ----------
    path : str or path
        A local path, or a URL of one of `ALLOWED`. Chained URLs and `pipe:` are refused: a dataset's name must never
        become a command.

    Raises
    ------
    UsageError
        If the protocol is not one of `ALLOWED`.
    """
    text = os.fspath(path)
    protocol = text.split("://", 1)[0] if "://" in text else "file"
    if protocol not in ALLOWED or "::" in text or text.startswith("pipe:"):
        raise UsageError(
            f"{text!r} is not a path this project opens",
            next=f"Use a local path or one of {', '.join(p + '://' for p in ALLOWED if p not in ('file', 'local'))}",
        )
    if "://" not in text:  # the same answer, for what is asked a dozen times an image
        return _local(), LocalFileSystem._strip_protocol(text)
    try:
        fs, inner = fsspec.url_to_fs(text)
    except ImportError as error:
        raise UsageError(f"{protocol}:// needs another package: {error}", where=text) from error
    return fs, inner


@functools.cache
def _local() -> LocalFileSystem:
    return fsspec.filesystem("file")


def is_local(path: str | PathLike[str]) -> bool:
    """Say whether a path is on this machine's disk."""
    return isinstance(filesystem(path)[0], LocalFileSystem)


def join(path: str | PathLike[str], *parts: str) -> str:
    """Join path parts, for local paths and URLs alike."""
    return "/".join([os.fspath(path).rstrip("/") or "/", *(part.strip("/") for part in parts)])


def exists(path: str | PathLike[str]) -> bool:
    """Say whether a file or folder is there."""
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def read_bytes(path: str | PathLike[str], offset: int = 0, size: int | None = None) -> bytes:
    """Read a file, or `size` bytes of it from `offset`."""
    fs, inner = filesystem(path)
    return fs.cat_file(inner, start=offset or None, end=None if size is None else offset + size)


def size(path: str | PathLike[str]) -> int:
    """Return how many bytes a file has."""
    fs, inner = filesystem(path)
    return int(fs.size(inner))


def sha256_of(path: str | PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    fs, inner = filesystem(path)
    with fs.open(inner, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Return the user's cache folder of this project: `$XDG_CACHE_HOME/cytoimagenet`, or `~/.cache/cytoimagenet`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cytoimagenet"


@contextmanager
def atomic_writer(path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only once it is whole.

    Local files are written beside their place, synced and renamed. For other storage the file is held on local disk
    and put in one call, which object stores do whole or not at all.
    """
    fs, inner = filesystem(path)
    if isinstance(fs, LocalFileSystem):
        target = Path(inner)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{TEMPORARY}{target.name[:80]}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
            _sync_folder(target.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-upload-") as folder:
        held = Path(folder) / "upload"
        with open(held, "wb") as file:
            yield file
        fs.makedirs(fs._parent(inner), exist_ok=True)
        fs.put_file(str(held), inner)


def write_atomic(path: str | PathLike[str], data: bytes) -> None:
    """Write a whole file at once, or not at all."""
    with atomic_writer(path) as file:
        file.write(data)


def remove_temporaries(folder: str | PathLike[str]) -> int:
    """Remove what a killed run left half-written in a local folder; return how many files that were."""
    left = list(Path(folder).glob(f"**/{TEMPORARY}*")) if is_local(folder) else []
    for file in left:
        file.unlink(missing_ok=True)
    return len(left)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def beside(out: str | PathLike[str], ending: str) -> str:
    """Name a file beside `out`: `selection.parquet` and `rejected.parquet` give `selection.rejected.parquet`."""
    text = str(out)
    return text.removesuffix(PurePosixPath(text).suffix) + "." + ending
