"""Messages for what can go wrong between this machine and the Hub."""

from __future__ import annotations

import re

from ..dataset.manifest import NAME as MANIFEST
from ..errors import CytoImageNetError, UsageError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def _check_name(repository: str) -> None:
    if not _NAME.fullmatch(repository):
        raise UsageError(f"{repository!r} is no repository", next="Name it as OWNER/NAME")


def _said(error: Exception, repository: str, revision: str = "") -> Exception:
    """Put what the Hub's client says into plain words; what is no word of the Hub's is passed on."""
    import httpx2
    from huggingface_hub import errors

    hint = "Is the name right, and are you logged in? `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"{repository} has no revision {revision!r}", next="The repository's page lists its tags")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(f"There is no dataset repository {repository} that you may see", next=hint)
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return UsageError(f"{repository} is no CytoImageNet dataset: it has no {MANIFEST}")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.IncompleteSnapshotError):
        return UsageError(
            f"{repository} is not in the cache, and the Hub can't be reached", next="Run the same command online"
        )
    if isinstance(error, errors.HfHubHTTPError | httpx2.HTTPError):
        return CytoImageNetError(f"The Hub said no: {str(error).splitlines()[0]}", where=repository, next=hint)
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # the client's, around the cause
        cause = str(error.__cause__).splitlines()[0]
        return CytoImageNetError(f"{error} {cause}", where=repository, next="Run the same command again to go on")
    return error
