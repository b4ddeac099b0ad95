"""The index of this process and the number of processes of a distributed run."""

from __future__ import annotations

import os

import torch


def rank_and_world() -> tuple[int, int]:
    """Return the index of this process (0, 1, ...) and the number of processes.

    Both are read from torch.distributed if it is initialised, else from the launcher's environment variables `RANK` and
    `WORLD_SIZE`, else they are 0 and 1.

    Examples
    --------
    >>> rank_and_world()
    (0, 1)
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
