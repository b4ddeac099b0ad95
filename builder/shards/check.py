"""One shard, read once: its hash, its structure, and each image against its row."""

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
from ..dataset.ranges import in_order
from ..formats.grey_png import is_grey_png
from ..storage import filesystem, is_local, join
from .format import COLUMNS, header, row_groups

KEY = re.compile(r"[0-9a-z_-]{1,95}")
MOST = {"png": 1 << 28, "json": 1 << 20, "cls": 20}  # bytes of a member; the PNG bound is beyond any crop
SHOWN = 5  # problems of one shard
EXTENSIONS = ("png", "json", "cls")
TYPES = {"string": str, "int64": int, "double": float, "bool": bool}
COLUMN_TYPES = {name: TYPES[str(schema.METADATA.field(name).type)] for name in COLUMNS}


@dataclass
class Checked:
    """What one shard holds and what is wrong with it. Keys and sources are kept as 64-bit hashes, eight bytes each."""

    problems: list[str] = field(default_factory=list)
    bytes: int = 0
    keys: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    sources: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)


class _DamageError(Exception):
    """What follows in this shard can't be made sense of."""


class _Hashing:
    """Reads a file through once, hashing."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._sha256, self.at = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        """Read exactly `size` bytes."""
        parts, left = [], size
        while left and (part := self._file.read(left)):  # a stream over the network gives what has come so far
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self._sha256.update(data)
        self.at += len(data)
        if left:
            raise _DamageError(f"ends at byte {self.at:,}, in the middle of a member")
        return data

    def finish(self) -> str:
        """Read to the end; return the hash of all."""
        while data := self._file.read(1 << 20):
            self._sha256.update(data)
            self.at += len(data)
        return self._sha256.hexdigest()


def check_shard(manifest: Manifest, name: str, rows: pa.Table | None) -> Checked:
    """Check one shard.

    Parameters
    ----------
    manifest : Manifest
        What it should be.
    name : str
        The shard, below the dataset folder.
    rows : pyarrow.Table, optional
        Its rows of `metadata.parquet`, in order; the sample has none.
    """
    checked = Checked()
    entry = manifest.files[name]
    split = name.removeprefix("data/").split("-", 1)[0]
    expected = None if rows is None else rows.to_pylist()
    index = {label: number for number, label in enumerate(manifest.class_names)}
    found: list[dict[str, Any]] = []
    try:
        if manifest.shard_format == "parquet":
            with on_disk(manifest.root, name) as path, open(path, "rb") as raw:
                digest = _finish(_Hashing(raw), entry, checked)
                if digest == entry["sha256"]:
                    _check_parquet(raw, index, expected, found, checked)
        else:
            with in_order(join(manifest.root, name)) as raw:
                file = _Hashing(raw)
                try:
                    _check_tar(file, entry["rows"], index, expected, found, checked)
                except _DamageError as error:
                    checked.problems.append(str(error))
                _finish(file, entry, checked)
    except OSError as error:
        checked.problems.append(f"can't be read: {error}")
    if not checked.problems and len(found) != entry["rows"]:
        checked.problems.append(f"{len(found):,} images where the manifest says {entry['rows']:,}")
    if expected is not None and not checked.problems and len(expected) != len(found):
        checked.problems.append(f"{len(found):,} images where metadata.parquet has {len(expected):,}")
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
    del checked.problems[SHOWN:]
    return checked


@contextmanager
def on_disk(root: str, name: str) -> Iterator[str]:
    """Give the local path of a file of a dataset folder; one that lies elsewhere is fetched for as long as needed."""
    fs, inner = filesystem(join(root, name))
    if is_local(root):
        yield inner
        return
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-verify-") as folder:
        fs.get_file(inner, f"{folder}/file")
        yield f"{folder}/file"


def _finish(file: _Hashing, entry: dict[str, Any], checked: Checked) -> str:
    """Read a file to its end and compare its hash."""
    digest = file.finish()
    checked.bytes = file.at
    if digest != entry["sha256"]:
        checked.problems.insert(0, "sha256 differs, the file was damaged or altered")
    return digest


def _check_tar(
    file: _Hashing,
    rows: int,
    index: dict[str, int],
    expected: list[dict[str, Any]] | None,
    found: list[dict[str, Any]],
    checked: Checked,
) -> None:
    """Read `rows` images of three members each, then the end of the archive."""
    for number in range(rows):
        start = file.at
        members: dict[str, bytes] = {}
        key = None
        for extension in EXTENSIONS:
            name, size = _next_member(file)
            stem, _, ending = name.partition(".")
            if ending != extension or not KEY.fullmatch(stem) or (key is not None and stem != key):
                wanted = f"{key or '<key>'}.{extension}"
                raise _DamageError(f"member {name[:120]!r} at byte {start:,} where {wanted} must be")
            if size > MOST[extension]:
                raise _DamageError(f"{name} is said to have {size:,} bytes")
            key, members[extension] = stem, file.read(size)
            if file.read(-size % tarfile.BLOCKSIZE).strip(b"\0"):
                raise _DamageError(f"something is hidden behind {name}")
        row = _parse(members["json"], str(key))
        place = {"offset": start + tarfile.BLOCKSIZE, "size": len(members["png"])}
        wanted_row = None if expected is None or number >= len(expected) else expected[number]
        if members["cls"] != str(index.get(row["label"], -1)).encode():
            checked.problems.append(f"{key}.cls is not the number of its class")
        _check_image(row, members["png"], place, wanted_row, checked)
        found.append(row)
    end = file.read(2 * tarfile.BLOCKSIZE)
    if end.strip(b"\0"):
        raise _DamageError(f"holds more than the {rows:,} images of the manifest")


def _next_member(file: _Hashing) -> tuple[str, int]:
    """Read one header, which must be the very block the sharder writes for that name and size."""
    at, block = file.at, file.read(tarfile.BLOCKSIZE)
    try:
        name, size = block[:100].rstrip(b"\0").decode("ascii"), int(block[124:135], 8)
        plain = header(name, size) == block if name else False
    except ValueError:
        raise _DamageError(f"no member of a shard at byte {at:,}") from None
    if not plain:
        raise _DamageError(f"{name[:120]!r} at byte {at:,} is no plain file as the sharder writes it")
    return name, size


def _parse(content: bytes, key: str) -> dict[str, Any]:
    """Return the row of `<key>.json`, its columns and types checked."""
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _DamageError(f"{key}.json is not JSON: {error}") from None
    if not isinstance(row, dict) or list(row) != COLUMNS:
        raise _DamageError(f"{key}.json has other columns than the schema")
    wrong = [name for name, kind in COLUMN_TYPES.items() if type(row[name]) is not kind]
    if wrong:
        raise _DamageError(f"{key}.json: {wrong[0]} is no {COLUMN_TYPES[wrong[0]].__name__}")
    if row["key"] != key:
        raise _DamageError(f"{key}.json speaks of {row['key'][:120]!r}")
    return row


def _check_image(
    row: dict[str, Any], png: bytes, place: dict[str, int], expected: dict[str, Any] | None, checked: Checked
) -> None:
    """Check an image and its row against each other and against `metadata.parquet`."""
    if not is_grey_png(png, row["width"], row["height"]):
        checked.problems.append(f"{row['key']}.png is no {row['width']}x{row['height']} 8-bit grey PNG")
    if expected is not None:
        differing = [name for name in COLUMNS if row[name] != expected[name]]
        differing += [name for name, value in place.items() if value != expected[name]]
        if differing:
            checked.problems.append(f"{row['key']}: metadata.parquet says otherwise of {', '.join(differing[:3])}")


def _check_parquet(
    file: IO[bytes],
    index: dict[str, int],
    expected: list[dict[str, Any]] | None,
    found: list[dict[str, Any]],
    checked: Checked,
) -> None:
    """Read a shard of the Parquet twin, and see that each PNG lies raw where `metadata.parquet` says."""
    names = list(index)
    try:
        for rows in row_groups(file):
            for given in rows.to_pylist():
                png = given.pop("image")["bytes"]
                number = given.pop("label")
                label = names[number] if 0 <= number < len(names) else ""
                row = {name: label if name == "label" else given.get(name) for name in COLUMNS}
                wanted = None if expected is None or len(found) >= len(expected) else expected[len(found)]
                place = {"size": len(png)}
                if wanted is not None:
                    file.seek(wanted["offset"])
                    if file.read(wanted["size"]) != png:
                        checked.problems.append(f"{row['key']}: not at the offset that metadata.parquet names")
                _check_image(row, png, place, wanted, checked)
                found.append(row)
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        checked.problems.append(f"not the Parquet that the sharder writes: {error}")


def _hashes(texts: list[str]) -> NDArray[np.uint64]:
    joined = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(joined, np.uint64)
