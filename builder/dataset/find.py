"""Where the dataset folder is, for `load_dataset` and every other call without a path."""

from __future__ import annotations

import hashlib
import json
import os
from os import PathLike
from pathlib import Path

from .. import schema
from ..console import err
from ..errors import UsageError
from ..storage import cache_folder, exists, is_local, join, write_atomic
from .manifest import NAME as MANIFEST
from .manifest import Manifest

HOME_VARIABLE = "CYTOIMAGENET_HOME"
FOLDER = "cytoimagenet"
LATEST = "latest"
THREE_WAYS = """Three ways to get it:
  1. cytoimagenet pull OWNER/cytoimagenet                          a copy published on the Hugging Face Hub
  2. cytoimagenet import-kaggle ARCHIVE --out cytoimagenet         the published 56-GB archive from Kaggle
  3. cytoimagenet build RAW --out cytoimagenet                     from the raw sources
If you have it already: pass data_dir=, set $CYTOIMAGENET_HOME, or work in the folder that contains `cytoimagenet/`."""


def find(data_dir: str | PathLike[str] | None = None, revision: str | None = None) -> str:
    """Return the dataset folder to use.

    Searched in this order: `data_dir`, `$CYTOIMAGENET_HOME`, `./cytoimagenet`, the folder noted by `remember`.

    Parameters
    ----------
    data_dir : str or path, optional
        A dataset folder, local or a URL; returned without a check.
    revision : str, optional
        Tag, branch or commit of a copy on the Hub.

    Raises
    ------
    UsageError
        If no dataset folder is found; the error lists the ways to get one.
    """
    if data_dir is not None:
        return _at_revision(_absolute(os.fspath(data_dir)), revision)
    home = os.environ.get(HOME_VARIABLE)
    if home:
        for folder in (home, join(home, FOLDER)):
            if exists(join(folder, MANIFEST)):
                return _at_revision(_absolute(folder), revision)
        raise UsageError(
            f"${HOME_VARIABLE} names no dataset folder", where=home, next=f"Unset it, or correct it. {THREE_WAYS}"
        )
    # a checkout of this project may have that name: a dataset folder is one with a manifest
    if revision is None and exists(join(FOLDER, MANIFEST)):
        return _absolute(FOLDER)
    remembered = _remembered().get(revision or LATEST)
    if remembered and exists(join(remembered, MANIFEST)):
        return str(remembered)
    missing = "CytoImageNet" if revision is None else f"Revision {revision!r} of CytoImageNet"
    raise UsageError(f"{missing} is not on this machine", where=os.getcwd(), next=THREE_WAYS)


def remember(folder: str | PathLike[str], revision: str | None = None) -> None:
    """Note the place of a dataset folder, so that `load_dataset` finds it from every working directory.

    `pull`, `build` and `import-kaggle` call this when they finish. If the cache folder can't be written, as on some
    clusters, a message is printed and nothing else fails.
    """
    Manifest.load(folder)
    places = {**_remembered(), LATEST: _absolute(os.fspath(folder))}
    if revision is not None:
        places[revision] = places[LATEST]
    try:
        write_atomic(_places_file(), json.dumps(places, indent=1).encode())
    except OSError as error:
        err.print(f"The place of the dataset could not be noted in {_places_file()}: {error.strerror}", markup=False)
        err.print(f"To load it from other folders, set ${HOME_VARIABLE}={places[LATEST]}", markup=False)


def cache_key(manifest: Manifest) -> str:
    """Return the key of the caches of `datasets`; it changes with the columns or the data, not with the place."""
    return hashlib.sha256(f"{schema.VERSION} {manifest.digest}".encode()).hexdigest()[:32]


def _places_file() -> Path:
    return cache_folder() / "places.json"


def _remembered() -> dict[str, str]:
    try:
        places = json.loads(_places_file().read_bytes())
    except (OSError, ValueError):
        return {}  # an absent or broken file is no reason to fail: the next `remember` writes a new one
    return places if isinstance(places, dict) else {}


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path.removeprefix("file://"))) if is_local(path) else path


def _at_revision(root: str, revision: str | None) -> str:
    """Return the folder at a revision, which only copies on the Hub have."""
    if revision is None:
        return root
    parts = root.removeprefix("hf://").split("/", 3)
    if not root.startswith("hf://") or len(parts) < 3 or "@" in root:
        raise UsageError(
            f"Only a copy on the Hub has revisions, not {root}", next="Pass data_dir='hf://datasets/OWNER/NAME'"
        )
    parts[2] += f"@{revision}"
    return "hf://" + "/".join(parts)
