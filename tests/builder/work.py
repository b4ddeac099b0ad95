"""Functions that the tests of worker processes call in them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from cytoimagenet.builder.errors import UnreadableImageError


def square(number: int) -> int:
    """Return the square of a number."""
    return number * number


def dying(folder: str, always: tuple[int, ...], once: int, number: int) -> int:
    """Return the number, or end this process: for some numbers always, for one the first time."""
    first = number == once and not Path(folder, str(number)).exists()
    if first:
        Path(folder, str(number)).touch()
    if first or number in always:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def counted(folder: str, number: int) -> int:
    """End this process, and leave a file with its number."""
    Path(folder, str(os.getpid())).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def failing(number: int) -> int:
    """Raise an error for one number."""
    if number == 3:
        raise UnreadableImageError("3", "no pixels")
    return number


def printing(number: int) -> int:
    """Print the number from C, to the standard output."""
    os.write(1, f"{number}\n".encode())
    return number


def waiting(folder: str, number: int) -> int:
    """Leave a file with the number of this process; wait, for every number but 0, until it is ended."""
    Path(folder, str(os.getpid())).touch()
    if number:
        threading.Event().wait()
    return number


def sometimes_unsendable(number: int) -> object:
    """Return the number; for 1 an array that fills the pipe, followed by something that can't be pickled."""
    return (bytes(2**21), lambda: None) if number == 1 else number
