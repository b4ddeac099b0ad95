"""The index of this process and the number of processes, from the launcher or from torch.distributed."""

from __future__ import annotations

import pytest
import torch
from cytoimagenet.loaders.processes import rank_and_world


def test_a_single_process_without_a_launcher(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert rank_and_world() == (0, 1)


def test_the_launchers_environment_is_read(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert rank_and_world() == (2, 4)


@pytest.mark.parametrize("place", [(0, 2), (1, 2)])
def test_an_initialised_process_group_comes_before_the_environment(monkeypatch, place):
    monkeypatch.setenv("RANK", "7")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: place[0])
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: place[1])
    assert rank_and_world() == place
