"""SHA-256 of every file of an evaluation set, read again only where the file has changed."""

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

THREADS = 4  # hashing lets go of the lock; more threads only make a disk seek


def fingerprints(locators: Iterable[str], kept: Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of the bytes behind each locator.

    Parameters
    ----------
    locators : iterable of str
        Paths, or `zip::member`: a member has the digest of the loose file.
    kept : path, optional
        Where digests are kept from one run to the next. One is taken from there while size, time of change and inode
        of its file (for a member: of the zip) are what they were.

    Raises
    ------
    UnreadableImageError
        If a file can't be read.
    """
    known = _read(kept)
    files = sorted(set(locators))
    states = {path: _state(path) for path in {_file(name) for name in files}}
    found, changed = {}, []
    for name in files:
        state, digest = known.get(name, (None, ""))
        if state == states[_file(name)]:
            found[name] = digest
        else:
            changed.append(name)
    if changed:
        with ThreadPoolExecutor(THREADS) as pool:
            digests = track(pool.map(_sha256, changed), "Fingerprints of the images", len(changed), "files")
            found.update(zip(changed, digests, strict=True))
        if kept is not None:
            lines = {name: [states[_file(name)], found[name]] for name in files}
            write_atomic(kept, json.dumps(lines).encode())
    return found


def _file(locator: str) -> str:
    return locator.partition(INSIDE)[0]


def _state(path: str) -> list[int]:
    about = os.stat(path)
    # a tool may set the time of modification back, but not that of the change
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]


def _sha256(locator: str) -> str:
    try:
        with open_locator(locator) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # a damaged zip raises errors of every kind
        raise UnreadableImageError(locator, f"{type(error).__name__}: {error}") from error


def _read(kept: Path | None) -> dict[str, tuple[list[int], str]]:
    if kept is None or not kept.is_file():
        return {}
    try:
        return {name: (state, digest) for name, (state, digest) in json.loads(kept.read_bytes()).items()}
    except (ValueError, TypeError, AttributeError):
        return {}  # damaged: everything is hashed again
