"""Divide the images of a step among another number of processes."""

from __future__ import annotations

from dataclasses import replace

from ..builder.errors import UsageError
from .recipes import Settings


def divide(chosen: Settings, images_per_step: int, world: int, *, accumulation: int) -> Settings:
    """Return the settings with which `world` processes train on a run's number of images per step.

    Parameters
    ----------
    chosen : Settings
    images_per_step : int
        Number of images per step of all processes together, with which the run was started.
    world : int
        Number of processes.
    accumulation : int
        The stored setting. It may be changed to fit if `chosen` has the same, since nobody asked for it then.

    Returns
    -------
    Settings
        `chosen`, with another `accumulation` if necessary.

    Raises
    ------
    UsageError
        If the numbers do not divide; names settings that do.

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> divide(settings("paper", batch_size=64), images_per_step=256, world=2, accumulation=1).accumulation
    2
    """
    per_batch = chosen.batch_size * world
    if per_batch * chosen.accumulation == images_per_step:
        return chosen
    if chosen.accumulation == accumulation and images_per_step % per_batch == 0:
        return replace(chosen, accumulation=images_per_step // per_batch)
    processes = f"{world} process" + ("es" if world > 1 else "")
    raise UsageError(
        f"This run trains on {images_per_step} images per step, which {processes} can't do with "
        f"batch_size={chosen.batch_size} and accumulation={chosen.accumulation}",
        next=_remedy(images_per_step, world, chosen.batch_size),
    )


def _remedy(images_per_step: int, world: int, batch_size: int) -> str:
    if images_per_step % world:
        numbers = [n for n in range(1, 2 * world) if images_per_step % n == 0]
        return f"Use another number of processes, for example {' or '.join(map(str, numbers[-3:]))}"
    each = images_per_step // world
    fitting = [size for size in range(min(batch_size, each), 0, -1) if each % size == 0]
    return "Add " + ", or ".join(f"--set batch_size={n} --set accumulation={each // n}" for n in fitting[:2])
