"""`manifest.json`: what a dataset folder holds, to the byte. Written last, so that a folder that has one is whole.

The digest covers the data and how it was made: everything but itself, `versions` (the same data from another library
version is the same data) and `pages` (README and the like are made from this manifest and may be made anew). The seal
covers those as well, so that nothing in the file can change unseen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

import pandas as pd

from .. import schema
from ..errors import CheckFailedError, CytoImageNetError, SchemaError, UsageError
from ..storage import filesystem, is_local, join, read_bytes, write_atomic

NAME = "manifest.json"
FORMAT = "cytoimagenet"
METADATA, CLASSES, REJECTED = "metadata.parquet", "classes.parquet", "rejected.parquet"
TABLES = {METADATA: schema.METADATA, CLASSES: schema.CLASSES, REJECTED: schema.REJECTED}
PAGES = ("README.md", "croissant.json", "preview.png")
"""Files made from the manifest, for people and machines to read."""

_OUTSIDE_THE_DIGEST = ("digest", "versions", "pages", "seal")
_KINDS = {
    "format": str, "schema_version": str, "shard_format": str, "settings": dict, "seed": int, "versions": dict,
    "classes": list, "splits": dict, "files": dict, "counts": dict, "pages": dict, "digest": str, "seal": str,
}  # fmt: skip

_ENTRIES: dict[str, dict[str, type]] = {
    "classes": {"label": str, "category": str, "train": int, "validation": int},
    "splits": {"rows": int, "bytes": int, "shards": int},
    "files": {"rows": int, "bytes": int, "sha256": str},
    "pages": {"bytes": int, "sha256": str},
}


@dataclass(frozen=True)
class Manifest:
    """What a dataset folder holds.

    Parameters
    ----------
    root : str
        The dataset folder, a local path or a URL.
    data : mapping
        The content of `manifest.json`.

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
            If the folder has no manifest.
        SchemaError
            If the manifest is not one, or of a later kind.
        CheckFailedError
            If it was altered after it was written.
        CytoImageNetError
            If the storage it lies on can't be reached.
        """
        where = join(root, NAME)
        try:
            raw = read_bytes(where)
        except FileNotFoundError as error:
            raise UsageError(
                "This is no finished dataset folder: it has no manifest.json",
                where=str(root),
                next="Run the same `cytoimagenet build` or `shard` again to finish it, or name another folder",
            ) from error
        except CytoImageNetError:
            raise
        except Exception as error:  # each kind of storage has a client with errors of its own
            if is_local(root):
                raise
            raise CytoImageNetError(
                f"Can't be read: {(str(error).splitlines() or [type(error).__name__])[0]}",
                where=where,
                next="Is the address right, are you logged in, is the network there?",
            ) from error
        try:
            data = json.loads(raw)
        except ValueError as error:
            raise SchemaError(f"manifest.json is not JSON: {error}", where=where) from error
        _check_form(data, where)
        if digest(data) != data["digest"] or seal(data) != data["seal"] or rendered(data) != raw:
            raise CheckFailedError(
                "manifest.json was altered: its digest or seal does not fit",
                where=where,
                next="Fetch or build it again",
            )
        return cls(str(root), data)

    def __getattr__(self, name: str) -> Any:
        # settings, seed, versions, classes, splits, files, counts, pages, digest, shard_format, schema_version
        if name in _KINDS:
            return self.data[name]
        raise AttributeError(name)

    def __hash__(self) -> int:
        return hash(self.data["digest"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The labels, in index order."""
        return tuple(entry["label"] for entry in self.data["classes"])

    def shards(self, split: str) -> list[tuple[str, int, int, str]]:
        """Return `(path below the folder, rows, bytes, sha256)` of each shard of a split, in order.

        Raises
        ------
        UsageError
            If there is no such split.
        """
        if split not in self.data["splits"]:
            raise UsageError(f"No split {split!r}; there are {', '.join(self.data['splits'])}", where=self.root)
        return [
            (path, entry["rows"], entry["bytes"], entry["sha256"])
            for path, entry in sorted(self.data["files"].items())
            if path.startswith(f"data/{split}-")
        ]

    def rows(self, split: str) -> int:
        """Return how many images a split has; 0 for one that is not there."""
        return self.data["splits"].get(split, {}).get("rows", 0)

    def metadata(self, columns: list[str] | None = None) -> pd.DataFrame:
        """Read `metadata.parquet`: a row per image, with the place of its bytes."""
        return schema.read(join(self.root, METADATA), schema.METADATA, columns)

    def __repr__(self) -> str:
        from .describe import describe

        return describe(self)


def digest(data: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of a manifest, without what lies outside the digest."""
    return _sha256({name: value for name, value in data.items() if name not in _OUTSIDE_THE_DIGEST})


def seal(data: Mapping[str, Any]) -> str:
    """Return the sha256 of the canonical JSON of all of a manifest but the seal itself."""
    return _sha256({name: value for name, value in data.items() if name != "seal"})


def rendered(data: Mapping[str, Any]) -> bytes:
    """Return the bytes of `manifest.json`."""
    return (json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _sha256(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write(root: str | PathLike[str], data: dict[str, Any]) -> Manifest:
    """Write `manifest.json` with its digest and seal, whole or not at all."""
    data = {**data, "digest": digest(data)}
    data["seal"] = seal(data)
    _check_form(data, join(root, NAME))
    write_atomic(join(root, NAME), rendered(data))
    return Manifest(str(root), data)


def record_pages(manifest: Manifest) -> Manifest:
    """Take the present README, croissant and preview into the manifest; the digest stays as it is."""
    fs, inner = filesystem(manifest.root)
    pages = {}
    for name in PAGES:
        if fs.exists(join(inner, name)):
            content = read_bytes(join(manifest.root, name))
            pages[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return write(manifest.root, {**manifest.data, "pages": pages})


def _check_form(data: Any, where: str) -> None:
    """Refuse what is not a manifest before anything leans on it."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SchemaError("Not the manifest of a CytoImageNet dataset", where=where)
    wrong = [name for name, kind in _KINDS.items() if not isinstance(data.get(name), kind)]
    if wrong:
        raise SchemaError(f"Absent or of another type: {', '.join(wrong)}", where=where)
    if data["schema_version"].split(".")[0] != schema.VERSION.split(".")[0]:
        raise SchemaError(
            f"Written for schema {data['schema_version']}; this version reads {schema.VERSION}",
            where=where,
            next="Install the version of cytoimagenet that wrote it",
        )
    for part, kinds in _ENTRIES.items():
        entries = data[part] if isinstance(data[part], list) else data[part].values()
        for entry in entries:
            if not isinstance(entry, dict) or any(type(entry.get(name)) is not kind for name, kind in kinds.items()):
                raise SchemaError(f"An entry of {part} without {', '.join(kinds)}", where=where)
    for path, entry in {**data["files"], **data["pages"]}.items():
        parts = path.split("/")
        if path.startswith("/") or "\\" in path or ".." in parts or "" in parts or ":" in path or "\0" in path:
            raise SchemaError(f"File outside the dataset folder: {path!r}", where=where)
        if len(entry["sha256"]) != 64 or entry["bytes"] < 0 or entry.get("rows", 0) < 0:
            raise SchemaError(f"No size and sha256 for {path}", where=where)
