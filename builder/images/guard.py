"""Limits on the time and memory of one source image, so that no image can stop a run.

The readers check what a file claims before they decompress it (`formats.limits`), but nobody thinks of everything.
A worker therefore processes each source image under two limits that the operating system enforces, also while a
decoder written in C does not return: a timer ends the process, and a request for too much memory fails. Both are far
above what any real image needs. `isolated` then finds the image at fault.

Time is that of the processor, not of the clock: an image must not be rejected because the machine was busy, was
suspended, or waited for its storage.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .quality import Verdict

try:
    import resource
except ImportError:  # Windows, which has no such limits: images are processed without
    resource = None  # type: ignore[assignment]


class ImageLimits(NamedTuple):
    """What the work on one source image may take.

    Parameters
    ----------
    seconds : float
        Time of the processor. A field of six channels of 2160 x 2160 pixels takes about one second.
    memory_bytes : int
        Memory in addition to what the worker has at its start. The largest plane that is read takes about 2 GB.
    """

    seconds: float = 120
    memory_bytes: int = 4 * 2**30

    @property
    def too_slow(self) -> Verdict:
        """The verdict on an image that takes longer."""
        return Verdict("too_slow", f"more than {self.seconds:g} seconds of processor time")

    @property
    def too_much_memory(self) -> Verdict:
        """The verdict on an image that needs more memory."""
        return Verdict("too_much_memory", f"more than {self.memory_bytes / 2**30:g} GiB of memory")


def ended_by_timer(exit_status: int) -> bool:
    """Return whether a process with this exit status (as `subprocess` returns it) was ended because its time was up."""
    return resource is not None and exit_status == -signal.SIGPROF


@contextmanager
def one_image(limits: ImageLimits | None) -> Iterator[None]:
    """Limit the work on one source image within this context; without limits it has no effect.

    A request for too much memory raises MemoryError. When the time is up, the process ends: nothing handles the
    signal of the timer, so that it works whatever the process is doing.
    """
    if limits is None or resource is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = _memory_at_start() + limits.memory_bytes
    bounded = most > limits.memory_bytes and (before[0] == resource.RLIM_INFINITY or before[0] > most)
    if bounded:
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    signal.setitimer(signal.ITIMER_PROF, limits.seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        if bounded:
            resource.setrlimit(resource.RLIMIT_AS, before)


@functools.cache
def _memory_at_start() -> int:
    """Return the address space of this process in bytes, when first called; 0 if the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
