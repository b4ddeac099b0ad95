"""How fast a run trains, and how much of the time it waits for images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Pace:
    """Measures the time between two entries of the log, and how much of it was spent waiting for images.

    The times are those of the host. A GPU has work queued while the host waits, so its own share is at most as large.

    Parameters
    ----------
    clock : callable
        Returns the time in seconds.

    Examples
    --------
    >>> times = iter([0.0, 1.0, 3.0, 8.0])
    >>> pace = Pace(lambda: next(times))
    >>> with pace.waiting():
    ...     pass
    >>> pace.lap(images=400)
    {'images_per_second': 50.0, 'waiting_share': 0.25}
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()
        self._waited = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within this context as waiting for images."""
        start = self._clock()
        try:
            yield
        finally:
            self._waited += self._clock() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time within this context, as that of an evaluation."""
        start = self._clock()
        try:
            yield
        finally:
            self._start += self._clock() - start

    def begin(self) -> None:
        """Start to measure now."""
        self._start, self._waited = self._clock(), 0.0

    def lap(self, images: int) -> dict[str, float]:
        """Return the images per second and the share of waiting, in [0, 1], since the latest start; start again.

        Parameters
        ----------
        images : int
            Number of images since then, of all processes together.
        """
        now = self._clock()
        elapsed = max(now - self._start, 1e-9)
        result = {"images_per_second": images / elapsed, "waiting_share": min(self._waited / elapsed, 1.0)}
        self._start, self._waited = now, 0.0
        return result


def duration(seconds: float) -> str:
    """Return a time in words, with two digits at most.

    Examples
    --------
    >>> duration(40), duration(750), duration(9_000), duration(200_000)
    ('40 s', '12 min', '2.5 h', '2.3 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 129_600 else f"{seconds / 86400:.1f} days"
