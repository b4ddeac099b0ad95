"""A dataset folder to the Hugging Face Hub, checked before the upload.

Only the files that the manifest names are uploaded, so that no script gets into the repository. The Hub's client
divides a large folder into several commits. The manifest is in the last one, which also removes the files of a former
version, and the tag is set after it: `main` may have files of two versions during an upload, a tag never.
Data that the Hub already has is not sent again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .. import storage
from ..dataset.manifest import Manifest
from ..dataset.names import MANIFEST, SIGNATURE, is_known
from ..errors import UsageError
from ..shards.verify import verify
from .hub_errors import check_reachable, check_repository_name, in_plain_words, quiet_client

KIND = "dataset"


@dataclass(frozen=True)
class Pushed:
    """A dataset on the Hub: repository, last commit and tag."""

    repository: str
    commit: str
    tag: str


@quiet_client()
def push(
    folder: str | PathLike[str], repository: str, *, tag: str | None = None, private: bool = False, check: bool = True
) -> Pushed:
    """Upload a dataset folder as a dataset repository, in one or more commits, and tag the last one.

    The tag marks a complete version; read this tag rather than `main`, which may be in the middle of an upload. Files
    of a former version that the dataset no longer has are removed from `main`; files of other names are not touched.
    A second call continues an interrupted upload.

    Parameters
    ----------
    folder : path
        A finished dataset folder on this disk.
    repository : str
        `OWNER/NAME`; created if it does not exist.
    tag : str, optional
        By default `v<schema version>-<first 8 characters of the digest>`, so that equal data has an equal tag.
    private : bool
        Create a new repository as a private one.
    check : bool
        Read every byte of the folder and verify it first.

    Raises
    ------
    UsageError
        If the name is not valid, the folder is not a dataset, or the Hub has no such repository for this user.
    CytoImageNetError
        If the Hub refuses or can't be reached.
    CheckFailedError
        If the folder is damaged.
    """
    check_repository_name(repository)
    manifest = Manifest.load(folder)
    if not storage.is_local(folder):
        raise UsageError(
            "Only a folder on this disk can be pushed", where=str(folder), next="Copy it to this disk first"
        )
    if check:
        verify(folder)
    tag = tag or f"v{manifest.schema_version}-{manifest.digest[:8]}"
    check_reachable(repository)
    last = [*manifest.pages, MANIFEST]
    if (Path(folder) / SIGNATURE).exists():
        last.append(SIGNATURE)
    client = api()
    options = {"repo_id": repository, "repo_type": KIND, "folder_path": os.fspath(folder)}
    try:
        client.create_repo(repository, repo_type=KIND, private=private or None, exist_ok=True)
        # large folders become several commits: the manifest must not be in the first
        client.upload_folder(
            **options,
            allow_patterns=[literal(name) for name in manifest.all_files if name not in last],
            commit_message=f"CytoImageNet {tag}: files",
        )
        former = {name for name in client.list_repo_files(repository, repo_type=KIND) if is_known(name)}
        commit = client.upload_folder(
            **options,
            allow_patterns=[literal(name) for name in last],
            delete_patterns=[literal(name) for name in sorted({*former, SIGNATURE} - {*manifest.all_files, *last})],
            commit_message=f"CytoImageNet {tag}",
        )
        client.create_tag(repository, repo_type=KIND, tag=tag, revision=commit.oid, exist_ok=True)
    except Exception as error:
        raise in_plain_words(error, repository) from error
    return Pushed(repository, commit.oid, tag)


def api() -> Any:
    """Return a client of the Hub."""
    import huggingface_hub

    return huggingface_hub.HfApi()


def literal(name: str) -> str:
    """Return a pattern that matches this name only."""
    return re.sub(r"([*?\[])", r"[\1]", name)
