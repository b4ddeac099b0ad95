"""From the published archive to the dataset folder: list, match, check, write tables, write shards.

The archive (56 GB on Kaggle) is read without unpacking it, and its PNG bytes are copied unchanged. Results of the
checks are noted in `<out>.import/`, one file per few thousand rows; a killed run continues from them.
"""

from __future__ import annotations

import hashlib
import os
from functools import partial
from os import PathLike

import pyarrow as pa

from .. import resume, storage
from ..dataset.names import FORMATS
from ..defaults import SHARD_SIZE_BYTES
from ..errors import UsageError
from ..extras import require
from ..locks import only_run
from ..shards.write import write_dataset
from .check import check_images
from .files import Archive, Listing, list_archive
from .metadata import find_metadata, match, read_metadata
from .published import Imported
from .shared_listing import shared
from .tables import write_tables


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
        The zip file as downloaded, or the folder it was unpacked to.
    out : str or path
        The dataset folder to write, local or a URL. Results of the checks are noted in `<out>.import/` (in the working
        directory if `out` is remote), which may be removed afterwards.
    seed : int
        Random seed of the split and of the order of the images.
    shard_size, format
        As `write_dataset`.
    workers : int, optional
        Number of processes that open images, by default one per core (two more for a folder), and of threads that copy
        them, by default two per core, at most 8. The dataset does not depend on it.

    Returns
    -------
    Imported
        Numbers of images kept and left out, by reason, compared with the published numbers.

    Raises
    ------
    UsageError
        If there is no archive, it is incomplete, it has no metadata.csv, or another run is writing to `out`.
    MetadataError
        If metadata.csv does not have the published form.
    MissingPackageError
        If the extra `[build]` is not installed.
    SettingsChangedError
        If `out` has work of another archive or of other settings.

    Examples
    --------
    >>> print(import_archive("cytoimagenet.zip", "cytoimagenet"))  # doctest: +SKIP
    """
    require("jinja2")  # writes the dataset card, hours later
    if format not in FORMATS:  # reported now, not after hours of checks
        raise UsageError(f"No shard format {format!r}; there are {', '.join(FORMATS)}")
    listing = list_archive(archive)
    out = os.fspath(out).rstrip("/")
    work = f"{out if storage.is_local(out) else out.rsplit('/', 1)[-1]}.import"
    with only_run(work), shared(listing, work) as listing_file, Archive(listing) as archive_:
        imported = _write_curated(archive_, listing_file, work, seed, workers)
        write_dataset(
            work, out, shard_size=shard_size, format=format, seed=seed, workers=workers,
            fetch=partial(_read, archive_),
        )  # fmt: skip
    return imported


def _write_curated(archive: Archive, listing_file: str, work: str, seed: int, workers: int | None) -> Imported:
    """Write the tables of a curated folder to `work`. Afterwards only the archive's listing is left in memory."""
    listing = archive.listing
    metadata = find_metadata(listing)
    table = read_metadata(listing, metadata)
    pa.default_memory_pool().release_unused()
    matched = match(listing, table, metadata)
    pa.default_memory_pool().release_unused()
    fingerprint = _claim(work, listing, len(table))
    checks = check_images(archive, listing_file, matched, work, fingerprint, workers)
    return write_tables(work, listing, table, matched, checks, seed, fingerprint)


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


def _read(archive: Archive, stores: list[str], numbers: list[int], sizes: list[int]) -> list[bytes]:
    """Return the PNGs of some files, by their numbers in the listing; with `archive` filled in a `ranges.Fetch`."""
    archive.announce(numbers)
    return [archive.read(number) for number in numbers]
