"""Errors that a user can act on: what happened, where, and what to do next."""

from __future__ import annotations

from os import PathLike
from typing import Any


class CytoImageNetError(Exception):
    """An error that the user can act on.

    Parameters
    ----------
    what : str
        One sentence: what is wrong.
    where : str or path, optional
        The file, line, row or setting that is wrong.
    next : str, optional
        What to do now; a command if there is one.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | PathLike[str] | None = None, next: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.next = next
        super().__init__(what, self.where, next)

    def __str__(self) -> str:
        where = f" [{self.where}]" if self.where else ""
        follow = f"\n{self.next}" if self.next else ""
        return f"{self.what}{where}{follow}"

    def __reduce__(self) -> tuple[Any, ...]:
        # errors are sent between processes, and the default pickling of exceptions loses keyword arguments
        return _rebuild, (type(self), self.what, self.where, self.next, dict(self.__dict__))


def _rebuild(
    kind: type[CytoImageNetError], what: str, where: str | None, next: str | None, state: dict[str, Any]
) -> Any:
    error = kind.__new__(kind)
    CytoImageNetError.__init__(error, what, where=where, next=next)
    error.__dict__.update(state)
    return error


class UsageError(CytoImageNetError):
    """The user asked for something impossible: a wrong path, name or combination of options."""

    exit_code = 2


class CheckFailedError(CytoImageNetError):
    """A check of the data failed."""


class MetadataError(CytoImageNetError):
    """A metadata file does not have the content that its publisher describes."""


class SchemaError(CytoImageNetError):
    """A table between two stages does not have the columns it must have."""


class SettingsChangedError(UsageError):
    """A folder contains work done with other settings."""


class UnreadableImageError(CytoImageNetError):
    """An image file can't be turned into pixels.

    Parameters
    ----------
    path : str or path
        The file.
    reason : str
        Why, in a few words.
    """

    def __init__(self, path: str | PathLike[str], reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"Can't read image: {reason}", where=self.path)


class MissingImageError(UnreadableImageError):
    """There is no such image file."""


class TooLargeError(UnreadableImageError):
    """An image has more pixels than the limit; nothing was decompressed."""


class NotEnoughMemoryError(UnreadableImageError):
    """An image could not be decoded in the memory that there is."""


class ConstantImageError(CytoImageNetError):
    """The 0.1th and 99.9th percentile of an image are equal, so that it can't be normalised."""


class NotFiniteImageError(CytoImageNetError):
    """A pixel of an image is infinite or not a number."""
