"""A dataset folder to the Hugging Face Hub and back, checked before the upload and after the download.

An upload is one commit of the files that the manifest names and no others, so that no script gets into the repository.
Files that the Hub already has are not sent again. The commit is tagged; readers can name the tag to get exactly this
version. An interrupted download continues; its files are checked against the manifest, which is written last.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .. import storage
from ..dataset.find import remember
from ..dataset.manifest import EMBEDDINGS, Manifest
from ..dataset.manifest import NAME as MANIFEST
from ..errors import CheckFailedError, UsageError
from ..progress import progress
from ..shards.verify import verify
from .hub_errors import check_repository_name, in_plain_words

KIND = "dataset"
HASHING_THREADS = 4
WRONG_FILES_SHOWN = 5


@dataclass(frozen=True)
class Pushed:
    """A dataset on the Hub: repository, commit and tag."""

    repository: str
    commit: str
    tag: str


@dataclass(frozen=True)
class Pulled:
    """A downloaded dataset.

    Attributes
    ----------
    folder : str
        Where it is on this disk.
    revision : str
        The revision that was requested.
    files : int
        Number of files that were requested.
    whole : bool
        Whether the folder now has all files of the dataset.
    """

    folder: str
    revision: str
    files: int
    whole: bool


def push(
    folder: str | PathLike[str], repository: str, *, tag: str | None = None, private: bool = False, check: bool = True
) -> Pushed:
    """Upload a dataset folder as a dataset repository.

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
    api = _api()
    try:
        api.create_repo(repository, repo_type=KIND, private=private or None, exist_ok=True)
        # one commit: a reader sees all of the dataset or none of it; a rerun does not send files again
        commit = api.upload_folder(
            repo_id=repository,
            repo_type=KIND,
            folder_path=os.fspath(folder),
            allow_patterns=[_literal(name) for name in [*_files(manifest), MANIFEST]],
            commit_message=f"CytoImageNet {tag}",
        )
        api.create_tag(repository, repo_type=KIND, tag=tag, revision=commit.oid, exist_ok=True)
    except Exception as error:
        raise in_plain_words(error, repository) from error
    return Pushed(repository, commit.oid, tag)


def pull(
    repository: str,
    out: str | PathLike[str] | None = None,
    *,
    revision: str | None = None,
    splits: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Pulled:
    """Download a dataset repository, or a part of it, and check every byte. A second call continues a broken one.

    Parameters
    ----------
    repository : str
        `OWNER/NAME`.
    out : path, optional
        Folder to write to. Without it: a folder in the user's cache, where `load_dataset("cytoimagenet")` finds it.
    revision : str, optional
        Tag, branch or commit; by default `main`.
    splits : sequence of str
        Only these: `train`, `validation`, `sample`.
    include : sequence of str
        Only shards and embeddings whose path matches one of these patterns, such as `data/validation*`. Without
        `splits` and `include` all embeddings are downloaded.

    Raises
    ------
    UsageError
        If there is no such repository, revision or split.
    CheckFailedError
        If a downloaded file differs from the manifest; such files are removed.
    """
    import huggingface_hub

    check_repository_name(repository)
    requested = revision or "main"
    try:
        # the manifest goes to the Hub client's cache first: in the folder it would mark the dataset as complete
        source = huggingface_hub.hf_hub_download(repository, MANIFEST, repo_type=KIND, revision=requested)
    except Exception as error:
        raise in_plain_words(error, repository, requested) from error
    manifest = Manifest.load(Path(source).parent)
    folder = (
        Path(out) if out is not None else storage.cache_folder() / repository.replace("/", "--") / manifest.digest[:16]
    )
    names = _files_to_fetch(manifest, splits, include)
    if (folder / MANIFEST).exists() and Manifest.load(folder).digest != manifest.digest:
        raise UsageError("This folder contains another dataset", where=folder, next="Name another --out, or remove it")
    commit = Path(source).parent.name  # of the manifest: `main` may move on during the download
    try:
        huggingface_hub.snapshot_download(
            repository,
            repo_type=KIND,
            revision=commit,
            local_dir=folder,
            allow_patterns=[_literal(name) for name in names],
        )
    except Exception as error:
        raise in_plain_words(error, repository, requested) from error
    _check_files(folder, manifest, names)
    storage.write_atomic(folder / MANIFEST, Path(source).read_bytes())
    whole = all((folder / name).exists() for name in _files(manifest))
    if out is None:
        remember(folder, revision)
    return Pulled(str(folder), requested, len(names), whole)


def _api() -> Any:
    import huggingface_hub

    return huggingface_hub.HfApi()


def _files(manifest: Manifest) -> list[str]:
    return sorted(manifest.all_files)


def _literal(name: str) -> str:
    """Return a pattern that matches this name only."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _files_to_fetch(manifest: Manifest, splits: Sequence[str], include: Sequence[str]) -> list[str]:
    """Return the files to download: all tables and pages, and the requested shards and embeddings.

    Patterns that begin with `embeddings/` choose among the embeddings, all others among the shards.
    """
    names = _files(manifest)
    embeddings = {name for name in names if name.startswith(f"{EMBEDDINGS}/")}
    shards = {name for name in names if name.startswith("data/")}
    of_embeddings = [pattern for pattern in include if pattern.startswith(f"{EMBEDDINGS}/")]
    of_shards = [pattern for pattern in include if pattern not in of_embeddings]
    kept = {path for split in splits for path, *_ in manifest.shards(split)} if splits else set(shards)
    if of_shards:
        kept = _matching(kept, of_shards, "shard", "data/train-00000-of-00400.tar")
    elif of_embeddings and not splits:
        kept = set()
    if of_embeddings:
        kept |= _matching(embeddings, of_embeddings, "embedding", f"{EMBEDDINGS}/imagenet.parquet")
    elif not splits and not include:
        kept |= embeddings
    return [name for name in names if name not in shards | embeddings or name in kept]


def _matching(names: set[str], patterns: Sequence[str], what: str, example: str) -> set[str]:
    """Return the names that match a pattern; it is an error if there are none."""
    found = {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)}
    if not found:
        raise UsageError(f"No {what} matches {' or '.join(patterns)}", next=f"Names are like {example}")
    return found


def _check_files(folder: Path, manifest: Manifest, names: Sequence[str]) -> None:
    """Compare the sha256 of downloaded files with the manifest; remove those that differ, and raise an error."""
    entries = manifest.all_files

    def is_wrong(name: str) -> bool:
        return storage.sha256_of(folder / name) != entries[name]["sha256"]

    wrong = []
    with progress("verify", len(names), "files") as bar, ThreadPoolExecutor(HASHING_THREADS) as pool:
        for name, bad in zip(names, pool.map(is_wrong, names), strict=True):
            bar.advance(failed=int(bad))
            if bad:
                wrong.append(name)
                (folder / name).unlink()
    if wrong:
        raise CheckFailedError(
            f"{len(wrong)} files differ from the manifest and were removed: {', '.join(wrong[:WRONG_FILES_SHOWN])}",
            where=folder,
            next="Run the same pull again to download them",
        )
