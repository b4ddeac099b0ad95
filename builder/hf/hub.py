"""A dataset folder to the Hugging Face Hub and back, checked before the upload and after the download.

Only the files that the manifest names are uploaded, so that no script gets into the repository. The Hub's client
divides a large folder into several commits. The manifest is in the last one, which also removes the files of a former
version, and the tag is set after it: `main` may have files of two versions during an upload, a tag never.
Data that the Hub already has is not sent again. An interrupted download continues; its files are checked against the
manifest, which is written last.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .. import resume, storage
from ..dataset.find import remember
from ..dataset.manifest import Manifest
from ..dataset.names import EMBEDDINGS, MANIFEST, SIGNATURE, is_known
from ..errors import CheckFailedError, UsageError
from ..progress import progress
from ..shards.verify import verify
from .hub_errors import check_reachable, check_repository_name, in_plain_words, quiet_client, why_unreachable

KIND = "dataset"
HASHING_THREADS = 4
WRONG_FILES_SHOWN = 5
NOTE = ".unfinished/pull.json"  # in the folder until all files are there: which dataset they belong to


@dataclass(frozen=True)
class Pushed:
    """A dataset on the Hub: repository, last commit and tag."""

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
    complete : bool
        Whether the folder now has all files of the dataset.
    """

    folder: str
    revision: str
    files: int
    complete: bool


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
    api = _api()
    options = {"repo_id": repository, "repo_type": KIND, "folder_path": os.fspath(folder)}
    try:
        api.create_repo(repository, repo_type=KIND, private=private or None, exist_ok=True)
        # large folders become several commits: the manifest must not be in the first
        api.upload_folder(
            **options,
            allow_patterns=[_literal(name) for name in manifest.all_files if name not in last],
            commit_message=f"CytoImageNet {tag}: files",
        )
        former = {name for name in api.list_repo_files(repository, repo_type=KIND) if is_known(name)}
        commit = api.upload_folder(
            **options,
            allow_patterns=[_literal(name) for name in last],
            delete_patterns=[_literal(name) for name in sorted({*former, SIGNATURE} - {*manifest.all_files, *last})],
            commit_message=f"CytoImageNet {tag}",
        )
        api.create_tag(repository, repo_type=KIND, tag=tag, revision=commit.oid, exist_ok=True)
    except Exception as error:
        raise in_plain_words(error, repository) from error
    return Pushed(repository, commit.oid, tag)


@quiet_client()
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
        If there is no such repository, revision or split, or `out` has files of something else.
    SchemaError
        If the manifest of the repository names a file that a dataset folder does not have.
    CheckFailedError
        If a downloaded file differs from the manifest; such files are removed.
    """
    import huggingface_hub

    check_repository_name(repository)
    requested = revision or "main"
    offline = bool(why_unreachable())  # then only what an earlier pull left in the cache is used
    try:
        # the manifest goes to the Hub client's cache first: in the folder it would mark the dataset as complete
        source = huggingface_hub.hf_hub_download(
            repository, MANIFEST, repo_type=KIND, revision=requested, local_files_only=offline
        )
    except Exception as error:
        raise in_plain_words(error, repository, requested) from error
    manifest = Manifest.load(Path(source).parent)
    folder = (
        Path(out) if out is not None else storage.cache_folder() / repository.replace("/", "--") / manifest.digest[:16]
    )
    names = _files_to_fetch(manifest, splits, include)
    _claim(folder, manifest)
    commit = Path(source).parent.name  # of the manifest: `main` may move on during the download
    try:
        huggingface_hub.snapshot_download(
            repository,
            repo_type=KIND,
            revision=commit,
            local_dir=folder,
            allow_patterns=[*(_literal(name) for name in names), SIGNATURE],
            local_files_only=offline,
        )
        _remove_former_signature(folder, repository, commit, offline=offline)
    except Exception as error:
        raise in_plain_words(error, repository, requested) from error
    _check_files(folder, manifest, names)
    storage.write_atomic(folder / MANIFEST, Path(source).read_bytes())
    _remove_traces(folder)
    complete = all((folder / name).exists() for name in _files(manifest))
    if out is None:
        remember(folder, revision)
    return Pulled(str(folder), requested, len(names), complete)


def _claim(folder: Path, manifest: Manifest) -> None:
    """Take a folder for this dataset: an empty one, one that contains it, or one that an interrupted call left.

    Files of anybody else are never overwritten.
    """
    if (folder / MANIFEST).exists():
        if Manifest.load(folder).digest != manifest.digest:
            raise UsageError(
                "This folder contains another dataset", where=folder, next="Name another --out, or remove it"
            )
        return
    if folder.exists() and not (folder / NOTE).exists() and any(folder.iterdir()):
        raise UsageError(
            "This folder is not empty, and no dataset that `pull` wrote",
            where=folder,
            next="Name a new or empty folder with --out: files that are there could be overwritten",
        )
    resume.claim(
        folder,
        NOTE,
        {"digest": manifest.digest},
        what="This folder contains an unfinished download of another dataset",
        next="Name another --out, or remove it",
    )


def _remove_former_signature(folder: Path, repository: str, commit: str, *, offline: bool) -> None:
    """Remove the signature that a former download left, if this revision has none: it would be that of other pages."""
    signature = folder / SIGNATURE
    if offline or not signature.exists():
        return
    if not _api().file_exists(repository, SIGNATURE, repo_type=KIND, revision=commit):
        signature.unlink()


def _remove_traces(folder: Path) -> None:
    """Remove the note of an unfinished download, and the half-downloaded files that killed runs left."""
    (folder / NOTE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # absent, or not empty
        (folder / NOTE).parent.rmdir()
    for left in (folder / ".cache" / "huggingface").glob("**/*.incomplete"):
        left.unlink(missing_ok=True)


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
