"""Two separately started processes: each image once over both, equal numbers of batches, resuming within an epoch."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import RowReader
from cytoimagenet.loaders.stream import ShardReader

SIZE, BATCH, SEED, SKIPPED = 24, 16, 5, 3
SCRIPT = """
    import hashlib, json, pickle, sys
    import torch.distributed as dist
    from cytoimagenet.loaders.batches import Batches
    from cytoimagenet.loaders.processes import rank_and_world
    from cytoimagenet.loaders.stream import stream

    rank, folder, url, size, batch_size, seed, skipped = int(sys.argv[1]), *sys.argv[2:4], *map(int, sys.argv[4:])
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    assert rank_and_world() == (rank, 2)

    def digests(batches):
        return [[hashlib.md5(image.numpy()).hexdigest() for image in batch["images"]] for batch in batches]

    result = {}
    with open(f"{folder}/readers.pkl", "rb") as file:
        readers = pickle.load(file)
    for (name, split), reader in readers.items():
        for workers in (0, 2):
            options = dict(batch_size=batch_size, workers=workers, seed=seed, rank=rank, world=2)
            batches = Batches(reader, training=split == "train", **options)
            epochs = []
            for epoch in (0, 1):
                batches.set_epoch(epoch)
                epochs.append(digests(batches))
            batches.skip(1, skipped)
            result[f"{name} {split} {workers}"] = len(batches), epochs, digests(batches)
    for split in ("train", "validation"):  # each process finds its own rank
        result[f"remote {split}"] = digests(stream(url, split, batch_size=batch_size, size=size, seed=seed))
    both = [None, None]
    dist.all_gather_object(both, result)
    if rank == 0:
        print(json.dumps(both))
    dist.destroy_process_group()
"""


def test_two_processes_share_every_epoch_and_resume(small_dataset, server, tmp_path):
    readers, expected = {}, {}
    for split in ("train", "validation"):
        index = read_index(small_dataset, split)
        readers["stream", split] = ShardReader(index, SIZE, window=3000)
        readers["map", split] = rows = RowReader(index, SIZE)
        readers["cache", split] = CacheReader(index, build_cache(small_dataset, size=SIZE, folder=tmp_path))
        pixels = rows.read(np.arange(len(index)))
        expected[split] = np.array([hashlib.md5(image, usedforsecurity=False).hexdigest() for image in pixels])
        assert len(set(expected[split])) == len(index), "all images differ"
    (tmp_path / "readers.pkl").write_bytes(pickle.dumps(readers))
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), "GLOO_SOCKET_IFNAME": "lo"}
    url = f"http://127.0.0.1:{server.server_port}"
    server.faults[:] = ["", "503", "", "cut off", "", "reset"]
    settings = [str(value) for value in (tmp_path, url, SIZE, BATCH, SEED, SKIPPED)]
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), *settings],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    (printed, errors), (_, more_errors) = (process.communicate(timeout=300) for process in running)
    assert [process.returncode for process in running] == [0, 0], (errors + more_errors)[-3000:]
    both = json.loads(printed.splitlines()[-1])
    for (name, split), reader in readers.items():
        for workers in (0, 2):
            ranks = [rank[f"{name} {split} {workers}"] for rank in both]
            for epoch in (0, 1):
                seen = [digest for _, epochs, _ in ranks for batch in epochs[epoch] for digest in batch]
                if split == "train":
                    ids = reader.order(SEED, epoch)[: 270 // (2 * BATCH) * 2 * BATCH]
                    assert [len(epochs[epoch]) for _, epochs, _ in ranks] == [270 // (2 * BATCH)] * 2
                else:
                    ids = np.arange(30)
                assert seen == expected[split][ids].tolist(), (name, split, workers, epoch)
            for length, epochs, rest in ranks:
                assert length == len(epochs[0]) == len(epochs[1]) == len(rest)
                assert rest[SKIPPED:] == epochs[1][SKIPPED:]
                assert not any(rest[:SKIPPED])  # an epoch with fewer batches is skipped completely
    assert not server.faults, "all faults happened"
    for split in ("train", "validation"):
        seen = [digest for rank in both for batch in rank[f"remote {split}"] for digest in batch]
        reader = ShardReader(read_index(small_dataset, split), SIZE)
        ids = reader.order(SEED, 0)[: 270 // (2 * BATCH) * 2 * BATCH] if split == "train" else np.arange(30)
        assert seen == expected[split][ids].tolist()
