"""The published archive -> the dataset folder: PNG bytes unchanged, every image opened, everything counted.

The archive (some 56 GB on Kaggle) is read in place. Checks are kept in `<out>.import/`, a file for each few thousand
rows, and a killed run goes on from them.
"""

from __future__ import annotations

import hashlib
import os
from os import PathLike
from typing import TypeGuard

import pyarrow as pa

from .. import resume, storage
from ..defaults import SHARD_SIZE_BYTES
from ..errors import CytoImageNetError, UsageError
from ..shards.format import FORMATS
from ..shards.write import write_dataset
from .check import _check_all
from .files import Archive, Listing, list_archive
from .metadata import find_metadata, match, read_metadata
from .published import Imported
from .tables import _write_tables

KAGGLE = "stanleyhua/cytoimagenet"


def import_archive(
    archive: str | PathLike[str],
    out: str | PathLike[str],
    *,
    seed: int = 0,
    shard_size: int = SHARD_SIZE_BYTES,
    format: str = "webdataset",
    workers: int | None = None,
) -> Imported:
    """Turn the published archive into a dataset folder.

    Parameters
    ----------
    archive : path
        The zip file as downloaded, or a folder it was unpacked to.
    out : str or path
        The dataset folder to write, local or a URL. What was checked is kept in `<out>.import/` (in the working
        directory if `out` is remote); it may be removed afterwards.
    seed : int
        Of split and shuffle.
    shard_size, format
        As `write_dataset`.
    workers : int, optional
        Threads that open images; by default two for each core, since some wait for the disk.

    Returns
    -------
    Imported
        What was kept, left out and why, beside the published numbers.

    Raises
    ------
    UsageError
        If there is no whole archive, or it holds no metadata.csv.
    MetadataError
        If metadata.csv is not what was published.

    Examples
    --------
    >>> print(import_archive("cytoimagenet.zip", "cytoimagenet"))  # doctest: +SKIP
    """
    if format not in FORMATS:  # said now, not after hours of checks
        raise UsageError(f"No shard format {format!r}; there are {', '.join(FORMATS)}")
    listing = list_archive(archive)
    out = os.fspath(out).rstrip("/")
    work = f"{out if storage.is_local(out) else out.rsplit('/', 1)[-1]}.import"
    with Archive(listing) as opened:
        imported = _curate(opened, work, seed, workers or 2 * (os.cpu_count() or 1))
        write_dataset(
            work, out, shard_size=shard_size, format=format, seed=seed, workers=workers,
            fetch=lambda stores, numbers, sizes: _fetch(opened, numbers),
        )  # fmt: skip
    return imported


def download(owner_name: str = KAGGLE) -> str:
    """Fetch the published archive through kagglehub, which keeps it in its own cache and resumes; return its folder.

    Raises
    ------
    UsageError
        If the extra `[kaggle]` is not installed.
    CytoImageNetError
        If Kaggle can't be reached or does not give it; says how to fetch it by hand.
    """
    try:
        import kagglehub
        from kagglehub import exceptions as refusals
    except ImportError as error:
        raise UsageError("kagglehub is not installed", next="Run: pip install 'cytoimagenet[kaggle]'") from error
    # OSError: no network, no room, and every answer of the server that is an error
    failures: tuple[type[Exception], ...] = (OSError, *filter(_is_error, vars(refusals).values()))
    try:
        return str(kagglehub.dataset_download(owner_name))
    except failures as error:
        raise CytoImageNetError(
            f"Kaggle did not give the archive: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where=f"https://www.kaggle.com/datasets/{owner_name}",
            next="Run it again to go on, or download the zip there by hand and give its name instead of --download",
        ) from error


def _is_error(kind: object) -> TypeGuard[type[Exception]]:
    return isinstance(kind, type) and issubclass(kind, Exception)


def _curate(opened: Archive, work: str, seed: int, workers: int) -> Imported:
    """Leave in `work` what a curation would; only the listing is in memory afterwards."""
    listing = opened.listing
    number = find_metadata(listing)
    table = read_metadata(listing, number)
    pa.default_memory_pool().release_unused()
    matched = match(listing, table, number)
    pa.default_memory_pool().release_unused()
    fingerprint = _claim(work, listing, len(table))
    checks = _check_all(opened, matched, work, fingerprint, workers)
    return _write_tables(work, listing, table, matched, checks, seed, fingerprint)


def _claim(work: str, listing: Listing, rows: int) -> str:
    """Take the working folder for this archive; return the archive's fingerprint."""
    about = os.stat(listing.path)
    seen = hashlib.sha256(f"{listing.is_zip} {rows} {about.st_size if listing.is_zip else 0}\n".encode())
    seen.update("\n".join(listing.names.to_pylist()).encode())
    for numbers in (listing.sizes, listing.starts, listing.checks):
        seen.update(numbers.tobytes())
    fingerprint = seen.hexdigest()
    resume.claim(
        work,
        "archive.txt",
        {"archive": fingerprint},
        what="This folder contains the checks of another archive",
        next="Remove it, or name another --out.",
        encode=lambda settings: settings["archive"].encode(),
        decode=lambda note: {"archive": note.decode()},
    )
    return fingerprint


def _fetch(opened: Archive, numbers: list[int]) -> list[bytes]:
    opened.announce(numbers)
    return [opened.read(number) for number in numbers]
