"""Work on images in worker processes, each image under limits, so that no image can stop a run.

An image that ends the process that works on it, or needs more than its limits, gets a verdict in place of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import TypeVar

from ..worker_processes import Died, cores, in_processes
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
        if isinstance(result, Died):
            yield limits.too_slow if ended_by_timer(result.status) else CRASHED
        else:
            yield result


def _limited(function: Callable[[Image], Result], limits: ImageLimits, image: Image) -> Result | Verdict:
    with one_image(limits):
        try:
            return function(image)
        except MemoryError:
            return limits.too_much_memory
