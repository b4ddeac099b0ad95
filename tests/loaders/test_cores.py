"""The cores that a process may use, from its affinity mask and control groups written for the test."""

from __future__ import annotations

import os

import pytest
from cytoimagenet.loaders import cores
from cytoimagenet.loaders.stream import decode_workers, stream


@pytest.fixture(autouse=True)
def sixteen(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)


def groups(folder, files, membership):
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text)
    (folder / "own").write_text(membership)
    return str(folder / "groups"), str(folder / "own")


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({}, "", 16),
        ({"cpu.max": "max 100000\n"}, "0::/\n", 16),
        ({"cpu.max": "400000 100000\n"}, "0::/\n", 4),
        ({"cpu.max": "450000 100000\n"}, "0::/\n", 4),
        ({"cpu.max": "50000 100000\n"}, "0::/\n", 1),
        ({"cpu.max": "6400000 100000\n"}, "0::/\n", 16),
        ({"pod/cpu.max": "800000 100000\n", "pod/job/cpu.max": "max 100000\n"}, "0::/pod/job\n", 8),
        ({"pod/cpu.max": "800000 100000\n", "pod/job/cpu.max": "300000 100000\n"}, "0::/pod/job\n", 3),
        ({"other/cpu.max": "100000 100000\n"}, "0::/pod\n", 16),
        ({"cpu.max": "nonsense"}, "0::/\n", 16),
        (
            {"cpu,cpuacct/docker/1/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n"},
            "5:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",
            2,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/\n", 16),
    ],
)
def test_the_smallest_limit_counts(tmp_path, files, membership, expected):
    assert cores.usable_cores(*groups(tmp_path, files, membership)) == expected


def test_without_control_groups_the_affinity_mask_counts(tmp_path):
    assert cores.usable_cores(str(tmp_path / "none"), str(tmp_path / "none")) == 16


def test_without_an_affinity_mask_all_cores_count(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores.usable_cores(str(tmp_path), str(tmp_path / "none")) == 3


@pytest.mark.parametrize(
    ("usable", "processes", "workers"),
    [
        (1, 1, 1),
        (2, 1, 2),
        (3, 1, 2),
        (4, 1, 2),
        (8, 1, 6),
        (16, 1, 14),
        (64, 1, 16),
        (64, 4, 14),
        (4, 8, 1),
        (8, 4, 2),
    ],
)
def test_default_number_of_workers(monkeypatch, usable, processes, workers):
    monkeypatch.setattr(cores, "usable_cores", lambda: usable)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert cores.default_workers() == workers


def test_a_stream_has_the_default_number_of_workers_but_not_more_than_shards(small_dataset, monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    assert stream(small_dataset).workers == 6
    assert decode_workers(None, shards=100, world=1) == 6
    assert stream(small_dataset, world=2, rank=0).workers == 4
