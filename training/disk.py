"""Errors of libraries that could not write a file, as the errors of the system that they are."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_NUMBER = re.compile(r"os error (\d+)")  # how safetensors names the error of the system
_TORCH = re.compile(r"PytorchStreamWriter failed writing|unexpected pos \d+ vs")  # torch does not name it


@contextmanager
def disk_errors(folder: Path, remove_incomplete: Callable[[Path], object] | None = None) -> Iterator[None]:
    """Turn errors of safetensors and torch that mean a failed write into OSError, which the command line reports.

    Parameters
    ----------
    folder : Path
        Named in the error.
    remove_incomplete : callable, optional
        Called with the folder after a failed write, to remove what is half written.
    """
    try:
        yield
    except (SafetensorError, RuntimeError, OSError) as error:
        failed = _as_system_error(error, folder)
        if failed is None:
            raise
        if remove_incomplete is not None:
            remove_incomplete(folder)
        if failed is error:
            raise
        raise failed from error


def _as_system_error(error: Exception, folder: Path) -> OSError | None:
    """Return the error of the system that made a write fail; None for other errors."""
    if isinstance(error, OSError):
        return error
    number = _NUMBER.search(str(error))
    if number is None and not _TORCH.search(str(error)):
        return None
    code = int(number[1]) if number is not None else errno.ENOSPC
    return OSError(code, os.strerror(code), str(folder))
