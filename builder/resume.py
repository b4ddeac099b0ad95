"""Continue an interrupted run, and never mix work done with other settings into it.

A folder that takes hours to fill contains a small note of the settings it is filled with. A rerun with the same
settings continues; a rerun with others is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from . import storage
from .errors import SettingsChangedError

LONGEST_SHOWN = 40  # characters of a value in an error; digests and long lists are cut


def to_json(settings: Mapping[str, Any]) -> bytes:
    """Return settings as the bytes of a note."""
    return (json.dumps(settings, indent=1, sort_keys=True) + "\n").encode()


def claim(
    folder: str | PathLike[str],
    note: str,
    settings: Mapping[str, Any],
    *,
    what: str,
    next: str,
    replace: bool = False,
    encode: Callable[[Mapping[str, Any]], bytes] = to_json,
    decode: Callable[[bytes], Mapping[str, Any]] = json.loads,
) -> None:
    """Take a folder for these settings: check its note, remove half-written files, write the note.

    Parameters
    ----------
    folder : str or path
        Local or a URL; need not exist.
    note : str
        Path of the note below `folder`.
    settings : mapping
        Everything that the contents of the folder depend on, as JSON has it.
    what : str
        First part of the error: "This folder contains curated images made with other settings".
    next : str
        What the user can do if the settings changed.
    replace : bool
        Accept changed settings. The caller replaces the work that was done with the old ones.
    encode, decode : callable
        Write and read the note, if it is not JSON.

    Raises
    ------
    SettingsChangedError
        If the folder contains work done with other settings.
    """
    path = storage.join(folder, note)
    stored = decode(storage.read_bytes(path)) if storage.exists(path) else None
    if stored is not None and not replace:
        refuse_changes(folder, stored, settings, what=what, next=next)
    storage.remove_temporaries(folder)
    if stored is None or changes(stored, settings):
        storage.write_atomic(path, encode(settings))


def refuse_changes(
    folder: str | PathLike[str],
    stored: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    what: str,
    next: str,
) -> None:
    """Raise an error that names every setting that differs from the stored ones.

    Parameters
    ----------
    folder, settings, what, next
        As `claim`.
    stored : mapping
        The settings of the work in the folder.

    Raises
    ------
    SettingsChangedError
        If a setting differs.
    """
    changed = changes(stored, settings)
    if changed:
        raise SettingsChangedError(f"{what}: {', '.join(changed)}", where=folder, next=next)


def changes(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Describe each setting that differs, sorted by name; settings within settings one by one.

    Examples
    --------
    >>> changes({"seed": 0, "split": "by-image"}, {"seed": 1, "split": "by-image"})
    ['seed 0, now 1']
    >>> changes({"sizes": [1, 2]}, {"sizes": (1, 2)})  # equal once they are JSON
    []
    """
    found = []
    for name in sorted({*stored, *settings}):
        before, after = stored.get(name), settings.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += changes(before, after)
        elif _as_json(before) != _as_json(after):
            found.append(f"{name} {_shown(before)}, now {_shown(after)}")
    return found


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:16]}..."


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
