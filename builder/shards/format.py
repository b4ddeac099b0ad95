"""The two formats of a shard, tar and Parquet. Both contain the PNG bytes unchanged, at an offset that is recorded."""

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
from ..bounded_parquet import BoundedParquet
from ..dataset.columns import parquet_features

Row = dict[str, Any]
COLUMNS = ["key", *schema.ROW.names]
"""The columns of `<key>.json`."""
BYTES_PER_WRITE = 2**20  # of a tar shard, plus one image
IMAGES_PER_ROW_GROUP = 100  # a reader of a Parquet shard has this many in memory
PARQUET_PAGES: dict[str, Any] = {
    # a reader finds the page of a row without reading its row group
    "write_page_index": True,
    # A page ends where its content says, so that a new version of a dataset has the pages of the former one where the
    # images are the same, and the Hub stores them once. An image of 8 kB or more is a page of its own. With pyarrow's
    # bounds (256 kB, 1 MB) a page has several images, and images that were removed move the bounds of many pages:
    # benchmarks/chunks.py
    "use_content_defined_chunking": {"min_chunk_size": 4 << 10, "max_chunk_size": 8 << 10},
}


class Tally:
    """A file that counts and hashes all bytes written to it, and records where given byte strings begin.

    Attributes
    ----------
    bytes : int
        Number of bytes written.
    awaited : deque of bytes
        Byte strings that will be written, in this order.
    found : list of int
        Offset of each awaited byte string that has been written.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256 = file, hashlib.sha256()
        self.bytes = 0
        self.awaited: deque[bytes] = deque()
        self.found: list[int] = []
        self.closed = False  # pyarrow reads it

    def write(self, data: bytes) -> int:
        """Write, count and hash data, and look for the awaited byte strings in it."""
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
        """Return the number of bytes written."""
        return self.bytes

    def flush(self) -> None:
        """Do nothing: the caller that opened the underlying file flushes and syncs it."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    @property
    def sha256(self) -> str:
        """The sha256 of all bytes written, as hexadecimal digits."""
        return self._sha256.hexdigest()


def columns_of(version: str) -> list[str]:
    """Return the columns of `<key>.json` in a folder of a schema version.

    Examples
    --------
    >>> len(columns_of("1.0.0")), len(columns_of("2.0.0"))
    (30, 39)
    """
    return ["key", *schema.of_version(schema.ROW, version).names]


def write_tar(file: Tally, items: Iterable[tuple[Row, bytes]], index: dict[str, int]) -> list[int]:
    """Write `<key>.png`, `<key>.json`, `<key>.cls` for each item; return the offset of each PNG in bytes.

    The bytes depend on the items only, not on the clock, the user or the order of a folder.
    """
    offsets = []
    parts: list[bytes] = []  # not written yet: threads wait for each other less often with fewer, longer writes
    start, waiting = file.tell(), 0
    for row, png in items:
        offsets.append(start + waiting + tarfile.BLOCKSIZE)
        for extension, content in (("png", png), ("json", _row_as_json(row)), ("cls", b"%d" % index[row["label"]])):
            member = _member(f"{row['key']}.{extension}", content)
            waiting += sum(map(len, member))
            parts += member
        if waiting >= BYTES_PER_WRITE:
            start += file.write(b"".join(parts))
            parts, waiting = [], 0
    end = start + waiting + 2 * tarfile.BLOCKSIZE
    file.write(b"".join([*parts, bytes(2 * tarfile.BLOCKSIZE + -end % tarfile.RECORDSIZE)]))
    return offsets


def _member(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a member of a tar: header, content, padding to full blocks."""
    return header(name, len(content)), content, bytes(-len(content) % tarfile.BLOCKSIZE)


def header(name: str, size: int) -> bytes:
    """Return the tar header block of a member of that name and size; shards contain no other headers.

    Equal to what `tarfile` writes. Filling in a prepared block is faster: with `tarfile`, the three headers of an image
    took a third of the time.
    """
    text, digits = name.encode("ascii"), b"%011o" % size
    # only these differ from the prepared block, which has blanks in place of the checksum
    total = _SUM + sum(text) + sum(digits)
    return b"".join((text, _BLOCK[len(text) : 124], digits, _BLOCK[135:148], b"%06o\0 " % total, _BLOCK[156:]))


def _prepared_block() -> bytes:
    info = tarfile.TarInfo()
    info.mode = 0o644
    block = info.tobuf(tarfile.USTAR_FORMAT)
    return block[:148] + b" " * 8 + block[156:]


_BLOCK = _prepared_block()
_SUM = sum(_BLOCK[:124]) + sum(_BLOCK[135:])


def _row_as_json(row: Row) -> bytes:
    """Return the content of `<key>.json`: every column, in the order of the schema."""
    return _JSON.encode({name: row[name] for name in COLUMNS}).encode()


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def write_parquet(file: Tally, items: Iterable[tuple[Row, bytes]], index: dict[str, int]) -> list[int]:
    """Write the items as Parquet with embedded images; return the offset of each PNG in bytes.

    The image bytes are neither compressed (PNG already is) nor encoded, so each PNG can also be read by its offset.
    """
    kind = _parquet_schema(list(index))
    rest = [name for name in COLUMNS if name != "label"]
    with pq.ParquetWriter(
        file,
        kind,
        compression=dict.fromkeys(["label", *rest], "zstd") | {"image.bytes": "none", "image.path": "zstd"},
        use_dictionary=rest,
        write_statistics=["label", *rest],
        write_page_checksum=True,
        **PARQUET_PAGES,
    ) as writer:
        for batch in batched(items, IMAGES_PER_ROW_GROUP):
            file.awaited.extend(png for _, png in batch)
            images = [{"bytes": png, "path": f"{row['key']}.png"} for row, png in batch]
            columns = [
                pa.array(images, kind.field("image").type),
                pa.array([index[row["label"]] for row, _ in batch], pa.int64()),
                *(pa.array([row[name] for row, _ in batch], kind.field(name).type) for name in rest),
            ]
            writer.write_table(pa.table(columns, schema=kind))
    if file.awaited:
        raise AssertionError("Parquet did not write the image bytes unchanged")
    return file.found


def row_groups(file: IO[bytes], where: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet shard; `iter_batches` would keep the complete file in memory."""
    shard = BoundedParquet(file, where)
    for number in range(shard.row_groups):
        yield shard.read(columns, number)


def _parquet_schema(class_names: list[str]) -> pa.Schema:
    """Return the columns of a Parquet shard, with the names of the classes for `datasets`."""
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
