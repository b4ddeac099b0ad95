"""Local copies of remote shards: the second epoch comes from the disk, within a bound, checked, shared by processes."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.local_copies import LocalCopies
from cytoimagenet.loaders.stream import ShardReader, local_copies

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
SIZE, WINDOW = 24, 3000


def passed(batches):
    return [(b["images"].numpy().tobytes(), b["labels"].tolist()) for b in batches]


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def remote(server):
    index = read_index(f"http://127.0.0.1:{server.server_port}")

    def batches(folder, most_bytes=10**9, **options):
        reader = ShardReader(index, SIZE, WINDOW, copies=LocalCopies(folder, most_bytes))
        return Batches(reader, batch_size=16, **options)

    return batches


def expected(small_dataset, epoch):
    return passed(Batches(ShardReader(read_index(small_dataset), SIZE, WINDOW), batch_size=16, epoch=epoch))


def asked(server):
    return [entry for entry in server.asked if entry[0].endswith(".tar")]


@pytest.mark.parametrize("workers", [0, 2, 5])
def test_the_second_epoch_asks_the_server_for_nothing(small_dataset, server, remote, tmp_path, workers):
    batches = remote(tmp_path / "copies", workers=workers)
    assert batches.processes() == (5 if workers == 5 else 0)
    server.asked.clear()
    for epoch in (0, 1):
        batches.set_epoch(epoch)
        assert passed(batches) == expected(small_dataset, epoch)
        if epoch == 0:
            seen = asked(server)
            assert len(seen) == len(set(seen)), "no range was asked for twice, by any process"
            server.asked.clear()
    # of the 270 images 14 are in no batch of an epoch: a window of which the first epoch used none may be left
    assert len(asked(server)) <= 14
    names = [path.name for path in (tmp_path / "copies").iterdir()]
    assert [name for name in names if name.startswith(".partial") and "space" not in name] == []


def test_the_bound_is_kept_and_the_batches_are_the_same(small_dataset, remote, tmp_path):
    folder = tmp_path / "copies"
    batches = remote(folder, 10_000)
    for number, batch in enumerate(passed(batches)):
        assert batch == expected(small_dataset, 0)[number] if number < 2 else True
        assert bytes_in(folder) <= 10_000
    assert bytes_in(folder) > 3_000
    assert passed(batches) == expected(small_dataset, 0)


def test_a_copy_larger_than_the_bound_is_not_kept(tmp_path):
    copies = LocalCopies(tmp_path, 100)
    assert copies.open("a", lambda: [b"x" * 50]).read(0, 3) == b"xxx"
    assert copies.open("b", lambda: [b"y" * 90]).read(88, 5)[:2] == b"yy"
    assert bytes_in(tmp_path) == 50 + 32, "what is there already is not removed for it"


def test_the_copy_that_was_not_used_for_longest_goes_first(tmp_path):
    copies = LocalCopies(tmp_path, 3 * 42)
    fetched = []

    def use(name):
        copy = copies.open(name, lambda: fetched.append(name) or [name.encode() * 10])
        time_ns = len(fetched) + len(used)
        used.append(name)
        os.utime(copy.file, ns=(time_ns, time_ns))
        return copy

    used = []
    for name in "abcad":
        copy = use(name)
        assert copy.read(0, 10) == name.encode() * 10
    assert fetched == [*"abcd"]
    for name in "adcb":  # b was removed for d; reading b again removes the oldest
        use(name)
    assert fetched == [*"abcdb"]


@pytest.mark.parametrize("damage", ["a bit", "the end", "everything"])
def test_a_damaged_copy_is_fetched_again(tmp_path, damage):
    copies = LocalCopies(tmp_path, 10**6)
    fetched = []

    def content():
        copy = copies.open("a", lambda: fetched.append(1) or [b"one", memoryview(b"two")])
        return copy.read(0, 6)

    assert content() == content() == b"onetwo"
    assert len(fetched) == 1
    (path,) = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    data = path.read_bytes()
    path.write_bytes({"a bit": bytes([data[0] ^ 1]) + data[1:], "the end": data[:-5], "everything": b""}[damage])
    assert content() == b"onetwo"
    assert len(fetched) == 2


def test_an_open_copy_stays_readable_when_it_is_removed(tmp_path):
    copy = LocalCopies(tmp_path, 10**6).open("a", lambda: [b"one"])
    for path in tmp_path.iterdir():
        path.unlink()
    assert copy.read(0, 3) == b"one"


def _fetch_once(folder, barrier, fetched):
    def fetch():
        with fetched.get_lock():
            fetched.value += 1
        return [b"content"]

    barrier.wait()
    assert LocalCopies(folder, 10**6).open("a", fetch).read(0, 7) == b"content"


def test_processes_fetch_a_copy_once(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, fetched = context.Barrier(4), context.Value("i", 0)
    running = [context.Process(target=_fetch_once, args=(tmp_path, barrier, fetched)) for _ in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * 4
    assert fetched.value == 1


def test_there_are_no_copies_of_a_local_dataset_or_without_space(small_dataset, server):
    assert local_copies(read_index(small_dataset), 10**9) is None
    remote = read_index(f"http://127.0.0.1:{server.server_port}")
    assert local_copies(remote, 0) is None
    assert local_copies(remote, 5, "folder").most_bytes == 5
    with pytest.raises(UsageError, match="-5 bytes"):
        local_copies(remote, -5)
