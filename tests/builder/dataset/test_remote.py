"""Byte ranges: one failed request costs a pause, never an image, for every reader."""

from __future__ import annotations

import fsspec
import pytest
from cytoimagenet import read_images
from cytoimagenet.builder.dataset import remote
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.ranges import reader_of
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def no_pauses(monkeypatch):
    """Note the pauses instead of making them."""
    pauses = []
    monkeypatch.setattr(remote, "_pause", pauses.append)
    return pauses


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}"


def test_an_absent_file_is_reported_at_once(url, no_pauses):
    with pytest.raises(FileNotFoundError):
        remote.read_range(f"{url}/data/none.tar", 0, 10)
    assert not no_pauses


def test_long_ranges_are_requested_in_parts(small_dataset, server, url, monkeypatch, no_pauses):
    monkeypatch.setattr(remote, "MAX_BYTES_PER_REQUEST", 1000)
    shard = sorted((small_dataset / "data").glob("train-*.tar"))[0]
    server.faults[:] = ["", "503", "", "reset"]
    got = remote.read_range(f"{url}/data/{shard.name}", 100, 5321)
    assert got == shard.read_bytes()[100:5321]
    assert max(stop - start for _, start, stop, _ in server.asked) <= 1000


@pytest.mark.parametrize("fault", ["503", "cut off", "short, with its length"])
def test_read_images_survives_a_request_that_fails(fault, small_dataset, server, url, no_pauses):
    rows = Manifest.load(small_dataset).metadata().sample(9, random_state=0)
    server.faults[:] = ["", fault, "", fault]
    images = read_images(rows, url)
    assert not server.faults, "both failures happened"
    assert [image.tobytes() for image in images] == [image.tobytes() for image in read_images(rows, small_dataset)]
    assert not no_pauses, "the first repetition needs no pause"


def test_a_request_that_keeps_failing_is_repeated_with_growing_pauses(small_dataset, server, url, no_pauses):
    rows = Manifest.load(small_dataset).metadata().head(1)
    server.faults[:] = ["503"] * 4
    [image] = read_images(rows, url)
    assert image.tobytes() == read_images(rows, small_dataset)[0].tobytes()
    assert [round(pause / 0.5 / 2**i, 1) for i, pause in enumerate(no_pauses)] == pytest.approx([0.75] * 3, abs=0.26)


def test_after_the_last_try_the_error_names_file_and_bytes(small_dataset, server, url, no_pauses):
    rows = Manifest.load(small_dataset).metadata().head(1)
    server.faults[:] = ["503"] * 100
    with pytest.raises(remote.FetchError, match=r"in 6 tries; the last one: .*503") as caught:
        read_images(rows, url)
    assert caught.value.where == f"{url}/{rows['shard'].iloc[0]}"
    assert f"Bytes {rows['offset'].iloc[0]:,} to" in caught.value.what
    assert len(server.asked) - len([path for path, *_ in server.asked if ".tar" not in path]) == 7
    assert len(no_pauses) == 5


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 90), st.integers(1, 10)), max_size=8))
def test_ranges_of_many_files_are_the_slices_of_their_contents(ranges):
    contents = {"a": bytes(range(100)), "b": bytes(range(100, 200))}
    memory = fsspec.filesystem("memory")
    for name, content in contents.items():
        memory.pipe_file(f"/ranges/{name}", content)
    fetched = reader_of("memory://ranges")([r[0] for r in ranges], [r[1] for r in ranges], [r[2] for r in ranges])
    assert fetched == [contents[name][offset : offset + size] for name, offset, size in ranges]
