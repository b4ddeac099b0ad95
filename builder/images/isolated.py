"""Work on images in worker processes, each image under limits, so that no image can stop a run.

An image that ends the process that works on it, or needs more than its limits, gets a verdict in place of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from ..worker_processes import Died, WorkerProcesses, cores, in_processes
from .guard import ImageLimits, ended_by_timer, one_image
from .quality import Verdict

Image = TypeVar("Image")
Result = TypeVar("Result")

CRASHED = Verdict("unreadable", "the process that read it died, twice")


def each_image(
    function: Callable[[Image], Result],
    images: Iterable[Image],
    *,
    workers: int | None = None,
    group: int = 1,
    limits: ImageLimits | None = None,
) -> Generator[Result | Verdict, None, None]:
    """Yield the result for each image, in order, or the verdict on one that its process did not survive.

    Parameters
    ----------
    function, images, group
        As `worker_processes.in_processes`.
    workers : int, optional
        Number of processes, at least 1; by default one per core. The results do not depend on it.
    limits : ImageLimits, optional
        Of each image.

    Examples
    --------
    >>> list(each_image(len, ["one image", "another"], workers=1))
    [9, 7]
    """
    limits = limits or ImageLimits()
    for result in in_processes(
        partial(_limited, function, limits), images, workers=workers or cores(), group=group, is_final=ended_by_timer
    ):
        yield _verdict_or(result, limits)


class Isolated(Generic[Image, Result]):
    """Calls a function for single images in worker processes, from any thread. It can be sent to other processes.

    Parameters
    ----------
    function
        As `worker_processes.in_processes`.
    limits : ImageLimits, optional
        Of each image.

    Examples
    --------
    >>> Isolated(len)("one image")
    9
    """

    def __init__(self, function: Callable[[Image], Result], limits: ImageLimits | None = None) -> None:
        self._function, self._limits = function, limits or ImageLimits()
        self._processes = WorkerProcesses(partial(_limited, function, self._limits), ended_by_timer)

    def __call__(self, image: Image) -> Result | Verdict:
        """Return the result for an image, or the verdict on one that its process did not survive."""
        return self.each([image])[0]

    def each(self, images: Sequence[Image]) -> list[Result | Verdict]:
        """Return the result or verdict for each of some images, all from one process."""
        return [_verdict_or(result, self._limits) for result in self._processes.results(images)]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._function, self._limits)


def _verdict_or(result: Result | Died, limits: ImageLimits) -> Result | Verdict:
    if isinstance(result, Died):
        return limits.too_slow if ended_by_timer(result.status) else CRASHED
    return result


def _limited(function: Callable[[Image], Result], limits: ImageLimits, image: Image) -> Result | Verdict:
    with one_image(limits):
        try:
            return function(image)
        except MemoryError:
            return limits.too_much_memory
