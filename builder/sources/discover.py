"""Which sources are in RAW: folders of the 40, and users' own folders and zips with an image table."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from ..errors import UnreadableImageError, UsageError
from ..image_table.root import TABLE_NAMES, Root
from ..storage import filesystem, is_local, join
from . import registry, source_yaml
from .record import Source

IMAGES_CSV = TABLE_NAMES[0]
OWN_NEXT = f"A folder of your own needs {IMAGES_CSV}; `cytoimagenet sources` lists the 40 that need none."


class Found(NamedTuple):
    """A source in RAW.

    Parameters
    ----------
    dir_name : str
        Name of its folder, or of its zip without the suffix.
    root : Root
        The folder or zip.
    record : Source, optional
        Its record, if it is one of the 40.
    table : str
        Otherwise the image table, relative to `root`.
    """

    dir_name: str
    root: Root
    record: Source | None = None
    table: str = ""


def find_sources(raw: str) -> tuple[list[Found], dict[str, str]]:
    """Return the sources in RAW by name, and what is left out with the reason.

    A folder that contains an image table is the user's own source, also if it is named like one of the 40.

    Parameters
    ----------
    raw : str
        Folder with one folder or zip per source, local or a URL.

    Raises
    ------
    UsageError
        If there is no such folder, or a folder contains several image tables.
    """
    fs, inner = filesystem(raw)
    if not fs.isdir(inner):
        raise UsageError("No such folder", where=raw, next="Name the folder that has one folder per source.")
    top = inner if is_local(raw) else raw
    entries = {str(path).rstrip("/").rsplit("/", 1)[-1]: path for path in fs.ls(inner, detail=False)}
    found: list[Found] = []
    left_out: dict[str, str] = {}
    for name in sorted(name for name in entries if not name.startswith(".")):
        is_folder = fs.isdir(entries[name])
        if not is_folder and not name.lower().endswith(".zip"):
            continue
        one = _folder(join(top, name), name) if is_folder else _zip(join(top, name), name)
        if isinstance(one, str):
            left_out[name] = one
        elif any(one.dir_name == other.dir_name for other in found):
            left_out[name] = f"the folder {one.dir_name} is read instead"
        else:
            found.append(one)
    return sorted(found, key=lambda one: one.dir_name), left_out


def choose(raw: str, names: Iterable[str] | None) -> tuple[list[Found], dict[str, str]]:
    """Return the sources of RAW to read: all, or those called `names`; and what is left out with the reason.

    Raises
    ------
    UsageError
        As `find_sources`; or if there is no source, or none of this name.
    """
    found, left_out = find_sources(raw)
    if names is not None:
        own = {one.dir_name: one for one in found}
        requested = list(dict.fromkeys(names))
        for name in requested:
            if name not in own and name not in registry.SOURCES:
                _refuse_name(name, list(own), left_out)
        absent = [name for name in sorted(requested) if name not in own]
        if absent:
            folders = ", ".join([*own, *left_out]) or "none"
            raise UsageError(f"No folder {', '.join(absent)}", where=raw, next=f"Its folders: {folders}")
        return [one for one in found if one.dir_name in requested], {}
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "it is empty"
        raise UsageError(f"No folder of a known source ({reasons})", where=raw, next=OWN_NEXT)
    return found, left_out


def _refuse_name(name: str, own: list[str], left_out: dict[str, str]) -> None:
    """Raise the error for a name that is no source in RAW and none of the 40."""
    if name in left_out and name not in registry.EXCLUDED:
        raise UsageError(f"{name!r} is {left_out[name]}", next=OWN_NEXT)
    if meant := get_close_matches(name, own, n=1):
        raise UsageError(f"{name!r} is not a known source", next=f"Did you mean {meant[0]}?")
    registry.chosen([name])


def _folder(path: str, name: str) -> Found | str:
    """Return the source in a folder, or the reason why it is left out."""
    if name.lower() in registry.EXCLUDED:
        return registry.EXCLUDED[name.lower()]
    if reason := _unusable(name):
        return reason
    if name.lower().endswith(".zip"):  # channels inside it could not be distinguished from members of a zip
        return "a folder of a source can't be called .zip"
    root = Root(path)
    table = root.table()
    if table is not None:
        return Found(name, root, table=table)
    if name in registry.SOURCES:
        return Found(name, root, registry.SOURCES[name])
    fs, inner = filesystem(join(path, source_yaml.NAME))
    if fs.isfile(inner):
        return f"a folder with {source_yaml.NAME}, but without {IMAGES_CSV}"
    near = registry.nearest(name)
    return f"not a known source; nearest: {', '.join(near)}" if near else "not a known source"


def _zip(path: str, name: str) -> Found | str:
    """Return the source in a zip, or the reason why it is left out."""
    stem = posixpath.splitext(name)[0]
    if stem.lower() in registry.EXCLUDED:
        return registry.EXCLUDED[stem.lower()]
    if not is_local(path):
        return "a zip is read from this machine's disk: download it, or unpack it"
    root = Root(path, is_zip=True)
    try:
        table = root.table()
    except UnreadableImageError as error:
        return error.reason
    if table is None:
        return f"a zip without {IMAGES_CSV}: unpack it"
    return _unusable(stem) or Found(stem, root, table=table)


def _unusable(name: str) -> str:
    """Return why a source can't have this name; empty if it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return "its name contains | or #" if "|" in name or "#" in name or not name.isprintable() else ""
