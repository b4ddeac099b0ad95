"""A dataset folder to the Hugging Face Hub and back, checked at both ends.

Uploads are one commit of the files the manifest names and no others, so that no script ever gets into the repository;
what is there already is not sent again. A tag is set on that commit: pin it. Downloads go on where they broke off and
are checked against the manifest, which is put in its place last.
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
from ..dataset.manifest import NAME as MANIFEST
from ..dataset.manifest import Manifest
from ..errors import CheckFailedError, UsageError
from ..progress import progress
from ..shards.verify import verify
from .hub_errors import _check_name, _said

KIND = "dataset"


@dataclass(frozen=True)
class Pushed:
    """Where a dataset went: repository, commit, tag."""

    repository: str
    commit: str
    tag: str


@dataclass(frozen=True)
class Pulled:
    """What came: the folder, the revision asked for, how many files, and whether that is all of them."""

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
        `OWNER/NAME`; made if it is not there.
    tag : str, optional
        By default `v<schema version>-<first 8 of the digest>`, so that equal data has an equal tag.
    private : bool
        Of a repository that is made.
    check : bool
        Read every byte of the folder and verify it first.

    Raises
    ------
    UsageError
        If the name is none, the folder is no dataset, or the Hub says no.
    CheckFailedError
        If the folder is damaged.
    """
    _check_name(repository)
    manifest = Manifest.load(folder)
    if not storage.is_local(folder):
        raise UsageError("Only a folder on this disk can be pushed", where=str(folder), next="Copy it here first")
    if check:
        verify(folder)
    tag = tag or f"v{manifest.schema_version}-{manifest.digest[:8]}"
    api = _api()
    try:
        api.create_repo(repository, repo_type=KIND, private=private or None, exist_ok=True)
        # one commit: a reader sees the whole dataset or none of it; rerun to resume, sent blobs are not sent again
        commit = api.upload_folder(
            repo_id=repository,
            repo_type=KIND,
            folder_path=os.fspath(folder),
            allow_patterns=[_literal(name) for name in [*_files(manifest), MANIFEST]],
            commit_message=f"CytoImageNet {tag}",
        )
        api.create_tag(repository, repo_type=KIND, tag=tag, revision=commit.oid, exist_ok=True)
    except Exception as error:
        raise _said(error, repository) from error
    return Pushed(repository, commit.oid, tag)


def pull(
    repository: str,
    out: str | PathLike[str] | None = None,
    *,
    revision: str | None = None,
    splits: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Pulled:
    """Fetch a dataset repository, or a part of it, and check every byte.

    Parameters
    ----------
    repository : str
        `OWNER/NAME`.
    out : path, optional
        Folder to fill. Without it: a folder of the user's cache, from which `load_dataset("cytoimagenet")` takes it.
    revision : str, optional
        Tag, branch or commit; by default `main`.
    splits : sequence of str
        Only these: `train`, `validation`, `sample`.
    include : sequence of str
        Only shards whose path fits one of these patterns, such as `data/validation*`.

    Returns
    -------
    Pulled
        The same call again goes on where a broken one stopped, and fetches nothing that is there.

    Raises
    ------
    UsageError
        If there is no such repository, revision or split.
    CheckFailedError
        If what came is not what the manifest says; the wrong files are removed.
    """
    import huggingface_hub

    _check_name(repository)
    wanted = revision or "main"
    try:
        # the manifest goes to the Hub client's cache first: in the folder it would say that all is there
        source = huggingface_hub.hf_hub_download(repository, MANIFEST, repo_type=KIND, revision=wanted)
    except Exception as error:
        raise _said(error, repository, wanted) from error
    manifest = Manifest.load(Path(source).parent)
    folder = (
        Path(out) if out is not None else storage.cache_folder() / repository.replace("/", "--") / manifest.digest[:16]
    )
    names = _chosen(manifest, splits, include)
    if (folder / MANIFEST).exists() and Manifest.load(folder).digest != manifest.digest:
        raise UsageError("This folder holds another dataset", where=folder, next="Name another --out, or remove it")
    commit = Path(source).parent.name  # pin what the manifest speaks of: `main` may move meanwhile
    try:
        huggingface_hub.snapshot_download(
            repository,
            repo_type=KIND,
            revision=commit,
            local_dir=folder,
            allow_patterns=[_literal(name) for name in names],
        )
    except Exception as error:
        raise _said(error, repository, wanted) from error
    _check(folder, manifest, names)
    storage.write_atomic(folder / MANIFEST, Path(source).read_bytes())
    whole = all((folder / name).exists() for name in _files(manifest))
    if out is None:
        remember(folder, revision)
    return Pulled(str(folder), wanted, len(names), whole)


def _api() -> Any:
    import huggingface_hub

    return huggingface_hub.HfApi()


def _files(manifest: Manifest) -> list[str]:
    return sorted({**manifest.files, **manifest.pages})


def _literal(name: str) -> str:
    """Return a pattern that fits this name alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _chosen(manifest: Manifest, splits: Sequence[str], include: Sequence[str]) -> list[str]:
    """Return the files to fetch: tables and pages always, shards as asked for."""
    names = _files(manifest)
    shards = {name for name in names if name.startswith("data/")}
    kept = set(shards)
    if splits:
        kept = {path for split in splits for path, *_ in manifest.shards(split)}
    if include:
        kept = {name for name in kept if any(fnmatch.fnmatch(name, pattern) for pattern in include)}
        if not kept:
            raise UsageError(
                f"No shard fits {' or '.join(include)}", next="Shards are called data/train-00000-of-00400.tar"
            )
    return [name for name in names if name not in shards or name in kept]


def _check(folder: Path, manifest: Manifest, names: Sequence[str]) -> None:
    """Hash what came; remove and name what is wrong."""
    told = {**manifest.files, **manifest.pages}

    def is_wrong(name: str) -> bool:
        return storage.sha256_of(folder / name) != told[name]["sha256"]

    wrong = []
    with progress("verify", len(names), "files") as bar, ThreadPoolExecutor(4) as pool:
        for name, bad in zip(names, pool.map(is_wrong, names), strict=True):
            bar.advance(failed=int(bad))
            if bad:
                wrong.append(name)
                (folder / name).unlink()
    if wrong:
        raise CheckFailedError(
            f"{len(wrong)} files are not what the manifest says, and were removed: {', '.join(wrong[:5])}",
            where=folder,
            next="Run the same pull again to fetch them anew",
        )
