"""Batches decoded by worker processes: the same ones in the same order, errors, deaths and Ctrl-C."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from itertools import islice, pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from cytoimagenet.builder.errors import UnreadableImageError
from cytoimagenet.loaders import worker_processes
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import RowReader
from cytoimagenet.loaders.order import Part
from cytoimagenet.loaders.stream import ShardReader, stream
from cytoimagenet.loaders.windows import WindowsInPageCache
from cytoimagenet.training.feeding import data_loader
from torch.utils.data import dataloader

# torch advises against more workers than cores
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SIZE = 24


def reader_of(data_dir, kind, split="train"):
    index = read_index(data_dir, split)
    return ShardReader(index, SIZE, window=3000) if kind == "stream" else RowReader(index, SIZE)


def passed(batches):
    return [(b["images"].numpy().tobytes(), b["labels"].tolist()) for b in batches]


@pytest.mark.parametrize("kind", ["stream", "map"])
def test_processes_give_the_batches_of_one_thread(small_dataset, kind):
    reader = reader_of(small_dataset, kind)
    by_one = Batches(reader, batch_size=16, workers=0, seed=4)
    for workers in (5, 7):
        batches = Batches(reader, batch_size=16, workers=workers, seed=4)
        assert batches.processes() == workers
        for epoch in (0, 1):
            batches.set_epoch(epoch)
            by_one.set_epoch(epoch)
            assert passed(batches) == passed(by_one), epoch
        batches.skip(1, 11)
        rest = passed(batches)
        assert [labels for _, labels in rest[:11]] == [[]] * 11
        assert rest[11:] == passed(by_one)[11:]


def test_a_resumed_epoch_contains_the_images_that_are_left(small_dataset):
    reader = reader_of(small_dataset, "map")
    parts = [Part(processes=2, batch_size=16, accumulation=1, batches=3)]
    seen = []
    for workers in (0, 5):
        batches = Batches(reader, batch_size=16, workers=workers)
        next(iter(batches))  # processes that are running already must learn of it, too
        batches.resume(0, parts)
        seen.append(passed(batches))
    assert seen[0] == seen[1]
    assert sum(len(labels) for _, labels in seen[0]) == (270 - 2 * 16 * 3) // 16 * 16


def test_every_image_is_evaluated_once(small_dataset):
    batches = Batches(reader_of(small_dataset, "stream"), batch_size=7, workers=6, training=False)
    labels = [label for batch in batches for label in batch["labels"].tolist()]
    assert labels == read_index(small_dataset).label.tolist()


def test_a_pass_that_was_left_early_does_not_disturb_the_next_one(small_dataset):
    reader = reader_of(small_dataset, "map")
    expected = passed(Batches(reader, batch_size=16, workers=0))
    batches = Batches(reader, batch_size=16, workers=5)
    for _ in range(2):
        assert passed(islice(iter(batches), 3)) == expected[:3]
    assert passed(batches) == expected


def test_two_passes_at_the_same_time(small_dataset):
    reader = reader_of(small_dataset, "map")
    expected = passed(Batches(reader, batch_size=16, workers=0))
    batches = Batches(reader, batch_size=16, workers=5)
    one, other = iter(batches), iter(batches)
    seen = [(passed([a])[0], passed([b])[0]) for a, b in zip(one, other, strict=True)]
    assert [a for a, _ in seen] == [b for _, b in seen] == expected


def test_processes_stay_from_epoch_to_epoch(small_dataset):
    batches = Batches(reader_of(small_dataset, "map"), batch_size=16, workers=5)
    loaders = []
    for _ in range(2):
        list(batches)
        loaders.append(batches._processes)
    assert loaders[0] is loaders[1]
    assert loaders[0].prefetch_factor == 2, "memory: two batches per process"


def test_the_cache_is_the_same_with_processes(small_dataset, tmp_path):
    one, other = (
        build_cache(small_dataset, size=SIZE, folder=tmp_path / str(w), workers=w).read_bytes() for w in (1, 5)
    )
    assert one == other


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("workers", [0, 1, 5])
def test_training_decodes_in_processes_on_a_gpu_and_with_many_workers(small_dataset, device, workers):
    batches = Batches(reader_of(small_dataset, "map"), batch_size=16, workers=workers)
    loader = data_loader(batches, torch.device(device))
    assert loader.num_workers == (workers if device == "cuda" or workers == 5 else 0)
    assert loader.pin_memory == (device == "cuda")


def test_threads_that_read_the_cache_copy_to_pinned_memory(small_dataset, tmp_path, monkeypatch):
    threads = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: threads.append(threading.current_thread().name) or t)
    index = read_index(small_dataset)
    reader = CacheReader(index, build_cache(small_dataset, size=SIZE, folder=tmp_path))
    batches = Batches(reader, batch_size=16, workers=2)
    loader = data_loader(batches, torch.device("cuda"))
    assert (loader.num_workers, loader.pin_memory) == (0, False)
    batches.set_epoch(3)
    found = passed(loader)
    assert len(threads) == len(found) == 16
    assert all(name.startswith("cytoimagenet-decode") for name in threads)
    assert found == passed(batches)
    assert len(threads) == 16, "the batches themselves are not pinned"


def test_few_batches_need_few_processes(small_dataset):
    assert Batches(reader_of(small_dataset, "map"), batch_size=40, workers=16).processes() == 270 // 40
    assert Batches(reader_of(small_dataset, "map"), batch_size=90, workers=16).processes() == 0, "three threads"


def test_remote_shards_are_fetched_once_by_threads(server):
    url = f"http://127.0.0.1:{server.server_port}"
    batches = stream(url, batch_size=16, size=SIZE, workers=8)
    assert batches.processes() == 0
    server.asked.clear()
    list(batches)
    ranges = sorted((path, start, stop) for path, start, stop, _ in server.asked if path.endswith(".tar") and stop)
    assert len(ranges) == len(set(ranges)) > 0
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(ranges)), "no byte twice"


def test_a_window_is_read_ahead_once(small_dataset, monkeypatch):
    reader = reader_of(small_dataset, "stream")
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, start, length, _: asked.append((file, start, length)))
    order = reader.order(0, 0)
    windows = WindowsInPageCache(reader._rows, reader.window, order, reader.window_bytes)
    seen = set()
    for image in order.tolist():
        shard = reader.index.shard[image]
        png = windows.png(image)
        assert len(png) == reader.index.size[image]
        file = reader._rows.file(int(shard))
        (start,) = [s for f, s, _ in asked if f == file and s <= reader.index.offset[image] < s + 3000]
        seen.add((file, start, 3000))
    assert sorted(asked) == sorted(seen)
    assert len(asked) == len(np.unique(reader.window))


def test_a_small_shared_memory_leaves_the_work_to_threads(small_dataset, monkeypatch):
    reader = reader_of(small_dataset, "map")
    expected = passed(Batches(reader, batch_size=16, workers=0))
    free = shutil.disk_usage("/")._replace(free=5 * 3 * 16 * SIZE * SIZE)
    monkeypatch.setattr(worker_processes.shutil, "disk_usage", lambda _: free)
    with pytest.warns(UserWarning, match="4 threads decode instead of 5 processes.*--shm-size"):
        assert passed(Batches(reader, batch_size=16, workers=5)) == expected
    monkeypatch.setattr(worker_processes.shutil, "disk_usage", lambda _: free._replace(free=free.free + 1))
    assert Batches(reader, batch_size=16, workers=5).processes() == 5


def test_an_error_of_a_worker_keeps_its_words(small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    index = read_index(tmp_path / "cytoimagenet")
    with open(tmp_path / "cytoimagenet" / index.shards[index.shard[100]], "r+b") as shard:
        shard.seek(int(index.offset[100]))
        shard.write(b"not a PNG")
    with pytest.raises(UnreadableImageError) as by_thread:
        list(Batches(RowReader(index, SIZE), batch_size=16, workers=0))
    with pytest.raises(UnreadableImageError) as by_process:
        list(Batches(RowReader(index, SIZE), batch_size=16, workers=5))
    assert str(by_process.value) == str(by_thread.value)


class Deadly(RowReader):
    """Kills its process as the kernel does when memory runs out."""

    def read(self, ids):
        if 100 in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(ids)


def test_a_worker_that_dies_is_reported(small_dataset):
    batches = Batches(Deadly(read_index(small_dataset), SIZE), batch_size=16, workers=5)
    with pytest.raises(worker_processes.WorkerDiedError, match=r"(?s)images died.*fewer --workers"):
        list(batches)


def test_a_death_is_reported_to_whoever_waits_for_a_batch_and_to_nobody_else(small_dataset):
    batches = iter(Batches(reader_of(small_dataset, "map"), batch_size=16, workers=5))
    next(batches)
    for process in multiprocessing.active_children():
        process.kill()
        # its signal has arrived, and torch finds how it ended: its handler would raise here
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(worker_processes.WorkerDiedError, match="images died"):
        list(batches)


SCRIPT = """
    import sys
    from cytoimagenet.loaders.stream import stream

    for number in range(10**6):
        for batch in stream(sys.argv[1], batch_size=16, size=24, workers=5):
            if number == 0:
                print("started", flush=True)
"""


def test_ctrl_c_ends_every_process_quietly(small_dataset, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    running = subprocess.Popen(
        [sys.executable, str(script), str(small_dataset)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert running.stdout.readline() == "started\n"
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode in (1, -signal.SIGINT)
    assert errors.count("Traceback") == 1, errors
    assert errors.rstrip().endswith("KeyboardInterrupt")
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_only_connections_of_the_workers_are_called_a_death(small_dataset):
    batches = Batches(ShardReader(read_index(small_dataset), SIZE), batch_size=16, workers=5)
    lost = "Connection reset by peer"
    with (
        pytest.raises(worker_processes.WorkerDiedError, match=lost),
        mock.patch.object(
            dataloader._MultiProcessingDataLoaderIter, "_get_data", side_effect=ConnectionResetError(lost)
        ),
    ):
        list(batches)
    with pytest.raises(ConnectionResetError), worker_processes.deaths_reported():
        raise ConnectionResetError(lost)


def test_a_process_that_uses_the_threads_of_opencv_can_start_workers(small_dataset):
    script = f"""
        import cv2, numpy as np
        from cytoimagenet.loaders.stream import stream
        cv2.setNumThreads(4)
        for _ in range(20):
            cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 5)
        batches = stream({str(small_dataset)!r}, size=24, batch_size=16, workers=5)
        print(sum(len(batch["labels"]) for batch in batches), cv2.getNumThreads())
    """
    # it waited for ever
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout.split() == ["256", "4"], ended.stderr
