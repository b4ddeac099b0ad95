"""A dataset folder from the Hugging Face Hub, checked after the download.

An interrupted download continues; its files are checked against the manifest, which is written last.
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from .. import resume, storage
from ..dataset.find import remember
from ..dataset.manifest import Manifest
from ..dataset.names import EMBEDDINGS, MANIFEST, SIGNATURE
from ..errors import CheckFailedError, UsageError
from ..progress import progress
from .hub import KIND, api, literal
from .hub_errors import check_repository_name, in_plain_words, quiet_client, why_unreachable

HASHING_THREADS = 4
WRONG_FILES_SHOWN = 5
NOTE = ".unfinished/pull.json"  # in the folder until all files are there: which dataset they belong to


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
            allow_patterns=[*(literal(name) for name in names), SIGNATURE],
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
    if not api().file_exists(repository, SIGNATURE, repo_type=KIND, revision=commit):
        signature.unlink()


def _remove_traces(folder: Path) -> None:
    """Remove the note of an unfinished download, and the half-downloaded files that killed runs left."""
    (folder / NOTE).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # absent, or not empty
        (folder / NOTE).parent.rmdir()
    for left in (folder / ".cache" / "huggingface").glob("**/*.incomplete"):
        left.unlink(missing_ok=True)


def _files(manifest: Manifest) -> list[str]:
    return sorted(manifest.all_files)


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
