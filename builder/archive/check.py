"""Open every image of the archive once, and record the result of each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .. import schema, storage
from ..errors import UnreadableImageError
from ..formats.grey_png import decode_png, is_grey_png
from ..images.digest import pixel_digest
from ..progress import progress
from ..shards.format import batched
from .files import Archive
from .metadata import Matched

ROWS_PER_NOTE = 4096  # some seconds of work; a killed run loses no more
ROWS_PER_THREAD = 32  # a thread requests and checks this many images together

CheckedImage = tuple[str, str, int, int, bytes]
"""Result of one row: reason (empty if the image is good), detail, width, height, digest of the pixels."""

_CHECK = pa.schema([("reason", pa.string()), ("detail", pa.string()), ("width", pa.int64()), ("height", pa.int64()),
                    ("sha256", pa.binary(32))])  # fmt: skip
"""The columns of a `CheckedImage`."""


def check_images(opened: Archive, matched: Matched, work: str, fingerprint: str, workers: int) -> pa.Table:
    """Open the image of every row; results that a former run noted are used again.

    Parameters
    ----------
    opened : Archive
    matched : Matched
        The file of each row.
    work : str
        Folder for the notes, `checked/*.parquet`.
    fingerprint : str
        Of the archive; part of the notes' names.
    workers : int
        Number of threads.

    Returns
    -------
    pyarrow.Table
        One row per row of metadata.csv: reason, detail, width, height, sha256 of the pixels.
    """
    parts = []

    def check_some(entries: list[int]) -> list[CheckedImage]:
        opened.announce([entry for entry in entries if entry >= 0])
        return [_check(opened, entry) for entry in entries]

    with progress("open", len(matched.entry)) as bar, ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(matched.entry), ROWS_PER_NOTE):
            note = storage.join(work, "checked", f"{start:09d}-{fingerprint[:16]}.parquet")
            entries = matched.entry[start : start + ROWS_PER_NOTE].tolist()
            part = pq.read_table(note, schema=_CHECK) if storage.exists(note) else _CHECK.empty_table()
            if len(part) != len(entries):  # a former version may have noted another number of rows
                results = [one for some in pool.map(check_some, batched(entries, ROWS_PER_THREAD)) for one in some]
                columns = zip(zip(*results, strict=True), _CHECK, strict=True)
                part = pa.table([pa.array(values, field.type) for values, field in columns], schema=_CHECK)
                with storage.atomic_writer(note) as file, schema.writer(file, _CHECK) as writer:
                    writer.write_table(part)
            parts.append(part)
            bar.advance(len(part), failed=pc.sum(pc.not_equal(part["reason"], "")).as_py() or 0)
    return pa.concat_tables(parts) if parts else _CHECK.empty_table()


def _check(opened: Archive, entry: int) -> CheckedImage:
    """Open one image; `entry` is -1 for a row without a file."""
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
