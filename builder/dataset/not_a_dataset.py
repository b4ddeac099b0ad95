"""What a path is that is no dataset folder, and what its owner may have meant."""

from __future__ import annotations

import os
from difflib import get_close_matches
from os import PathLike
from pathlib import Path

from ..errors import UsageError
from ..storage import is_local

IMAGE_SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".dib", ".dv", ".zip", ".csv", ".tsv")
"""Of images, archives of images and tables of images."""

DATASET_FILES = ("metadata.parquet", "data", ".unfinished")
ENTRIES_LOOKED_AT = 1000


def why_not(root: str | PathLike[str], manifest: str) -> UsageError:
    """Return the error for a path that has no manifest: no such folder, a folder of images, or an unfinished dataset.

    Parameters
    ----------
    root : str or path
        The path that was given, local or a URL.
    manifest : str
        Name of the file that it lacks.

    Examples
    --------
    >>> print(why_not("nowhere", "manifest.json"))
    There is no such folder [nowhere]
    Check the spelling; the path is relative to the working directory
    """
    if not is_local(root):
        return UsageError(
            f"This is not a finished dataset folder: it has no {manifest}", where=str(root), next="Check the address"
        )
    folder = Path(os.fspath(root).removeprefix("file://"))
    if not folder.exists():
        near = _neighbours(folder)
        return UsageError(
            "There is no such folder",
            where=str(root),
            next=f"Did you mean {near}?"
            if near
            else "Check the spelling; the path is relative to the working directory",
        )
    if folder.is_dir() and not any((folder / name).exists() for name in DATASET_FILES):
        inner = next((path.parent for path in folder.glob(f"*/{manifest}")), None)
        if inner is not None:
            return UsageError(
                f"This folder contains a dataset, but is not one: it has no {manifest}",
                where=str(root),
                next=f"Name the folder {inner}",
            )
    if folder.is_file() or _has_images(folder):
        return UsageError(
            f"This is {'a file' if folder.is_file() else 'a folder of images'}, not a dataset folder: "
            f"it has no {manifest}",
            where=str(root),
            next=f"Features of your own images: cytoimagenet features {root}. "
            "A dataset from them: docs/your-own-images.md",
        )
    return UsageError(
        f"This is not a finished dataset folder: it has no {manifest}",
        where=str(root),
        next="Run the same `cytoimagenet build` or `shard` again to finish it, or name another folder",
    )


def _neighbours(folder: Path) -> str:
    """Return the folder next to a missing one whose name is most similar; empty if there is none."""
    try:
        names = [path.name for path in folder.parent.iterdir() if path.is_dir()]
    except OSError:
        return ""
    near = get_close_matches(folder.name, names, n=1)
    return str(folder.parent / near[0]) if near else ""


def _has_images(folder: Path) -> bool:
    """Return whether a folder, or a folder in it, contains files that look like images; a few entries are enough."""
    if any((folder / name).exists() for name in DATASET_FILES):
        return False
    seen = 0
    for place, folders, files in os.walk(folder):
        folders[:] = [] if Path(place) != folder else folders  # two levels: <label>/<image>
        for name in files:
            if name.lower().endswith(IMAGE_SUFFIXES):
                return True
            seen += 1
            if seen > ENTRIES_LOOKED_AT:
                return False
    return False
