"""The names of the files of a dataset folder. Files of any other name are not written, downloaded or accepted.

A manifest can come from anybody. If it could name any file, `pull` would write `setup.py` or `.bashrc` for its author.
"""

from __future__ import annotations

import re

MANIFEST = "manifest.json"
METADATA, CLASSES, REJECTED = "metadata.parquet", "classes.parquet", "rejected.parquet"
PAGES = ("README.md", "croissant.json", "preview.png", "LICENSE.md")
"""Files derived from the manifest and the tables, for people and machines to read."""

FORMATS = {"webdataset": "tar", "parquet": "parquet"}
"""The formats of shards, and the ending of their names."""

_SHARD = re.compile(r"data/(?:train|validation|sample)-([0-9]{5,9})-of-([0-9]{5,9})\.(tar|parquet)")


def is_data_file(name: str, shard_format: str) -> bool:
    """Return whether a file of this name can be in `files` of a manifest: a table, or a shard of this format.

    No two of these names, or of the pages, differ in case alone, so that they are different files on every disk.

    Examples
    --------
    >>> is_data_file("data/train-00000-of-00400.tar", "webdataset"), is_data_file("setup.py", "webdataset")
    (True, False)
    """
    if name in (METADATA, CLASSES, REJECTED):
        return True
    shard = _SHARD.fullmatch(name)
    return bool(shard) and shard[3] == FORMATS.get(shard_format) and int(shard[1]) < int(shard[2])
