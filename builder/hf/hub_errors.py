"""Checks and error messages for everything between this machine and the Hugging Face Hub."""

from __future__ import annotations

import re

from ..dataset.manifest import NAME as MANIFEST
from ..errors import CytoImageNetError, UsageError

_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_repository_name(repository: str) -> None:
    """Raise a `UsageError` unless a name has the form `OWNER/NAME`.

    Examples
    --------
    >>> check_repository_name("me/cytoimagenet")
    """
    if not _NAME.fullmatch(repository):
        raise UsageError(f"{repository!r} is not the name of a repository", next="Write it as OWNER/NAME")


def in_plain_words(error: Exception, repository: str, revision: str = "") -> Exception:
    """Return the error to raise instead of one from the Hub's client; an error of another origin is returned as it is.

    Parameters
    ----------
    error : Exception
        Raised by `huggingface_hub`.
    repository, revision : str
        Named in the message.
    """
    from huggingface_hub import errors

    hint = "Is the name right, and are you logged in? `hf auth login`"
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(f"{repository} has no revision {revision!r}", next="The repository's page lists its tags")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UsageError(f"There is no dataset repository {repository} that you may see", next=hint)
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return UsageError(f"{repository} is not a CytoImageNet dataset: it has no {MANIFEST}")
    if isinstance(error, errors.LocalEntryNotFoundError | errors.IncompleteSnapshotError):
        return UsageError(
            f"{repository} is not in the cache, and the Hub can't be reached", next="Run the same command online"
        )
    # `errors.HTTPError` is the base class of the HTTP library that this version of the Hub's client uses
    if isinstance(error, errors.HTTPError):
        return CytoImageNetError(f"The Hub refused: {str(error).splitlines()[0]}", where=repository, next=hint)
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # the client wraps the cause
        cause = str(error.__cause__).splitlines()[0]
        return CytoImageNetError(f"{error} {cause}", where=repository, next="Run the same command again to continue")
    return error
