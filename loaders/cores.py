"""The processor cores that this process may use, and the number of workers that fits them."""

from __future__ import annotations

import math
import os
from pathlib import Path

MOST_WORKERS = 16
"""Largest default number of workers: they decode more images than one GPU trains on, see docs/training.md."""
CORES_FOR_TRAINING = 2  # one for the process that starts the work of the GPU, one for copying batches to it


def usable_cores(groups: str = "/sys/fs/cgroup", own: str = "/proc/self/cgroup") -> int:
    """Return the number of cores that this process may use.

    These are the cores of its affinity mask, which `taskset` and SLURM set, but not more than its control group is
    allowed to use, which Docker and Kubernetes set.

    Parameters
    ----------
    groups, own : str
        Where Linux describes control groups, and those of this process.

    Examples
    --------
    >>> usable_cores() >= 1
    True
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, math.floor(min(cores, *_quotas(Path(groups), Path(own))))))


def default_workers() -> int:
    """Return the number of workers that decode for one process, if the user gives none.

    Two cores are left for training, where there are more than three; a process started by `torchrun` gets its share of
    the cores of the machine.

    Examples
    --------
    >>> 1 <= default_workers() <= MOST_WORKERS
    True
    """
    cores = usable_cores() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
    return max(1, min(MOST_WORKERS, max(cores - CORES_FOR_TRAINING, min(cores, 2))))


def _quotas(groups: Path, own: Path) -> list[float]:
    """Return the limits, in cores, of the control groups of this process and of the groups that contain them."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    found = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # version 1 has a folder per list of controllers, version 2 has one folder
        folder = groups / controllers
        inner = folder / path.lstrip("/")
        while True:
            found.append(_quota(inner))
            if inner in (folder, inner.parent):
                break
            inner = inner.parent
    return found


def _quota(folder: Path) -> float:
    """Return the limit of one control group in cores."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)
