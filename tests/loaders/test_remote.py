"""Remote shards: temporary faults of the storage cost time but no images."""

from __future__ import annotations

import shutil

import fsspec
import numpy as np
import pytest
import torch
from cytoimagenet.builder.dataset import remote
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import MapDataset
from cytoimagenet.loaders.stream import ShardReader, stream

SIZE = 24


@pytest.fixture
def no_pauses(monkeypatch):
    """Record the pauses instead of waiting."""
    pauses = []
    monkeypatch.setattr(remote, "_pause", pauses.append)
    return pauses


def collect(batches):
    got = list(batches)
    return torch.cat([b["images"] for b in got]), torch.cat([b["labels"] for b in got])


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_memory_storage_gives_the_same_batches(small_dataset):
    fs = fsspec.filesystem("memory")
    fs.put(str(small_dataset), "/remote/cytoimagenet", recursive=True)
    try:
        there = collect(stream("memory://remote/cytoimagenet", batch_size=16, size=SIZE))
        assert same(there, collect(stream(small_dataset, batch_size=16, size=SIZE)))
    finally:
        fs.rm("/remote", recursive=True)


def test_faults_lose_and_repeat_no_image(small_dataset, server, no_pauses):
    faults = ["503", "", "reset", "", "cut off", "", "short, with its length", "", "503", "503", "", "reset"]
    server.faults[:] = faults
    url = f"http://127.0.0.1:{server.server_port}"
    there = collect(stream(url, batch_size=16, size=SIZE, workers=2))
    assert same(there, collect(stream(small_dataset, batch_size=16, size=SIZE, workers=2)))
    assert not server.faults, "all faults happened"
    # the HTTP client itself asks again when a connection it kept open is reset
    assert 5 <= len(no_pauses) <= 7


def test_validation_over_http_is_complete(small_dataset, server, no_pauses):
    server.faults[:] = ["cut off"]
    url = f"http://127.0.0.1:{server.server_port}"
    images, labels = collect(stream(url, "validation", batch_size=7, size=SIZE))
    assert len(images) == 30
    assert labels.tolist() == read_index(small_dataset, "validation").label.tolist()


def test_a_storage_that_stays_broken_is_reported(server, no_pauses):
    url = f"http://127.0.0.1:{server.server_port}"
    batches = stream(url, batch_size=16, size=SIZE)
    server.faults[:] = ["503"] * 100
    with pytest.raises(remote.FetchError, match="in 6 tries") as caught:
        collect(batches)
    assert ".tar" in str(caught.value)
    assert "503" in str(caught.value)
    # each pause at most doubles: 0.5 s, 1 s, 2 s, 4 s, 8 s, with jitter
    assert all(pause <= 8 for pause in no_pauses)


def test_a_sparse_subset_reads_only_its_own_bytes(small_dataset, server, no_pauses):
    url = f"http://127.0.0.1:{server.server_port}"
    index = read_index(url, labels=["hela"])
    source = ShardReader(index, SIZE)
    ids = np.flatnonzero(index.shard == index.shard[0])[[0, -1]]  # far apart in one shard
    server.asked.clear()
    with source.open(ids) as read:
        pixels = read(ids)
    asked = sum(stop - start for path, start, stop, _ in server.asked if path.endswith(".tar"))
    assert asked == int(index.size[ids].sum())
    with ShardReader(read_index(small_dataset, labels=["hela"]), SIZE).open(ids) as read:
        assert (read(ids) == pixels).all()


def test_a_truncated_shard_is_named(small_dataset, tmp_path):
    broken = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset, broken)
    shard = sorted((broken / "data").glob("train-*.tar"))[0]
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(remote.FetchError, match="The file ends") as caught:
        collect(stream(broken, batch_size=16, size=SIZE, workers=0))
    assert shard.name in str(caught.value)


def test_random_access_needs_a_local_folder(server):
    with pytest.raises(UsageError, match="local disk"):
        MapDataset(f"http://127.0.0.1:{server.server_port}")
