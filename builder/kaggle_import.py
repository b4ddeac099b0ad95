"""The published archive -> the dataset folder: PNG bytes unchanged, every image opened, everything counted.

The archive (some 56 GB on Kaggle) is read in place. Checks are kept in `<out>.import/`, a file for each few thousand
rows, and a killed run goes on from them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from . import schema, split, storage
from .archive import Archive, Listing, list_archive
from .archive_table import Matched, as_text, categories_of, find_metadata, match, read_metadata
from .duplicates import later_copies, pixel_digest
from .errors import CytoImageNetError, SettingsChangedError, UnreadableImageError, UsageError
from .naming import slugs
from .png import decode_png
from .progress import progress
from .shardformat import FORMATS, batched, is_grey_png
from .shards import SHARD_SIZE, write_dataset

PUBLISHED_IMAGES, PUBLISHED_CLASSES = 890_737, 894  # preprint, abstract
PUBLISHED_CATEGORIES = {
    "compound": 637, "phenotype": 93, "cell_type": 44, "gene": 43, "cell_visible": 38, "sirna": 36, "organism": 3,
}  # fmt: skip
"""Classes per category; preprint, figure 2."""

KAGGLE = "stanleyhua/cytoimagenet"
AT_ONCE = 4096  # rows checked between two notes: seconds of work
TOGETHER = 32  # rows a thread checks in one go
ROWS = 16_384  # rows written at a time
_CHECK = pa.schema([("reason", pa.string()), ("detail", pa.string()), ("width", pa.int64()), ("height", pa.int64()),
                    ("sha256", pa.binary(32))])  # fmt: skip

Checked = tuple[str, str, int, int, bytes]
"""Reason, detail, width, height, digest of the pixels: a row of _CHECK."""


@dataclass(frozen=True)
class Imported:
    """What an import found. `print` it.

    Attributes
    ----------
    rows : int
        Rows of metadata.csv.
    kept : int
        Images in the dataset.
    reasons : dict of str to int
        Rows and files left out, by reason; `renamed` ones are kept.
    categories : dict of str to int
        Classes per category.
    classes : int
    """

    rows: int
    kept: int
    classes: int
    reasons: dict[str, int] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.kept:,} images of {self.rows:,} rows kept, {self.classes:,} classes",
            f"published: {PUBLISHED_IMAGES:,} images, {PUBLISHED_CLASSES} classes; difference: "
            f"{self.kept - PUBLISHED_IMAGES:+,} images, {self.classes - PUBLISHED_CLASSES:+,} classes",
        ]
        lines += [f"  {reason}: {count:,}" for reason, count in sorted(self.reasons.items())]
        lines.append(f"{'category':<14}{'classes':>9}{'published':>11}{'difference':>12}")
        for category, published in PUBLISHED_CATEGORIES.items():
            here = self.categories.get(category, 0)
            lines.append(f"{category:<14}{here:>9,}{published:>11,}{here - published:>+12,}")
        return "\n".join(lines)


def import_archive(
    archive: str | PathLike[str],
    out: str | PathLike[str],
    *,
    seed: int = 0,
    shard_size: int = SHARD_SIZE,
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
    note = storage.join(work, "archive.txt")
    if storage.exists(note) and storage.read_bytes(note).decode() != fingerprint:
        raise SettingsChangedError(
            "This folder holds the checks of another archive", where=work, next="Remove it, or name another --out"
        )
    if os.path.isdir(work):
        storage.remove_temporaries(work)
    storage.write_atomic(note, fingerprint.encode())
    return fingerprint


def _check_all(opened: Archive, matched: Matched, work: str, fingerprint: str, workers: int) -> pa.Table:
    """Open every image of a row; what a former run has checked is taken from its notes."""
    parts = []

    def check_some(entries: list[int]) -> list[Checked]:
        opened.announce([entry for entry in entries if entry >= 0])
        return [_check(opened, entry) for entry in entries]

    with progress("open", len(matched.entry)) as bar, ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(matched.entry), AT_ONCE):
            note = storage.join(work, "checked", f"{start:09d}-{fingerprint[:16]}.parquet")
            entries = matched.entry[start : start + AT_ONCE].tolist()
            part = pq.read_table(note, schema=_CHECK) if storage.exists(note) else _CHECK.empty_table()
            if len(part) != len(entries):  # a former version may have noted another number at a time
                found = [one for some in pool.map(check_some, batched(entries, TOGETHER)) for one in some]
                part = pa.table([pa.array(c, f.type) for c, f in zip(zip(*found, strict=True), _CHECK, strict=True)],
                                schema=_CHECK)  # fmt: skip
                with storage.atomic_writer(note) as file:
                    pq.write_table(part, file, compression="zstd")
            parts.append(part)
            bar.advance(len(part), failed=pc.sum(pc.not_equal(part["reason"], "")).as_py() or 0)
    return pa.concat_tables(parts) if parts else _CHECK.empty_table()


def _fetch(opened: Archive, numbers: list[int]) -> list[bytes]:
    opened.announce(numbers)
    return [opened.read(number) for number in numbers]


def _check(opened: Archive, entry: int) -> Checked:
    """Open one image; return reason, detail, width, height, digest of its pixels."""
    if entry < 0:
        return "absent", "", 0, 0, bytes(32)
    try:
        content = opened.read(entry)
        image = decode_png(content)
    except UnreadableImageError as error:
        return "unreadable", error.reason, 0, 0, bytes(32)
    height, width = image.shape
    if not is_grey_png(content, width, height):
        return "unreadable", "not 8-bit greyscale", width, height, bytes(32)
    return "", "", width, height, bytes.fromhex(pixel_digest(image))


def _write_tables(
    work: str, listing: Listing, table: pa.Table, matched: Matched, checks: pa.Table, seed: int, fingerprint: str
) -> Imported:
    """Write rows.parquet, rejected.parquet and curated.json as a curation would."""
    reason = checks["reason"].to_numpy().copy()
    detail = checks["detail"].to_numpy().copy()
    reason[matched.twice], detail[matched.twice] = "duplicate", "an earlier row names the same file"
    for copy, first in _copies(checks["sha256"], np.flatnonzero(reason == "")):
        reason[copy], detail[copy] = "duplicate", f"same pixels as {table['filename'][first].as_py()}"
    kept = np.flatnonzero(reason == "")
    categories = categories_of(table)
    validation = _validation(table, kept, seed)
    pa.default_memory_pool().release_unused()
    with storage.atomic_writer(storage.join(work, "rows.parquet")) as file:
        with pq.ParquetWriter(file, schema.CURATED, compression="zstd") as writer:
            for batch in _rows(listing, table, matched, checks, categories, kept, validation):
                writer.write_table(batch)
    moved = np.flatnonzero(matched.moved & (reason == ""))
    notes = [(int(i), "renamed", f"kept; found as {listing.names[int(matched.entry[i])].as_py()}") for i in moved]
    notes += [(int(i), str(reason[i]), str(detail[i])) for i in np.flatnonzero(reason != "")]
    _write_rejected(work, listing, table, matched, notes)
    counted = Counter(why for _, why, _ in notes) + Counter(extra=len(matched.extra) + len(listing.refused))
    classes = sorted(pc.unique(as_text(table["label"]).take(pa.array(kept))).to_pylist())
    imported = Imported(
        len(table), len(kept), len(classes), dict(counted), dict(Counter(categories[label] for label in classes))
    )
    left_out = sum(count for why, count in counted.items() if why not in ("renamed", "extra"))
    assert imported.rows == imported.kept + left_out, "rows were lost between metadata.csv and the dataset"
    told = {
        "settings": {"imported": "published archive", "split": "by-image", "archive": fingerprint},
        "seed": seed,
        "counts": {"rows": imported.rows, "reasons": imported.reasons, "categories": imported.categories},
    }
    storage.write_atomic(storage.join(work, "curated.json"), json.dumps(told, indent=1).encode())
    return imported


def _copies(digests: pa.ChunkedArray, rows: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield each of some rows that shows the same as an earlier one, and that one."""
    codes = np.asarray(digests.take(pa.array(rows)).combine_chunks().dictionary_encode().indices)
    first = later_copies(codes, np.arange(len(rows)))
    for place in np.flatnonzero(first != np.arange(len(rows))):
        yield int(rows[place]), int(rows[first[place]])


def _validation(table: pa.Table, kept: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose the validation images by source image: crops of one source share its idx."""
    names = as_text(table["idx"].take(pa.array(kept)))
    if pc.any(pc.equal(names, "")).as_py():
        names = pc.if_else(pc.equal(names, ""), as_text(table["filename"].take(pa.array(kept))), names)
    _, labels = _sorted_codes(as_text(table["label"].take(pa.array(kept))))
    sources, groups = _sorted_codes(names)
    del names
    ranks = np.fromiter(
        (split.rank(name.as_py(), seed, "validation") for name in sources), dtype=np.uint64, count=len(sources)
    )
    del sources
    pa.default_memory_pool().release_unused()
    return split.validation_by_image(labels, groups, ranks)


def _sorted_codes(values: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the distinct texts, sorted, and which of them each value is: numpy's unique without an object a text."""
    distinct = pc.unique(values)
    distinct = distinct.take(pc.array_sort_indices(distinct))
    return distinct, np.asarray(pc.index_in(values, value_set=distinct)).astype(np.int64)


def _rows(
    listing: Listing, table: pa.Table, matched: Matched, checks: pa.Table, categories: dict[str, str],
    kept: NDArray[np.int64], validation: NDArray[np.bool_],
) -> Iterator[pa.Table]:  # fmt: skip
    """Yield the rows of the dataset, some at a time, in the columns of schema.CURATED."""
    from .sources.registry import SOURCES

    folders = slugs((category, label) for label, category in categories.items())
    licences = {source.dir_name: source.licence_label for source in SOURCES.values()}
    for start in range(0, len(kept), ROWS):
        rows = pa.array(kept[start : start + ROWS])
        part, check = table.take(rows), checks.take(rows)
        entries = matched.entry[kept[start : start + ROWS]]
        text = {name: as_text(part[name]) for name in part.column_names}
        labels, sources = text["label"].to_pylist(), text["dir_name"].to_pylist()
        width, height = check["width"].to_numpy(), check["height"].to_numpy()
        crop = np.array([value.strip().lower() in ("true", "1", "1.0") for value in text["crop"].to_pylist()])
        columns: dict[str, Any] = dict(text)
        columns |= {
            "category": [categories[label] for label in labels],
            "path": [f"/cytoimagenet/{folders[label]}" for label in labels],
            "crop": crop,
            "scaling": _numbers(text["scaling"], np.ones(len(rows))),
            "x_min": _numbers(text["x_min"], np.zeros(len(rows))).astype(np.int64),
            "y_min": _numbers(text["y_min"], np.zeros(len(rows))).astype(np.int64),
            "x_max": _numbers(text["x_max"], width).astype(np.int64),
            "y_max": _numbers(text["y_max"], height).astype(np.int64),
            "split": np.where(validation[start : start + ROWS], "validation", "train"),
            "width": width,
            "height": height,
            "channels": [""] * len(rows),  # the archive does not say which files were merged
            "stains": text["channels"],
            "sha256": [value.hex() for value in check["sha256"].to_pylist()],
            "licence": [licences.get(source, "unknown") for source in sources],
            "store": ["archive"] * len(rows),
            "store_offset": entries,  # the number of the file in the listing: bytes are fetched by it
            "store_size": listing.sizes[entries],
        }
        yield pa.table([pa.array(columns[f.name], f.type) for f in schema.CURATED], schema=schema.CURATED)


def _numbers(column: pa.Array, otherwise: NDArray) -> NDArray[np.float64]:
    """Read numbers, with a value for each that is none."""
    is_number = pc.match_substring_regex(column, r"^\s*-?\d+(\.\d*)?([eE][-+]?\d+)?\s*$")
    values = pc.cast(pc.utf8_trim_whitespace(pc.if_else(is_number, column, "0")), pa.float64()).to_numpy()
    return np.where(np.asarray(is_number), values, otherwise)


def _write_rejected(
    work: str, listing: Listing, table: pa.Table, matched: Matched, notes: list[tuple[int, str, str]]
) -> None:
    rows = pa.array([row for row, _, _ in notes], pa.int64())
    said = {name: as_text(table[name]).take(rows).to_pylist() for name in ("idx", "filename", "dir_name", "label")}
    others = [(listing.names[int(i)].as_py(), "no row of metadata.csv names it") for i in matched.extra]
    others += [(name, why) for name, why in sorted(listing.refused.items())]
    blank = [""] * len(others)
    columns = {
        "idx": said["idx"] + blank,
        "file": said["filename"] + [name for name, _ in others],
        "dir_name": said["dir_name"] + blank,
        "label": said["label"] + blank,
        "stage": ["import"] * (len(notes) + len(others)),
        "reason": [why for _, why, _ in notes] + ["extra"] * len(others),
        "detail": [more for _, _, more in notes] + [why for _, why in others],
    }
    written = pa.table([pa.array(columns[f.name], f.type) for f in schema.REJECTED], schema=schema.REJECTED)
    with storage.atomic_writer(storage.join(work, "rejected.parquet")) as file:
        pq.write_table(written, file, compression="zstd")
