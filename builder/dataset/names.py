"""The names of the files of a dataset folder. Files of any other name are not written, downloaded or accepted.

A manifest can come from anybody. If it could name any file, `pull` would write `setup.py` or `.bashrc` for its author.

A new kind of file is added to `NAMES`, the only list of them, and to the copy of it in `tools/verify_dataset.py`, which
a test compares with this one.
"""

from __future__ import annotations

import re

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
METADATA, CLASSES, REJECTED = "metadata.parquet", "classes.parquet", "rejected.parquet"
README = "README.md"
PAGES = (README, "croissant.json", "preview.png", "LICENSE.md")
"""Files derived from the manifest and the tables, for people and machines to read."""

QUALITY, AUDIT = "quality.parquet", "audit.html"
EMBEDDINGS = "embeddings"
"""The files that `audit` adds to a finished folder, and the folder of those of `embed`."""

FORMATS = {"webdataset": "tar", "parquet": "parquet"}
"""The formats of shards, and the ending of their names."""

NAMES: dict[str, tuple[str, ...]] = {
    "files": (
        *map(re.escape, (METADATA, CLASSES, REJECTED)),
        r"data/(?:train|validation|sample)-[0-9]{5,9}-of-[0-9]{5,9}\.(?:tar|parquet)",
    ),
    "pages": (*map(re.escape, PAGES),),
    "derived": (*map(re.escape, (QUALITY, AUDIT)), rf"{EMBEDDINGS}/[a-z0-9][a-z0-9._-]{{0,79}}\.parquet"),
}
"""Per key of the manifest that lists files: the patterns of the names it may contain. No two names differ in case
alone, so that they are different files on every disk; the patterns have no name in common."""

_PATTERNS = {part: re.compile("|".join(patterns)) for part, patterns in NAMES.items()}


def may_have(part: str, name: str, shard_format: str) -> bool:
    """Return whether a key of the manifest that lists files may contain a file of this name.

    Parameters
    ----------
    part : str
        A key of `NAMES`.
    name : str
        Path of the file below the dataset folder.
    shard_format : str
        That of the manifest: shards of another format are refused.

    Examples
    --------
    >>> may_have("files", "data/train-00000-of-00400.tar", "webdataset"), may_have("files", "setup.py", "webdataset")
    (True, False)
    """
    if not _PATTERNS[part].fullmatch(name):
        return False
    shard = re.fullmatch(r"data/[a-z]+-([0-9]+)-of-([0-9]+)\.([a-z]+)", name)
    return not shard or (shard[3] == FORMATS.get(shard_format) and int(shard[1]) < int(shard[2]))


def is_known(name: str) -> bool:
    """Return whether a dataset folder of any kind has a file of this name, except for manifest and signature.

    Examples
    --------
    >>> is_known("README.md"), is_known("data/train-00000-of-00400.tar"), is_known("notes.txt")
    (True, True, False)
    """
    return any(may_have(part, name, form) for part in NAMES for form in FORMATS)
