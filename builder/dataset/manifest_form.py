"""The form of `manifest.json`: its keys, their types, its limits, and the file names it may contain."""

from __future__ import annotations

import re
from typing import Any

from .. import schema
from ..errors import SchemaError
from .names import FORMATS, NAMES, may_have

FORMAT = "cytoimagenet"
LONGEST_SHOWN = 120  # characters of a name in an error
MAX_NUMBER = 2**63
MAX_DEPTH = 32  # of lists and mappings in the manifest; ours has up to five
KEY_TYPES = {
    "format": str, "schema_version": str, "shard_format": str, "settings": dict, "seed": int, "versions": dict,
    "classes": list, "splits": dict, "files": dict, "counts": dict, "pages": dict, "digest": str, "seal": str,
}  # fmt: skip
ENTRY_TYPES: dict[str, dict[str, type]] = {
    "classes": {"label": str, "category": str, "train": int, "validation": int},
    "splits": {"rows": int, "bytes": int, "shards": int},
    "files": {"rows": int, "bytes": int, "sha256": str},
    "pages": {"bytes": int, "sha256": str},
    "derived": {"rows": int, "bytes": int, "sha256": str, "settings": dict},
}
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character: JSON can contain it, UTF-8 can't


def check_form(data: Any, where: str) -> None:
    """Refuse data that is not a manifest, before anything uses it."""
    _check_values(data, where)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise SchemaError("This is not the manifest of a CytoImageNet dataset", where=where)
    wrong = [name for name, kind in KEY_TYPES.items() if not isinstance(data.get(name), kind)]
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
    for part, kinds in ENTRY_TYPES.items():
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


def _is_split_count(count: Any) -> bool:
    numbers = ("train", "validation", "unknown")
    return isinstance(count, dict) and all(type(count.get(name)) is int for name in numbers)


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
