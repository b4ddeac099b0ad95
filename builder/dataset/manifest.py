"""`manifest.json`: size and sha256 of every file of a dataset folder. Written last: a folder that has one is complete.

The digest covers the data and how it was produced: everything but itself, `versions` (the same data from another
library version is the same data), `pages` (README.md and the like are derived from the manifest and may be rewritten)
and `derived` (embeddings and the audit, computed from the finished images: they may be added later and say nothing
about how the images came about). The seal covers those as well, so that no change of the file goes unnoticed.

The keys are documented for users in docs/dataset.md.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, cast

import pandas as pd

from .. import schema
from ..errors import CheckFailedError, CytoImageNetError, SchemaError, UsageError
from ..storage import filesystem, is_local, join, read_bytes, sha256_of, size, write_atomic
from .describe import describe
from .names import CLASSES, FORMATS, METADATA, NAMES, PAGES, REJECTED, may_have
from .names import MANIFEST as NAME
from .not_a_dataset import why_not

FORMAT = "cytoimagenet"
TABLES = {METADATA: schema.METADATA, CLASSES: schema.CLASSES, REJECTED: schema.REJECTED}
LONGEST_SHOWN = 120  # characters of a name in an error
MAX_MANIFEST_BYTES = 1 << 26  # of 100,000 shards and 100,000 classes: 30 MB

MAX_NUMBER = 2**63
MAX_DEPTH = 32  # of lists and mappings in the manifest; ours has up to five
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character: JSON can contain it, UTF-8 can't
_OUTSIDE_THE_DIGEST = ("digest", "versions", "pages", "derived", "seal")
_KEY_TYPES = {
    "format": str, "schema_version": str, "shard_format": str, "settings": dict, "seed": int, "versions": dict,
    "classes": list, "splits": dict, "files": dict, "counts": dict, "pages": dict, "digest": str, "seal": str,
}  # fmt: skip

_ENTRY_TYPES: dict[str, dict[str, type]] = {
    "classes": {"label": str, "category": str, "train": int, "validation": int},
    "splits": {"rows": int, "bytes": int, "shards": int},
    "files": {"rows": int, "bytes": int, "sha256": str},
    "pages": {"bytes": int, "sha256": str},
    "derived": {"rows": int, "bytes": int, "sha256": str, "settings": dict},
}


@dataclass(frozen=True)
class Manifest:
    """The manifest of a dataset folder; its representation is what `cytoimagenet info` prints.

    Parameters
    ----------
    root : str
        The dataset folder, a local path or a URL.
    data : mapping
        The content of `manifest.json`, checked.

    Examples
    --------
    >>> manifest = Manifest.load("cytoimagenet")                      # doctest: +SKIP
    >>> manifest.class_names[:2], manifest.rows("train")              # doctest: +SKIP
    (('actin', 'human'), 801663)
    """

    root: str
    data: Mapping[str, Any]

    @classmethod
    def load(cls, root: str | PathLike[str]) -> Manifest:
        """Read the manifest of a dataset folder, local or remote.

        Raises
        ------
        UsageError
            If there is no such folder, or it has no manifest.
        SchemaError
            If the file is not a manifest, or was written for another schema version.
        CheckFailedError
            If it was altered after it was written.
        CytoImageNetError
            If the storage can't be reached.
        """
        where = join(root, NAME)
        try:
            raw = _read(where)
        except FileNotFoundError as error:
            raise why_not(root, NAME) from error
        except NotADirectoryError as error:
            raise why_not(root, NAME) from error
        except CytoImageNetError:
            raise
        except Exception as error:  # each kind of storage has a client with its own errors
            if is_local(root):
                raise
            raise CytoImageNetError(
                f"Can't be read: {(str(error).splitlines() or [type(error).__name__])[0]}",
                where=where,
                next="Check the address, your login and the network",
            ) from error
        try:
            data = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"manifest.json is not JSON: {error}", where=where) from error
        _check_form(data, where)
        if digest(data) != data["digest"] or seal(data) != data["seal"] or rendered(data) != raw:
            raise CheckFailedError(
                "manifest.json was altered: its digest or seal does not match its content",
                where=where,
                next="Download or build the folder again",
            )
        return cls(str(root), data)

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def schema_version(self) -> str:
        """Version of the columns, `major.minor.patch`."""
        return str(self.data["schema_version"])

    @property
    def shard_format(self) -> str:
        """`webdataset` (tar shards) or `parquet`."""
        return str(self.data["shard_format"])

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the curation or the import, and of the shards."""
        return cast("dict[str, Any]", self.data["settings"])

    @property
    def seed(self) -> int:
        """Random seed of the order of the images in the shards."""
        return int(self.data["seed"])

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that wrote the folder."""
        return cast("dict[str, str]", self.data["versions"])

    @property
    def classes(self) -> list[dict[str, Any]]:
        """Per class, in index order: `label`, `category`, number of images in `train` and in `validation`."""
        return cast("list[dict[str, Any]]", self.data["classes"])

    @property
    def splits(self) -> dict[str, dict[str, int]]:
        """Per split: number of images (`rows`), `bytes` and number of `shards`."""
        return cast("dict[str, dict[str, int]]", self.data["splits"])

    @property
    def files(self) -> dict[str, dict[str, Any]]:
        """Per data file: number of `rows`, `bytes` and `sha256`; the name is relative to the folder."""
        return cast("dict[str, dict[str, Any]]", self.data["files"])

    @property
    def counts(self) -> dict[str, Any]:
        """Numbers of images kept and left out, as the curation or the import reported them."""
        return cast("dict[str, Any]", self.data["counts"])

    @property
    def own_sources(self) -> dict[str, dict[str, str]]:
        """Facts about the user's own sources by folder name: name, database, licence, link, citation."""
        return self.data.get("own_sources", {})  # type: ignore[no-any-return]

    @property
    def pages(self) -> dict[str, dict[str, Any]]:
        """Per page (README.md and the like): `bytes` and `sha256`."""
        return cast("dict[str, dict[str, Any]]", self.data["pages"])

    @property
    def derived(self) -> dict[str, dict[str, Any]]:
        """Per file that was added later: `rows`, `bytes`, `sha256`, and the `settings` it was computed with."""
        return self.data.get("derived", {})  # type: ignore[no-any-return]

    @property
    def all_files(self) -> dict[str, dict[str, Any]]:
        """Every file of the folder but the manifest and its signature, with `bytes` and `sha256`."""
        return {name: entry for part in NAMES for name, entry in self.data.get(part, {}).items()}

    @property
    def digest(self) -> str:
        """The sha256 of the data and how it was produced; equal datasets have equal digests."""
        return str(self.data["digest"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels, in index order."""
        return tuple(entry["label"] for entry in self.classes)

    def shards(self, split: str) -> list[tuple[str, int, int, str]]:
        """Return `(path below the folder, rows, bytes, sha256)` of each shard of a split, in order.

        Raises
        ------
        UsageError
            If there is no such split.
        """
        if split not in self.splits:
            raise UsageError(f"No split {split!r}; there are {', '.join(self.splits)}", where=self.root)
        return [
            (path, entry["rows"], entry["bytes"], entry["sha256"])
            for path, entry in sorted(self.files.items())
            if path.startswith(f"data/{split}-")
        ]

    def rows(self, split: str) -> int:
        """Return the number of images of a split; 0 if there is no such split."""
        return self.splits.get(split, {}).get("rows", 0)

    def metadata(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Read `metadata.parquet`: one row per image, with the shard, offset and size of its PNG.

        Columns that a folder of an earlier schema version lacks are empty text, or null.
        """
        return schema.read(join(self.root, METADATA), schema.METADATA, columns)

    def describe(self, *, all_classes: bool = False) -> str:
        """Return a text about the folder: splits, categories, classes (the first dozen, or all), settings, digest."""
        return describe(self.root, self.data, all_classes=all_classes)

    def __repr__(self) -> str:
        return self.describe()


def digest(data: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of a manifest, without the keys that the digest does not cover."""
    return _sha256({name: value for name, value in data.items() if name not in _OUTSIDE_THE_DIGEST})


def seal(data: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of the complete manifest but the seal itself."""
    return _sha256({name: value for name, value in data.items() if name != "seal"})


def rendered(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of `manifest.json`."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _sha256(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(root: str | PathLike[str], data: dict[str, Any]) -> Manifest:
    """Write `manifest.json` with its digest and seal, completely or not at all."""
    data = {**data, "digest": digest(data)}
    data["seal"] = seal(data)
    _check_form(data, join(root, NAME))
    write_atomic(join(root, NAME), rendered(data))
    return Manifest(str(root), data)


def record_pages(manifest: Manifest) -> Manifest:
    """Record size and sha256 of the present pages (README.md and the like); the digest stays the same."""
    fs, inner = filesystem(manifest.root)
    pages = {}
    for name in PAGES:
        if fs.exists(join(inner, name)):
            content = read_bytes(join(manifest.root, name))
            pages[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return write(manifest.root, {**manifest.data, "pages": pages})


def record_derived(root: str | PathLike[str], name: str, *, rows: int, settings: Mapping[str, Any]) -> Manifest:
    """Record a file that was added to a finished folder; the digest stays the same.

    Parameters
    ----------
    root : str or path
        The dataset folder. Its manifest is read again, so that entries written in the meantime are kept.
    name : str
        Path below the folder; a name of `names.NAMES`.
    rows : int
        Rows of the table; 0 for a page.
    settings : mapping
        How it was computed, as JSON values.
    """
    manifest = Manifest.load(root)
    where = join(root, name)
    entry = {"rows": rows, "bytes": size(where), "sha256": sha256_of(where), "settings": dict(settings)}
    derived = {**manifest.derived, name: entry}
    return write(root, {**manifest.data, "derived": {key: derived[key] for key in sorted(derived)}})


def _read(where: str) -> bytes:
    """Read `manifest.json`; a pipe, a device or a file too large for a manifest is refused unread."""
    if is_local(where) and not stat.S_ISREG(os.stat(filesystem(where)[1]).st_mode):
        raise SchemaError("manifest.json is not a regular file", where=where)
    raw = read_bytes(where, 0, MAX_MANIFEST_BYTES + 1)
    if len(raw) > MAX_MANIFEST_BYTES:
        raise SchemaError(f"manifest.json is larger than {MAX_MANIFEST_BYTES:,} bytes", where=where)
    return raw


def _is_split_count(count: Any) -> bool:
    numbers = ("train", "validation", "unknown")
    return isinstance(count, dict) and all(type(count.get(name)) is int for name in numbers)


def _check_form(data: Any, where: str) -> None:
    """Refuse data that is not a manifest, before anything uses it."""
    _check_values(data, where)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SchemaError("This is not the manifest of a CytoImageNet dataset", where=where)
    wrong = [name for name, kind in _KEY_TYPES.items() if not isinstance(data.get(name), kind)]
    if wrong:
        raise SchemaError(f"Keys absent or of another type: {', '.join(wrong)}", where=where)
    own = data.get("own_sources", {})
    if not isinstance(own, dict) or not all(isinstance(facts, dict) for facts in own.values()):
        raise SchemaError("Keys absent or of another type: own_sources", where=where)
    if not all(isinstance(fact, str) for facts in own.values() for fact in facts.values()):
        raise SchemaError("An entry of 'own_sources' is not text", where=where)
    if data["schema_version"].split(".")[0] not in schema.READABLE:
        raise SchemaError(
            f"Written for schema {data['schema_version'][:LONGEST_SHOWN]}; this version reads {schema.VERSION} and "
            f"earlier ones",
            where=where,
            next="Install the version of cytoimagenet that wrote it",
        )
    split = data["counts"].get("split", {})
    if not isinstance(split, dict) or not all(_is_split_count(count) for count in split.values()):
        raise SchemaError("'split' of 'counts' is not numbers of train, validation and unknown", where=where)
    derived = data.get("derived", {})  # absent in folders of older versions, and where nothing was added
    if not isinstance(derived, dict):
        raise SchemaError("Keys absent or of another type: derived", where=where)
    for part, kinds in _ENTRY_TYPES.items():
        content = data.get(part, {})
        entries = content if isinstance(content, list) else content.values()
        for entry in entries:
            if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in kinds.items()):
                raise SchemaError(f"An entry of {part!r} lacks one of {', '.join(kinds)}", where=where)
    if data["shard_format"] not in FORMATS:
        raise SchemaError(f"No shard format {data['shard_format'][:LONGEST_SHOWN]!r}", where=where)
    listed = {part: data.get(part, {}) for part in NAMES}
    unknown = [n for part, entries in listed.items() for n in entries if not may_have(part, n, data["shard_format"])]
    if unknown:
        raise SchemaError(
            f"It names a file that a dataset folder does not have: {unknown[0][:LONGEST_SHOWN]!r}",
            where=where,
            next="Don't use this folder or repository: whoever wrote its manifest may want other files on your disk",
        )
    for path, entry in ((path, entry) for entries in listed.values() for path, entry in entries.items()):
        if len(entry["sha256"]) != 64 or entry["bytes"] < 0 or entry.get("rows", 0) < 0:
            raise SchemaError(f"No valid size and sha256 for {path}", where=where)


def _check_values(data: Any, where: str) -> None:
    """Refuse values that JSON can contain, but that can't be written again, or printed."""
    waiting = [(data, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, str):
            if not value.isascii() and _SURROGATE.search(value):
                raise SchemaError(f"A text of the manifest is not Unicode: {value[:40]!a}", where=where)
        elif isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:  # also NaN
            raise SchemaError("A number of the manifest is too large, or is no number", where=where)
        if depth > MAX_DEPTH:
            raise SchemaError(f"The manifest is nested more than {MAX_DEPTH} deep", where=where)
