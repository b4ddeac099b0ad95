"""Local copies of the images of remote shards, so that the next epoch reads them from the disk.

One file contains the images of one window. It ends with the SHA-256 of its content, which is checked when the file is
opened. All processes of a machine share the folder: a window is fetched by one of them, while the others wait. The
files together never take more than the given number of bytes: those that were not used for longest are removed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from ..builder.errors import UsageError
from ..builder.storage import TEMPORARY

_HASH_BYTES = hashlib.sha256().digest_size


class LocalCopies:
    """A folder of copies.

    Parameters
    ----------
    folder : Path
    most_bytes : int
        Size of all copies together.

    Raises
    ------
    UsageError
        If `most_bytes` is not positive.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        if most_bytes <= 0:
            raise UsageError(f"Local copies need space: {most_bytes} bytes", next="Give cache_bytes, or leave it out")
        self.folder, self.most_bytes = folder, most_bytes

    def open(self, name: str, fetch: Callable[[], Sequence[bytes | memoryview]]) -> Copy:
        """Open a copy; fetch and write it if there is none, or if it is damaged.

        Parameters
        ----------
        name : str
            Identifies the content.
        fetch : callable
            Returns the content, in pieces.
        """
        path = self.folder / hashlib.sha256(name.encode()).hexdigest()[:32]
        found = _opened(path)
        if found is not None:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self.folder / f"{TEMPORARY}{path.name}.lock"
        with FileLock(lock):
            found = _opened(path)  # another process may have fetched it meanwhile
            if found is None:
                found = self._write(path, fetch())
        lock.unlink(missing_ok=True)
        return found

    def _write(self, path: Path, pieces: Sequence[bytes | memoryview]) -> Copy:
        """Write a copy under a temporary name, make room for it, and give it its name."""
        temporary = path.with_name(f"{TEMPORARY}{path.name}-{os.getpid()}")
        digest = hashlib.sha256()
        try:
            with open(temporary, "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
                file.write(digest.digest())
            copy = Copy(os.open(temporary, os.O_RDONLY))
            size = os.fstat(copy.file).st_size
            with FileLock(self.folder / f"{TEMPORARY}space.lock"):
                if self._make_room(size):
                    os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)  # a copy that is too large is read, but not kept
        return copy

    def _make_room(self, size: int) -> bool:
        """Remove the copies that were not used for longest; return whether there is room for one more."""
        copies = []
        for path in self.folder.iterdir():
            if not path.name.startswith(TEMPORARY):
                facts = path.stat()
                copies.append((facts.st_mtime_ns, facts.st_size, path))
        used = sum(bytes_ for _, bytes_, _ in copies)
        for _, bytes_, path in sorted(copies):
            if used + size <= self.most_bytes or size > self.most_bytes:
                break
            path.unlink(missing_ok=True)  # a process that reads it keeps it open
            used -= bytes_
        return used + size <= self.most_bytes


class Copy:
    """An open copy; it stays readable when its name is removed.

    Parameters
    ----------
    file : int
        File descriptor.
    """

    def __init__(self, file: int) -> None:
        self.file = file

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the content."""
        return os.pread(self.file, size, offset)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.file)


def _opened(path: Path) -> Copy | None:
    """Return a copy, marked as used now; None if there is none or it is damaged."""
    try:
        copy = Copy(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        return None
    with open(copy.file, "rb", closefd=False) as file:
        content = os.fstat(copy.file).st_size - _HASH_BYTES
        digest = hashlib.sha256()
        while content > 0 and (piece := file.read(min(content, 1 << 20))):
            digest.update(piece)
            content -= len(piece)
        if content or file.read() != digest.digest():
            path.unlink(missing_ok=True)
            return None
    os.utime(copy.file)
    return copy
