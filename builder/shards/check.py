"""Check one shard while reading it once: its sha256, its structure, and each image against its row."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import schema
from ..dataset.manifest import Manifest
from ..dataset.ranges import MAX_IMAGE_BYTES, in_order
from ..errors import SchemaError
from ..formats.grey_png import is_grey_png
from ..storage import filesystem, is_local, join
from .format import COLUMNS, columns_of, header, row_groups

KEY = re.compile(r"[0-9a-z_-]{1,95}")
MAX_MEMBER_BYTES = {"png": MAX_IMAGE_BYTES, "json": 1 << 20, "cls": 20}
MAX_PROBLEMS = 5  # reported of one shard
MAX_PROBLEM_LENGTH = 300  # characters of an unexpected one
EXTENSIONS = ("png", "json", "cls")
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character: JSON can contain it, UTF-8 can't
TYPES = {"string": str, "int64": int, "double": float, "bool": bool}
COLUMN_TYPES = {name: TYPES[str(schema.METADATA.field(name).type)] for name in COLUMNS}
NULLABLE = {name for name in COLUMNS if schema.METADATA.field(name).nullable}


@dataclass
class CheckedShard:
    """The content of one shard and its problems.

    Attributes
    ----------
    problems : list of str
        One sentence each, at most `MAX_PROBLEMS`.
    bytes : int
        Number of bytes read.
    keys, sources : uint64 array
        64-bit hashes of the images' keys and of their source files: eight bytes each, however many images there are.
    counts : Counter of (label, split)
        Number of images.
    """

    problems: list[str] = field(default_factory=list)
    bytes: int = 0
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    sources: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


class _DamageError(Exception):
    """The rest of this shard can't be interpreted."""


class _HashingReader:
    """Reads a file once from its beginning, and hashes all bytes; `at` is the number of bytes read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256, self.at = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        parts, left = [], size
        while left and (part := self._file.read(left)):  # a network stream may return fewer bytes
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self._sha256.update(data)
        self.at += len(data)
        if left:
            raise _DamageError(f"it ends at byte {self.at:,}, in the middle of a member")
        return data

    def finish(self) -> str:
        """Read to the end; return the sha256 of the complete file."""
        while data := self._file.read(1 << 20):
            self._sha256.update(data)
            self.at += len(data)
        return self._sha256.hexdigest()


def check_shard(manifest: Manifest, name: str, rows: pa.Table | None) -> CheckedShard:
    """Check one shard.

    Parameters
    ----------
    manifest : Manifest
        Of the dataset folder.
    name : str
        Path of the shard below the dataset folder.
    rows : pyarrow.Table, optional
        Its rows of `metadata.parquet`, in order; shards of the split `sample` have none.
    """
    checked = CheckedShard()
    entry = manifest.files[name]
    split = name.removeprefix("data/").split("-", 1)[0]
    expected = None if rows is None else rows.to_pylist()
    index = {label: number for number, label in enumerate(manifest.class_names)}
    columns = columns_of(manifest.schema_version)
    found: list[dict[str, Any]] = []
    try:
        if manifest.shard_format == "parquet":
            with on_disk(manifest.root, name) as path, open(path, "rb") as raw:
                digest = _compare_hash(_HashingReader(raw), entry, checked)
                if digest == entry["sha256"]:
                    try:
                        _check_parquet(raw, name, columns, index, expected, found, checked)
                    except (_DamageError, SchemaError) as error:
                        checked.problems.append(f"not a Parquet file as `shard` writes it: {error}")
        else:
            with in_order(join(manifest.root, name)) as raw:
                file = _HashingReader(raw)
                try:
                    _check_tar(file, entry["rows"], entry["bytes"], columns, index, expected, found, checked)
                except _DamageError as error:
                    checked.problems.append(str(error))
                _compare_hash(file, entry, checked)
    except OSError as error:
        checked.problems.append(f"can't be read: {error}")
    except Exception as error:  # whatever a hostile shard makes a library raise is a problem of this shard
        checked.problems.append(f"can't be read: {type(error).__name__}: {error}"[:MAX_PROBLEM_LENGTH])
    if not checked.problems and len(found) != entry["rows"]:
        checked.problems.append(f"{len(found):,} images; the manifest records {entry['rows']:,}")
    if expected is not None and not checked.problems and len(expected) != len(found):
        checked.problems.append(f"{len(found):,} images; metadata.parquet has {len(expected):,}")
    if split == "sample":
        wrong = sum(row["split"] != "train" for row in found)
        if wrong:
            checked.problems.append(f"{wrong:,} images of the sample are not from train")
    else:
        wrong = sum(row["split"] != split for row in found)
        if wrong:
            checked.problems.append(f"{wrong:,} images belong to another split")
        checked.counts.update((row["label"], row["split"]) for row in found)
    checked.keys = _hashes([row["key"] for row in found])
    files = {file.split("#", 1)[0] for row in found for file in (row["channels"] or row["idx"]).split("|")}
    checked.sources = _hashes(sorted(files))
    del checked.problems[MAX_PROBLEMS:]
    return checked


@contextmanager
def on_disk(root: str, name: str) -> Iterator[str]:
    """Give a local path of a file of a dataset folder; a remote file is downloaded and removed afterwards."""
    fs, inner = filesystem(join(root, name))
    if is_local(root):
        yield inner
        return
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-verify-") as folder:
        fs.get_file(inner, f"{folder}/file")
        yield f"{folder}/file"


def _compare_hash(file: _HashingReader, entry: dict[str, Any], checked: CheckedShard) -> str:
    """Read a file to its end, compare its sha256 with that of the manifest, and return it."""
    digest = file.finish()
    checked.bytes = file.at
    if digest != entry["sha256"]:
        checked.problems.insert(0, "sha256 differs, the file was damaged or altered")
    return digest


def _check_tar(
    file: _HashingReader,
    rows: int,
    total: int,
    columns: list[str],
    index: dict[str, int],
    expected: list[dict[str, Any]] | None,
    found: list[dict[str, Any]],
    checked: CheckedShard,
) -> None:
    """Read `rows` images of three members each, then the end of a file of `total` bytes; append the rows to `found`."""
    for number in range(rows):
        start = file.at
        members: dict[str, bytes] = {}
        key = None
        for extension in EXTENSIONS:
            name, size = _next_member(file)
            stem, _, ending = name.partition(".")
            if ending != extension or not KEY.fullmatch(stem) or (key is not None and stem != key):
                required = f"{key or '<key>'}.{extension}"
                raise _DamageError(f"member {name[:120]!r} at byte {start:,}, where {required} must be")
            if size > MAX_MEMBER_BYTES[extension]:
                raise _DamageError(f"the header of {name} gives it {size:,} bytes")
            key, members[extension] = stem, file.read(size)
            if file.read(-size % tarfile.BLOCKSIZE).strip(b"\0"):
                raise _DamageError(f"bytes are hidden after {name}")
        row = _parse(members["json"], str(key), columns)
        place = {"offset": start + tarfile.BLOCKSIZE, "size": len(members["png"])}
        expected_row = None if expected is None or number >= len(expected) else expected[number]
        if members["cls"] != str(index.get(row["label"], -1)).encode():
            checked.problems.append(f"{key}.cls is not the number of its class")
        _check_image(row, members["png"], place, expected_row, checked)
        found.append(row)
    end = file.read(2 * tarfile.BLOCKSIZE)
    if end.strip(b"\0"):
        raise _DamageError(f"it contains more than the {rows:,} images of the manifest")
    if file.read(-file.at % tarfile.RECORDSIZE).strip(b"\0") or file.at != total:
        raise _DamageError("bytes are hidden after its end")


def _next_member(file: _HashingReader) -> tuple[str, int]:
    """Read one header, which must equal the block that `format.header` writes for that name and size."""
    at, block = file.at, file.read(tarfile.BLOCKSIZE)
    try:
        name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
        plain = header(name, size) == block if name else False
    except ValueError:
        raise _DamageError(f"there is no member of a shard at byte {at:,}") from None
    if not plain:
        raise _DamageError(f"{name[:120]!r} at byte {at:,} is not a plain file as `shard` writes it")
    return name, size


def _parse(content: bytes, key: str, columns: list[str]) -> dict[str, Any]:
    """Return the row of `<key>.json`, its columns and types checked."""
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _DamageError(f"{key}.json is not JSON: {error}") from None
    if not isinstance(row, dict) or list(row) != columns:
        raise _DamageError(f"the columns of {key}.json are not those of the schema")
    _check_types(row, f"{key}.json")
    if row["key"] != key:
        raise _DamageError(f"{key}.json has the key {row['key'][:120]!r}")
    return row


def _check_types(row: dict[str, Any], where: str) -> None:
    """Raise an error unless every column of a row has the type of the schema, and its texts can be written."""
    for name, value in row.items():
        kind = COLUMN_TYPES[name]
        if type(value) is not kind and not (value is None and name in NULLABLE):
            raise _DamageError(f"{where}: {name} is not of type {kind.__name__}")
        if isinstance(value, str) and not value.isascii() and SURROGATE.search(value):
            raise _DamageError(f"{where}: {name} is not text")


def _check_image(
    row: dict[str, Any], png: bytes, place: dict[str, int], expected: dict[str, Any] | None, checked: CheckedShard
) -> None:
    """Compare an image with its row, and the row with `metadata.parquet`."""
    if not is_grey_png(png, row["width"], row["height"]):
        checked.problems.append(f"{row['key']}.png is not a {row['width']}x{row['height']} 8-bit grey PNG")
    if expected is not None:
        differing = [name for name in row if row[name] != expected[name]]
        differing += [name for name, value in place.items() if value != expected[name]]
        if differing:
            checked.problems.append(f"{row['key']}: metadata.parquet differs in {', '.join(differing[:3])}")


def _check_parquet(
    file: IO[bytes],
    name: str,
    columns: list[str],
    index: dict[str, int],
    expected: list[dict[str, Any]] | None,
    found: list[dict[str, Any]],
    checked: CheckedShard,
) -> None:
    """Check a Parquet shard: its rows, and the raw bytes of each PNG at the offset that `metadata.parquet` names."""
    names = list(index)
    for rows in row_groups(file, name):
        absent = {"image", "label", *columns}.difference(rows.column_names)
        if absent:
            raise _DamageError(f"no column {min(absent)}")
        for cells in rows.to_pylist():
            number = cells.pop("label")
            label = names[number] if type(number) is int and 0 <= number < len(names) else ""
            row = {name: label if name == "label" else cells[name] for name in columns}
            where = f"image {len(found):,}"
            _check_types(row, where)
            image = cells["image"]
            png = image.get("bytes") if isinstance(image, dict) else None
            if not isinstance(png, bytes):
                raise _DamageError(f"{where} has no bytes")
            expected_row = None if expected is None or len(found) >= len(expected) else expected[len(found)]
            place = {"size": len(png)}
            if expected_row is not None and not _has_at(file, png, expected_row):
                checked.problems.append(f"{row['key']}: not at the offset that metadata.parquet names")
            _check_image(row, png, place, expected_row, checked)
            found.append(row)


def _has_at(file: IO[bytes], png: bytes, expected: dict[str, Any]) -> bool:
    """Return whether a file contains the bytes of a PNG at the offset of its row."""
    if expected["size"] != len(png) or not 0 <= expected["offset"] < 2**63:
        return False
    file.seek(expected["offset"])
    return file.read(len(png)) == png


def _hashes(texts: list[str]) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each text."""
    joined = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(joined, np.uint64)
