"""Opens every image of the archive once, and keeps the result of each."""

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

AT_ONCE = 4096  # rows checked between two notes: seconds of work


TOGETHER = 32  # rows a thread checks in one go


_CHECK = pa.schema([("reason", pa.string()), ("detail", pa.string()), ("width", pa.int64()), ("height", pa.int64()),
                    ("sha256", pa.binary(32))])  # fmt: skip


Checked = tuple[str, str, int, int, bytes]
"""Reason, detail, width, height, digest of the pixels: a row of _CHECK."""


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
                with storage.atomic_writer(note) as file, schema.writer(file, _CHECK) as writer:
                    writer.write_table(part)
            parts.append(part)
            bar.advance(len(part), failed=pc.sum(pc.not_equal(part["reason"], "")).as_py() or 0)
    return pa.concat_tables(parts) if parts else _CHECK.empty_table()


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
