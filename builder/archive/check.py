"""Open every image of the archive once, and record the result of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .. import schema, storage
from ..images.isolated import each_image
from ..images.quality import Verdict
from ..progress import progress
from ..worker_processes import cores
from .files import Archive
from .metadata import Matched
from .open_image import CheckedImage, check_image

ROWS_PER_NOTE = 4096  # some seconds of work; a killed run loses no more
ROWS_PER_GROUP = 32  # sent to a worker together
WORKERS_THAT_WAIT = 2  # for the disk, while one per core computes

_CHECK = pa.schema([("reason", pa.string()), ("detail", pa.string()), ("width", pa.int64()), ("height", pa.int64()),
                    ("sha256", pa.binary(32))])  # fmt: skip
"""The columns of a `CheckedImage`."""


def check_images(
    archive: Archive, listing_file: str, matched: Matched, work: str, fingerprint: str, workers: int | None
) -> pa.Table:
    """Open the image of every row; results that a former run noted are used again.

    Images are opened in worker processes under `guard.ImageLimits`: an image that ends its process, or takes too long
    or too much memory, is a row with that reason.

    Parameters
    ----------
    archive : Archive
    listing_file : str
        From which the workers open the same archive; see `shared_listing`.
    matched : Matched
        The file of each row.
    work : str
        Folder for the notes, `checked/*.parquet`.
    fingerprint : str
        Of the archive; part of the notes' names.
    workers : int, optional
        Number of processes; by default one per core, and two more for a folder, whose files are not read in advance.

    Returns
    -------
    pyarrow.Table
        One row per row of metadata.csv: reason, detail, width, height, sha256 of the pixels.
    """
    blocks = []
    for start in range(0, len(matched.entry), ROWS_PER_NOTE):
        note = storage.join(work, "checked", f"{start:09d}-{fingerprint[:16]}.parquet")
        entries = matched.entry[start : start + ROWS_PER_NOTE]
        blocks.append((note, entries, _noted(note, len(entries))))
    missing = (entries.tolist() for _, entries, noted in blocks if noted is None)
    workers = workers or cores() + (0 if archive.listing.is_zip else WORKERS_THAT_WAIT)
    results = each_image(
        partial(check_image, listing_file), _announced(archive, missing), workers=workers, group=ROWS_PER_GROUP
    )
    parts = []
    with progress("open", len(matched.entry)) as bar, closing(results):
        for note, entries, noted in blocks:
            part = noted or _write_note(note, [_row(one) for one in islice(results, len(entries))])
            parts.append(part)
            bar.advance(len(part), failed=pc.sum(pc.not_equal(part["reason"], "")).as_py() or 0)
    return pa.concat_tables(parts) if parts else _CHECK.empty_table()


def _noted(note: str, rows: int) -> pa.Table | None:
    """Return the results in a note, unless it is absent or a former version noted another number of rows."""
    part = pq.read_table(note, schema=_CHECK) if storage.exists(note) else None
    return part if part is not None and len(part) == rows else None


def _write_note(note: str, results: Sequence[CheckedImage]) -> pa.Table:
    columns = zip(zip(*results, strict=True), _CHECK, strict=True)
    part = pa.table([pa.array(values, field.type) for values, field in columns], schema=_CHECK)
    with storage.atomic_writer(note) as file, schema.writer(file, _CHECK) as writer:
        writer.write_table(part)
    return part


def _announced(archive: Archive, blocks: Iterator[list[int]]) -> Iterator[int]:
    """Yield the entries of all blocks; the operating system reads them in advance, some at the same time."""
    for entries in blocks:
        for start in range(0, len(entries), ROWS_PER_GROUP):
            group = entries[start : start + ROWS_PER_GROUP]
            archive.announce([entry for entry in group if entry >= 0])
            yield from group


def _row(result: CheckedImage | Verdict) -> CheckedImage:
    return (*result, 0, 0, bytes(32)) if isinstance(result, Verdict) else result
