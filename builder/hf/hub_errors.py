"""Checks and error messages for everything between this machine and the Hugging Face Hub."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..dataset.manifest import NAME as MANIFEST
from ..errors import CytoImageNetError, UsageError

SECONDS_TO_ANSWER = 10
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def check_repository_name(repository: str) -> None:
    """Raise a `UsageError` unless a name has the form `OWNER/NAME`.

    Examples
    --------
    >>> check_repository_name("me/cytoimagenet")
    """
    if not _NAME.fullmatch(repository):
        raise UsageError(f"{repository!r} is not the name of a repository", next="Write it as OWNER/NAME")


def why_unreachable() -> str:
    """Return why the Hub can't be reached, or an empty text; one request, without the client's retries of 23 seconds.

    Examples
    --------
    >>> why_unreachable()  # doctest: +SKIP
    'no network: [Errno -2] Name or service not known'
    """
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS_TO_ANSWER)
    except errors.HTTPError as error:
        return f"no network: {_first_line(error)}"
    return ""


@contextmanager
def quiet_client() -> Iterator[None]:
    """Keep the messages of the Hub's client about failed requests and retries off the screen while the block runs."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def check_reachable(repository: str) -> None:
    """Raise a `CytoImageNetError` if the Hub can't be reached."""
    reason = why_unreachable()
    if reason:
        raise _unreachable(repository, reason)


def _unreachable(repository: str, reason: str) -> CytoImageNetError:
    advice = "Unset HF_HUB_OFFLINE" if os.environ.get("HF_HUB_OFFLINE") else "Check the network; run the command again"
    return CytoImageNetError(f"The Hub can't be reached ({reason})", where=repository, next=advice)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
    if isinstance(error, errors.OfflineModeIsEnabled):
        return _unreachable(repository, "HF_HUB_OFFLINE is set")
    if isinstance(error, errors.HfHubHTTPError):
        return CytoImageNetError(f"The Hub refused: {_first_line(error)}", where=repository, next=hint)
    # the base class of the HTTP library that this version of the Hub's client uses: there was no answer
    if isinstance(error, errors.HTTPError):
        return _unreachable(repository, f"no network: {_first_line(error)}")
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, Exception):  # the client wraps the cause
        cause = str(error.__cause__).splitlines()[0]
        return CytoImageNetError(f"{error} {cause}", where=repository, next="Run the same command again to continue")
    return error
