"""Where the dataset lies, and `load_dataset` without naming a path."""

from __future__ import annotations

import hashlib
import json
import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from .. import schema
from ..console import err
from ..errors import UsageError
from ..storage import cache_folder, exists, is_local, join, write_atomic
from .manifest import NAME as MANIFEST
from .manifest import Manifest

if TYPE_CHECKING:
    pass

HOME = "CYTOIMAGENET_HOME"
FOLDER = "cytoimagenet"
LATEST = "latest"
THREE_WAYS = """Three ways to get it:
  1. cytoimagenet pull OWNER/cytoimagenet                          a copy somebody published on the Hugging Face Hub
  2. cytoimagenet import-kaggle ARCHIVE --out cytoimagenet         the published 56-GB archive from Kaggle
  3. cytoimagenet build RAW --out cytoimagenet                     from the raw sources
If you have it already: pass data_dir=, set $CYTOIMAGENET_HOME, or work in the folder that holds `cytoimagenet/`."""


def find(data_dir: str | PathLike[str] | None = None, revision: str | None = None) -> str:
    """Return the dataset folder to use.

    Parameters
    ----------
    data_dir : str or path, optional
        A dataset folder, local or a URL, taken as it is.
    revision : str, optional
        Of a copy on the Hub.

    Raises
    ------
    UsageError
        If there is none; it says how to get one.
    """
    if data_dir is not None:
        return _at_revision(_absolute(os.fspath(data_dir)), revision)
    home = os.environ.get(HOME)
    if home:
        for folder in (home, join(home, FOLDER)):
            if exists(join(folder, MANIFEST)):
                return _at_revision(_absolute(folder), revision)
        raise UsageError(f"${HOME} names no dataset folder", where=home, next=f"Unset it, or mend it. {THREE_WAYS}")
    # a checkout of this project may have that name: a dataset folder is one with a manifest
    if revision is None and exists(join(FOLDER, MANIFEST)):
        return _absolute(FOLDER)
    remembered = _remembered().get(revision or LATEST)
    if remembered and exists(join(remembered, MANIFEST)):
        return str(remembered)
    wanted = "CytoImageNet" if revision is None else f"Revision {revision!r} of CytoImageNet"
    raise UsageError(f"{wanted} is not on this machine", where=os.getcwd(), next=THREE_WAYS)


def remember(folder: str | PathLike[str], revision: str | None = None) -> None:
    """Let `load_dataset` find this dataset folder from everywhere; `pull`, `build` and `import-kaggle` call it at
    their end.

    Where the cache can't be written, as on some clusters, that is said, and nothing else is lost.
    """
    Manifest.load(folder)
    places = {**_remembered(), LATEST: _absolute(os.fspath(folder))}
    if revision is not None:
        places[revision] = places[LATEST]
    try:
        write_atomic(_places(), json.dumps(places, indent=1).encode())
    except OSError as error:
        err.print(f"Could not note where the dataset lies in {_places()}: {error.strerror}", markup=False)
        err.print(f"To load it from elsewhere, set ${HOME}={places[LATEST]}", markup=False)


def cache_key(manifest: Manifest) -> str:
    """Return what the caches of `datasets` are keyed by: they go stale with the columns or the data, not the place."""
    return hashlib.sha256(f"{schema.VERSION} {manifest.digest}".encode()).hexdigest()[:32]


def _places() -> Path:
    return cache_folder() / "places.json"


def _remembered() -> dict[str, str]:
    try:
        places = json.loads(_places().read_bytes())
    except (OSError, ValueError):
        return {}  # no note, or a broken one, is no reason to fail: the next `remember` writes it anew
    return places if isinstance(places, dict) else {}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path.removeprefix("file://"))) if is_local(path) else path


def _at_revision(root: str, revision: str | None) -> str:
    """Return the folder at a revision, which only the Hub has."""
    if revision is None:
        return root
    parts = root.removeprefix("hf://").split("/", 3)
    if not root.startswith("hf://") or len(parts) < 3 or "@" in root:
        raise UsageError(
            f"Only a copy on the Hub has revisions, not {root}", next="Pass data_dir='hf://datasets/OWNER/NAME'"
        )
    parts[2] += f"@{revision}"
    return "hf://" + "/".join(parts)
