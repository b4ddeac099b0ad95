"""Local paths and URLs alike, through fsspec; files are written completely or not at all."""

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
from .extras import MissingPackageError

TEMPORARY = ".partial-"  # the name of every unfinished file starts with this
PROTOCOLS = ("file", "local", "memory", "s3", "gs", "gcs", "hf", "http", "https", "az", "abfs", "abfss")


def filesystem(path: str | PathLike[str]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the file system of a path or URL, and the path on it.

    Parameters
    ----------
    path : str or path
        A local path, or a URL of one of `PROTOCOLS`. Chained URLs and `pipe:` are refused: the name of a dataset must
        never become a command.

    Raises
    ------
    UsageError
        If the protocol is not one of `PROTOCOLS`, or the path is not valid UTF-8.
    """
    text = os.fspath(path)
    protocol = text.split("://", 1)[0] if "://" in text else "file"
    if protocol not in PROTOCOLS or "::" in text or text.startswith("pipe:"):
        raise UsageError(
            f"{text!r} is not a path that this project opens",
            next=f"Use a local path or one of {', '.join(p + '://' for p in PROTOCOLS if p not in ('file', 'local'))}",
        )
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The path {text.encode(errors='backslashreplace').decode()} is not valid UTF-8",
                next="Rename it: names are stored in tables and in JSON, which are UTF-8",
            ) from error
    if "://" not in text:  # a short cut with the same result: this is called a dozen times per image
        return _local(), LocalFileSystem._strip_protocol(text)
    try:
        fs, inner = fsspec.url_to_fs(text)
    except ImportError as error:  # raised by fsspec, without the name of the module
        if protocol == "s3":
            raise MissingPackageError("s3fs", "s3") from error
        raise UsageError(f"{protocol}:// needs another package: {error}", where=text) from error
    return fs, inner


@functools.cache
def _local() -> LocalFileSystem:
    return fsspec.filesystem("file")


def is_local(path: str | PathLike[str]) -> bool:
    """Return whether a path is on a disk of this machine."""
    return isinstance(filesystem(path)[0], LocalFileSystem)


def join(path: str | PathLike[str], *parts: str) -> str:
    """Join the parts of a local path or URL.

    Examples
    --------
    >>> join("s3://lab/raw/", "bbbc013", "a.png")
    's3://lab/raw/bbbc013/a.png'
    """
    return "/".join([os.fspath(path).rstrip("/") or "/", *(part.strip("/") for part in parts)])


def exists(path: str | PathLike[str]) -> bool:
    """Return whether a file or folder exists."""
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def read_bytes(path: str | PathLike[str], offset: int = 0, size: int | None = None) -> bytes:
    """Read a file, or `size` bytes of it from `offset`."""
    fs, inner = filesystem(path)
    content: bytes = fs.cat_file(inner, start=offset or None, end=None if size is None else offset + size)
    return content


def size(path: str | PathLike[str]) -> int:
    """Return the size of a file in bytes."""
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
    """Open a file for writing that appears under its name only once it is complete.

    A local file is written under a temporary name in the same folder, synced to disk and renamed. A file for other
    storage is written to the local disk and uploaded in one call, which object stores do completely or not at all.
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
        local = Path(folder) / "upload"
        with open(local, "wb") as file:
            yield file
        fs.makedirs(fs._parent(inner), exist_ok=True)
        fs.put_file(str(local), inner)


def write_atomic(path: str | PathLike[str], data: bytes) -> None:
    """Write a file completely, or not at all."""
    with atomic_writer(path) as file:
        file.write(data)


def remove_temporaries(folder: str | PathLike[str]) -> int:
    """Remove the half-written files that a killed run left in a local folder; return their number."""
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


def sibling(path: str | PathLike[str], ending: str) -> str:
    """Return the path of a related file in the same folder: the same name with another ending.

    Examples
    --------
    >>> sibling("work/selection.parquet", "rejected.parquet")
    'work/selection.rejected.parquet'
    """
    text = str(path)
    return text.removesuffix(PurePosixPath(text).suffix) + "." + ending
