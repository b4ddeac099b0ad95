"""SHA-256 of every file of an evaluation set, computed again only for files that have changed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...builder.errors import UnreadableImageError
from ...builder.progress import track
from ...builder.storage import write_atomic
from .tiff import INSIDE, open_locator

THREADS = 4  # hashing releases Python's lock; more threads only make a hard disk seek


def fingerprints(locators: Iterable[str], cache: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of the bytes behind each locator.

    Parameters
    ----------
    locators : iterable of str
        Paths, or `zip::member`: a member has the digest of the unpacked file.
    cache : path, optional
        File that stores the digests between runs. A stored digest is used while size, times and inode of the file (for
        a member: of the zip) are unchanged.

    Raises
    ------
    UnreadableImageError
        If a file can't be read.
    """
    known = _read(cache)
    names = sorted(set(locators))
    states = {path: _state(path) for path in {_path_of(name) for name in names}}
    digests, changed = {}, []
    for name in names:
        state, digest = known.get(name, (None, ""))
        if state == states[_path_of(name)]:
            digests[name] = digest
        else:
            changed.append(name)
    if changed:
        with ThreadPoolExecutor(THREADS) as pool:
            computed = track(pool.map(_sha256, changed), "Fingerprints of the images", len(changed), "files")
            digests.update(zip(changed, computed, strict=True))
        if cache is not None:
            entries = {name: [states[_path_of(name)], digests[name]] for name in names}
            write_atomic(cache, json.dumps(entries).encode())
    return digests


def _path_of(locator: str) -> str:
    return locator.partition(INSIDE)[0]


def _state(path: str) -> list[int]:
    about = os.stat(path)
    # a tool may set the time of modification back, but not the time of change
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _sha256(locator: str) -> str:
    try:
        with open_locator(locator) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise UnreadableImageError(locator, f"{type(error).__name__}: {error}") from error


def _read(cache: Path | None) -> dict[str, tuple[list[int], str]]:
    if cache is None or not cache.is_file():
        return {}
    try:
        return {name: (state, digest) for name, (state, digest) in json.loads(cache.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # damaged: everything is hashed again
