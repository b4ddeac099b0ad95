"""Files of the decoded cache that a crash or a hostile hand has damaged."""

import json

import numpy as np
import pytest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.builder.storage import TEMPORARY
from cytoimagenet.loaders import cache
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index

SIZE = 24


def test_a_damaged_header_is_one_error(small_dataset, tmp_path, rng):
    index = read_index(small_dataset)
    path = build_cache(small_dataset, size=SIZE, folder=tmp_path)
    whole = path.read_bytes()
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, 128, rng.integers(1, 5)):
            data[at] = rng.choice([0, 10, 39, 40, 123, 255, int(rng.integers(256))])
        path.write_bytes(data)
        try:
            CacheReader(index, path)
        except CheckFailedError:
            refused += 1
    assert refused > 200


@pytest.mark.parametrize("note", [b"", b"{", b"\xff", b"[" * 10**5, b"[]", b"3", b'{"train": "x"}', b'{"train": -4}'])
def test_an_unfinished_cache_with_a_damaged_note_is_started_anew(small_dataset, tmp_path, note):
    expected = build_cache(small_dataset, size=SIZE, folder=tmp_path / "a")
    unfinished = tmp_path / "b" / f"{TEMPORARY}{expected.name}"
    unfinished.parent.mkdir()
    np.save(unfinished.with_suffix(""), np.zeros((300, SIZE, SIZE), np.uint8))
    unfinished.with_suffix("").with_name(unfinished.stem + ".npy").rename(unfinished)
    unfinished.with_suffix(".json").write_bytes(note)
    assert build_cache(small_dataset, size=SIZE, folder=tmp_path / "b").read_bytes() == expected.read_bytes()


def test_an_unfinished_cache_that_is_damaged_itself_is_started_anew(small_dataset, tmp_path):
    expected = build_cache(small_dataset, size=SIZE, folder=tmp_path / "a")
    unfinished = tmp_path / "b" / f"{TEMPORARY}{expected.name}"
    unfinished.parent.mkdir()
    unfinished.with_suffix(".json").write_bytes(json.dumps({"train": 270}).encode())
    for content in (b"", b"\x93NUMPY\x01\x00\xff\xff", expected.read_bytes()[:-9]):
        unfinished.write_bytes(content)
        built = build_cache(small_dataset, size=SIZE, folder=tmp_path / "b")
        assert built.read_bytes() == expected.read_bytes()
        built.unlink()
        unfinished.with_suffix(".json").write_bytes(json.dumps({"train": 270}).encode())


def test_a_disk_that_is_too_small_is_reported_with_the_size(small_dataset, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "posix_fallocate", full)
    with pytest.raises(UsageError, match="The cache needs 173 kB: No space left on device"):
        build_cache(small_dataset, size=SIZE, folder=tmp_path)
