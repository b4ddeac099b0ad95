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
from .manifest_form import check_form
from .names import CLASSES, METADATA, NAMES, PAGES, REJECTED
from .names import MANIFEST as NAME
from .not_a_dataset import why_not

TABLES = {METADATA: schema.METADATA, CLASSES: schema.CLASSES, REJECTED: schema.REJECTED}
MAX_MANIFEST_BYTES = 1 << 26  # of 100,000 shards and 100,000 classes: 30 MB
_OUTSIDE_THE_DIGEST = ("digest", "versions", "pages", "derived", "seal")


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
        check_form(data, where)
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
    check_form(data, join(root, NAME))
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
