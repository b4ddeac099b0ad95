"""The rank of this process, and the number of processes."""

from __future__ import annotations

import os

import torch


def place() -> tuple[int, int]:
    """Return this process' rank and how many there are: as torch.distributed says, or as the launcher does."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
