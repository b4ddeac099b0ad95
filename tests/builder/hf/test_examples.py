"""Examples of shards made by hand: what is read, in which order, and which damage is reported."""

import io
import json
import tarfile

import pytest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError
from cytoimagenet.builder.hf import examples
from cytoimagenet.builder.shards.format import COLUMNS

from tests import memory

MANIFEST = Manifest(
    "nowhere",
    {
        "settings": {"sample_per_class": 3},
        "classes": [
            {"label": "actin", "category": "cell_visible", "train": 40, "validation": 4},
            {"label": "human", "category": "organism", "train": 2, "validation": 0},
            {"label": "hela", "category": "cell_type", "train": 50, "validation": 5},
        ],
        "splits": {"train": {"rows": 92}, "validation": {"rows": 9}, "sample": {"rows": 8}},
    },
)


def test_the_sizes_of_the_splits_come_from_the_classes():
    assert examples.split_sizes(MANIFEST, "default", None) == {"train": 92, "validation": 9}
    assert examples.split_sizes(MANIFEST, "default", {0, 2}) == {"train": 90, "validation": 9}
    assert examples.split_sizes(MANIFEST, "organism", {1}) == {"train": 2}
    assert examples.split_sizes(MANIFEST, "sample", None) == {"train": 3 + 2 + 3}


@pytest.mark.parametrize(("images", "few"), [(0, True), (20, True), (21, False), (101, False)])
def test_a_fifth_of_the_images_or_less_is_read_by_place(images, few):
    assert examples.are_few(MANIFEST, {"train": images}) is few


def shard(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return str(path)


def image(key, number):
    row = {name: f"{name} of {key}" for name in COLUMNS}
    return [(f"{key}.png", b"png " + key.encode()), (f"{key}.json", json.dumps(row).encode()),
            (f"{key}.cls", str(number).encode())]  # fmt: skip


def test_a_tar_gives_one_example_per_key_in_its_order(tmp_path):
    path = shard(tmp_path / "a.tar", [*image("b", 2), *image("a", 0), *image("c", 2)])
    found = list(examples.read_shard(path, "webdataset", rows=3))
    assert [(one["image"], one["label"]) for one in found] == [
        ({"bytes": b"png b", "path": "b.png"}, 2),
        ({"bytes": b"png a", "path": "a.png"}, 0),
        ({"bytes": b"png c", "path": "c.png"}, 2),
    ]
    assert found[1]["compound"] == "compound of a"
    assert set(found[1]) == {"image", *COLUMNS}
    chosen = examples.read_shard(path, "webdataset", {2}, rows=3)
    assert [one["image"]["path"] for one in chosen] == ["b.png", "c.png"]


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([*image("a", 0), *image("b", 1)], "it has 2 images instead of 3"),
        ([*image("a", 0), *image("b", 1)[:2], *image("c", 1)], "b has no cls"),
        ([*image("a", 0), ("a.png", b"again"), *image("c", 1)], "it has a.png twice"),
        ([*image("a", 0), ("b.png", b""), ("b.json", b"{"), ("b.cls", b"0")], "after 1 images"),
        ([*image("a", 0), ("b.png", b""), ("b.json", b"{}"), ("b.cls", b"0")], "after 1 images"),
        ([*image("a", 0), ("b.png", b""), ("b.json", b"[" * 100_000), ("b.cls", b"0")], "after 1 images"),
        ([*image("a", 0), ("b.png", b""), ("b.json", b"[]"), ("b.cls", b"0")], "after 1 images"),
        ([*image("a", 0), ("b.png", b""), ("b.json", b"3"), ("b.cls", b"0")], "after 1 images"),
    ],
)
def test_damage_is_reported_with_the_shard(members, problem, tmp_path):
    path = shard(tmp_path / "a.tar", members)
    with pytest.raises(CheckFailedError, match=problem) as caught:
        list(examples.read_shard(path, "webdataset", rows=3))
    assert caught.value.where == path


def test_members_that_are_no_regular_files_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for name, content in image("a", 1):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    [one] = examples.read_shard(str(tmp_path / "a.tar"), "webdataset", rows=1)
    assert one["image"]["bytes"] == b"png a"


def test_a_sparse_member_is_not_unpacked(tmp_path):
    """GNU tar can claim terabytes of zeros in one block."""
    info = tarfile.TarInfo("a.png")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000001000\0"  # 512 bytes from 0
    block[482], block[483:495] = 0, b"77777777777\0"  # and zeros up to 8 GB
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(512 * 3))
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.next().size == 8**11 - 1
    with memory.at_most(300 * 2**20), pytest.raises(CheckFailedError, match=r"a\.png has 8,589,934,591 bytes"):
        list(examples.read_shard(str(tmp_path / "a.tar"), "webdataset"))
