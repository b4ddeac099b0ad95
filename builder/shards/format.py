"""The two forms of a shard, tar and Parquet. Both hold the PNG bytes as they are, and both tell where they lie."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from .. import schema

Row = dict[str, Any]
FORMATS = {"webdataset": "tar", "parquet": "parquet"}
COLUMNS = ["key", *schema.ROW.names]
"""The columns of `<key>.json`."""
ROW_GROUP = 100  # images: what a reader of the Parquet twin must take at once


class Tally:
    """Counts and hashes what is written through it, and finds given byte strings in it on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256 = file, hashlib.sha256()
        self.bytes = 0
        self.awaited: deque[bytes] = deque()
        self.found: list[int] = []
        self.closed = False

    def write(self, data: bytes) -> int:
        """Write, count, hash and look for what is awaited, in its order."""
        data = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        if self.awaited:
            text, start = bytes(data), 0
            while self.awaited and (at := text.find(self.awaited[0], start)) >= 0:
                self.found.append(self.bytes + at)
                start = at + len(self.awaited.popleft())
        self._file.write(data)
        self._sha256.update(data)
        self.bytes += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.bytes

    def flush(self) -> None:
        """Do nothing: the file below is flushed and synced by who opened it."""

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True

    def readable(self) -> bool:
        """Say that this can't be read."""
        return False

    def seekable(self) -> bool:
        """Say that this can't seek."""
        return False

    @property
    def sha256(self) -> str:
        """The hash of all that was written."""
        return self._sha256.hexdigest()


def write_tar(file: Tally, items: Iterable[tuple[Row, bytes]], index: dict[str, int]) -> list[int]:
    """Write `<key>.png`, `<key>.json`, `<key>.cls` for each item; return where each PNG begins.

    The bytes depend on the items alone: no clock, user, or order of a folder goes in.
    """
    offsets = []
    for row, png in items:
        offsets.append(file.tell() + tarfile.BLOCKSIZE)
        members = (("png", png), ("json", as_json(row)), ("cls", str(index[row["label"]]).encode()))
        parts = [part for extension, content in members for part in member(f"{row['key']}.{extension}", content)]
        file.write(b"".join(parts))
    end = file.tell() + 2 * tarfile.BLOCKSIZE
    file.write(bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE))
    return offsets


def member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a member of a tar: header, content, filling."""
    return header(name, len(content)), content, bytes(-len(content) % tarfile.BLOCKSIZE)


def header(name: str, size: int) -> bytes:
    """Return the one header block a member of that name and size has in our shards.

    What `tarfile` makes of them, filled into one prepared block: three headers an image were a third of the work.
    """
    text, digits = name.encode("ascii"), b"%011o" % size
    # only these differ from the prepared block, which holds blanks in the place of the sum
    total = _SUM + sum(text) + sum(digits)
    return b"".join((text, _BLOCK[len(text) : 124], digits, _BLOCK[135:148], b"%06o\0 " % total, _BLOCK[156:]))


def _prepared() -> bytes:
    info = tarfile.TarInfo()
    info.mode = 0o644
    block = info.tobuf(tarfile.USTAR_FORMAT)
    return block[:148] + b" " * 8 + block[156:]


_BLOCK = _prepared()
_SUM = sum(_BLOCK[:124]) + sum(_BLOCK[135:])


def as_json(row: Row) -> bytes:
    """Return what `<key>.json` holds: every column, in the order of the schema."""
    return _JSON.encode({name: row[name] for name in COLUMNS}).encode()


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_parquet(file: Tally, items: Iterable[tuple[Row, bytes]], index: dict[str, int]) -> list[int]:
    """Write the items as Parquet with embedded images; return where each PNG begins.

    The image bytes are neither compressed (PNG is) nor encoded, so a PNG can be read by its offset here too.
    """
    kind = parquet_schema(list(index))
    rest = [name for name in COLUMNS if name != "label"]
    with pq.ParquetWriter(
        file,
        kind,
        compression=dict.fromkeys(["label", *rest], "zstd") | {"image.bytes": "none", "image.path": "zstd"},
        use_dictionary=rest,
        write_statistics=["label", *rest],
        write_page_checksum=True,
    ) as writer:
        for batch in batched(items, ROW_GROUP):
            file.awaited.extend(png for _, png in batch)
            images = [{"bytes": png, "path": f"{row['key']}.png"} for row, png in batch]
            columns = [
                pa.array(images, kind.field("image").type),
                pa.array([index[row["label"]] for row, _ in batch], pa.int64()),
                *(pa.array([row[name] for row, _ in batch], kind.field(name).type) for name in rest),
            ]
            writer.write_table(pa.table(columns, schema=kind))
    if file.awaited:
        raise AssertionError("Parquet did not write the image bytes as they are")
    return file.found


def row_groups(file: IO[bytes], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a shard of the Parquet twin; `iter_batches` would hold the whole file."""
    shard = pq.ParquetFile(file)
    for number in range(shard.num_row_groups):
        yield shard.read_row_group(number, columns=columns)


def parquet_schema(class_names: list[str]) -> pa.Schema:
    """Return the columns of the Parquet twin, with the names of the classes for `datasets`."""
    from ..dataset.columns import parquet_features

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rest = [schema.METADATA.field(name).with_nullable(True) for name in COLUMNS if name != "label"]
    features = json.dumps({"info": {"features": parquet_features(class_names)}})
    return pa.schema([pa.field("image", image), pa.field("label", pa.int64()), *rest], {"huggingface": features})


WRITERS: dict[str, Callable[[Tally, Iterable[tuple[Row, bytes]], dict[str, int]], list[int]]] = {
    "webdataset": write_tar,
    "parquet": write_parquet,
}


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` items; the last may be shorter."""
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
