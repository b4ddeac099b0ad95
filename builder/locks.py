"""One run per folder: a second one that would write to the same folder is refused at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike

from .errors import UsageError
from .storage import filesystem, is_local

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_open: set[int] = set()


def _close_in_child() -> None:
    """Close the locks in a forked process: one that outlives its run, or is orphaned, must not keep the lock."""
    for handle in _open:
        os.close(handle)
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def only_run(folder: str | PathLike[str]) -> Iterator[None]:
    """Create a local folder if it is absent, and keep other runs out of it within this context.

    The lock is on the folder itself, so that no further file is needed, and the operating system removes it when the
    process ends, however it ends. Folders that are not local, and file systems without locks, are not locked.

    Parameters
    ----------
    folder : str or path
        The folder that the run writes to.

    Raises
    ------
    UsageError
        If another run is writing to the folder.
    """
    if not is_local(folder) or fcntl is None:
        yield
        return
    path = filesystem(folder)[1]
    is_new = not os.path.isdir(path)
    os.makedirs(path, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    _open.add(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "Another run is writing to this folder",
                where=str(folder),
                next="Wait until it has finished, or name another folder with --out",
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _open.discard(handle)
        os.close(handle)
        if is_new:
            with suppress(OSError):  # stays unless it is still empty: a run that was refused leaves nothing behind
                os.rmdir(path)
