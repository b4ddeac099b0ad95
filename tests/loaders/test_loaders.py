"""Every loader returns the same pixels for an image; every epoch contains the promised images."""

from __future__ import annotations

import json
import pickle
import tarfile

import cv2
import numpy as np
import pytest
import torch
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.loaders import order
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import MapDataset, RowReader
from cytoimagenet.loaders.stream import ShardReader, stream
from cytoimagenet.loaders.transforms import to_pixels
from cytoimagenet.loaders.weights import class_weights, sample_weights
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

SIZE = 24


def readers(data_dir, split, folder):
    index = read_index(data_dir, split)
    return {
        "stream": ShardReader(index, SIZE, window=3000),
        "map": RowReader(index, SIZE),
        "cache": CacheReader(index, build_cache(data_dir, size=SIZE, folder=folder)),
    }


def by_tarfile(shard, key):
    with tarfile.open(shard) as archive:
        return archive.extractfile(f"{key}.png").read()


def read_all(reader, ids):
    with reader.open(ids) as read:
        return read(ids)


def test_every_loader_gives_the_same_pixels(small_dataset, tmp_path, rng):
    for split in ("train", "validation"):
        by_name = readers(small_dataset, split, tmp_path)
        index = by_name["map"].index
        ids = rng.permutation(len(index))
        table = Manifest.load(small_dataset).metadata().iloc[index.row[ids]]
        pngs = [by_tarfile(small_dataset / row.shard, row.key) for row in table.itertuples()]
        expected = np.stack([to_pixels(png, SIZE) for png in pngs])
        for name, reader in by_name.items():
            assert (read_all(reader, ids) == expected).all(), name
        dataset = MapDataset(small_dataset, split, size=SIZE)
        assert (dataset[int(ids[0])]["images"].numpy()[0] == expected[0]).all()
        assert [index.class_names[label] for label in index.label[ids]] == table["label"].tolist()


@pytest.mark.parametrize("kind", ["stream", "map", "cache"])
def test_workers_do_not_change_the_batches(small_dataset, tmp_path, kind):
    reader = readers(small_dataset, "train", tmp_path)[kind]
    seen = []
    for workers in (0, 1, 3):
        batches = Batches(reader, batch_size=16, workers=workers, seed=4, epoch=2)
        seen.append([(b["images"].numpy().tobytes(), b["labels"].tolist()) for b in batches])
        assert len(seen[-1]) == len(batches) == 270 // 16
    assert seen[0] == seen[1] == seen[2]


def test_order_is_a_function_of_seed_and_epoch(small_dataset):
    reader = ShardReader(read_index(small_dataset), SIZE, window=3000)
    first = reader.order(0, 0)
    assert (first == reader.order(0, 0)).all()
    assert (first != reader.order(0, 1)).any()
    assert (first != reader.order(1, 0)).any()
    assert sorted(first.tolist()) == list(range(270))
    windows = reader.window[first]
    assert len(np.flatnonzero(np.diff(windows))) == len(set(windows.tolist())) - 1, "each window is read once"


@pytest.mark.parametrize("kind", ["stream", "map", "cache"])
@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_within_an_epoch_reads_only_the_remaining_images(small_dataset, tmp_path, kind, workers):
    reader = readers(small_dataset, "train", tmp_path)[kind]
    complete = [b["images"] for b in Batches(reader, batch_size=16, workers=workers, epoch=1)]
    opened = []
    original = reader.open
    reader.open = lambda ids: (opened.append(len(ids)), original(ids))[1]
    resumed = Batches(reader, batch_size=16, workers=workers, epoch=1)
    resumed.skip(1, 11)
    rest = [b["images"] for b in resumed]
    assert [len(images) for images in rest[:11]] == [0] * 11
    assert all(torch.equal(a, b) for a, b in zip(complete[11:], rest[11:], strict=True))
    assert opened == [(16 - 11) * 16]
    resumed.set_epoch(2)
    assert all(len(b["images"]) == 16 for b in resumed), "the next epoch is complete"


def test_own_dataloader_with_processes_keeps_the_order(small_dataset):
    batches = stream(small_dataset, batch_size=16, size=SIZE, workers=0)
    alone = [b["labels"] for b in batches]
    for context, workers in (("fork", 2), ("spawn", 1)):  # a spawned worker takes seconds to import torch
        loader = DataLoader(batches, batch_size=None, num_workers=workers, multiprocessing_context=context)
        assert all(torch.equal(a, b["labels"]) for a, b in zip(alone, loader, strict=True))


def test_persistent_processes_get_the_epoch_and_the_number_of_skipped_batches(small_dataset):
    batches = stream(small_dataset, batch_size=16, size=SIZE, workers=0)
    loader = DataLoader(batches, batch_size=None, num_workers=2, persistent_workers=True)
    list(loader)
    for epoch in (1, 2):
        batches.set_epoch(epoch)
        complete = [b["labels"] for b in batches]
        assert all(torch.equal(a, b["labels"]) for a, b in zip(complete, loader, strict=True)), epoch
        batches.skip(epoch, 5)
        rest = [b["labels"] for b in loader]
        assert [len(labels) for labels in rest[:5]] == [0] * 5
        assert all(torch.equal(a, b) for a, b in zip(complete[5:], rest[5:], strict=True)), epoch


def test_a_map_dataset_can_be_pickled(small_dataset):
    dataset = MapDataset(small_dataset, size=SIZE)
    dataset[3]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again[3]["images"], dataset[3]["images"])
    assert torch.equal(dataset[-1]["images"], dataset[len(dataset) - 1]["images"])
    with pytest.raises(IndexError):
        dataset[len(dataset)]


def test_readers_can_be_pickled_without_their_pixels(small_dataset, tmp_path):
    for name, reader in readers(small_dataset, "train", tmp_path).items():
        packed = pickle.dumps(reader)
        assert len(packed) < 270 * SIZE * SIZE // 4, name
        ids = np.arange(7)
        assert (read_all(pickle.loads(packed), ids) == read_all(reader, ids)).all(), name


@given(
    images=st.integers(1, 200),
    batch_size=st.integers(1, 40),
    world=st.integers(1, 5),
)
def test_ranks_share_an_epoch(images, batch_size, world):
    everything = np.random.default_rng(0).permutation(images)
    ranks = range(world)
    plans = [order.batches(everything, batch_size, rank=r, world=world, training=False) for r in ranks]
    assert sorted(np.concatenate([ids for plan in plans for ids in plan]).tolist()) == list(range(images))
    assert [len(plan) for plan in plans] == [
        order.count(images, batch_size, rank=r, world=world, training=False) for r in ranks
    ]
    if images < world:
        with pytest.raises(UsageError):
            order.batches(everything, batch_size, rank=0, world=world)
        return
    plans = [order.batches(everything, batch_size, rank=r, world=world) for r in ranks]
    assert {len(plan) for plan in plans} == {order.count(images, batch_size, world=world)}
    seen = np.concatenate([ids for plan in plans for ids in plan])
    assert len(set(seen.tolist())) == len(seen)
    assert images - len(seen) < world * batch_size
    assert len({len(ids) for plan in plans for ids in plan}) == 1


def test_validation_is_in_order_and_complete(small_dataset):
    batches = stream(small_dataset, "validation", batch_size=8, size=SIZE)
    labels = torch.cat([b["labels"] for b in batches])
    assert len(batches) == 4
    assert labels.tolist() == read_index(small_dataset, "validation").label.tolist()


def test_too_many_workers_are_refused_with_the_numbers(small_dataset):
    with pytest.raises(UsageError, match="3 workers x 4 processes = 12 streams, but the split has 8 shards"):
        stream(small_dataset, workers=3, world=4, rank=0)


def test_subsets(small_dataset):
    complete = read_index(small_dataset)
    assert complete.class_names == Manifest.load(small_dataset).class_names
    visible = read_index(small_dataset, category="cell_visible")
    assert visible.class_names == ("actin", "golgi/cell membrane")
    assert set(visible.label.tolist()) == {0, 1}
    toy = read_index(small_dataset, "validation", labels="toy20")
    assert toy.class_names == ("actin", "human")
    assert len(read_index(small_dataset, labels=["hela"])) == len(read_index(small_dataset, labels=["HeLa"])) == 54
    for wrong in ({"category": "colour"}, {"labels": ["zebrafish"]}, {"database": "nowhere"}, {"split": "test"}):
        with pytest.raises(UsageError) as caught:
            read_index(small_dataset, **wrong)
        assert "here are" in str(caught.value), "the error lists what is available"


def test_weights_even_out_the_classes(small_dataset):
    index = read_index(small_dataset)
    uneven = np.array([0] * 30 + [1] * 10 + [3] * 5)
    index = type(index)(**{**index.__dict__, "label": uneven})
    weights = class_weights(index)
    assert weights.tolist() == pytest.approx([0.5, 1.5, 0, 3, 0])
    assert np.bincount(uneven, sample_weights(index)).tolist() == pytest.approx([15, 15, 0, 15])
    sampled = np.bincount(uneven[order.random_access(index, 0, 0, balance=True)], minlength=4)
    assert sampled.sum() == 45
    assert sampled[3] > 5
    assert class_weights(small_dataset).tolist() == pytest.approx([1] * 5)


def test_an_interrupted_cache_is_resumed(small_dataset, tmp_path, monkeypatch):
    from cytoimagenet.loaders import cache

    monkeypatch.setattr(cache, "IMAGES_PER_BLOCK", 4)
    monkeypatch.setattr(cache, "BLOCKS_PER_CHECKPOINT", 16)
    uninterrupted = build_cache(small_dataset, size=SIZE, folder=tmp_path / "a").read_bytes()
    blocks, calls = cache._blocks, []

    def interrupted(index, size, start, workers):
        for first, block in blocks(index, size, start, workers):
            calls.append(first)
            if len(calls) == 40:
                raise KeyboardInterrupt
            yield first, block

    monkeypatch.setattr(cache, "_blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_cache(small_dataset, size=SIZE, folder=tmp_path / "b")
    path = build_cache(small_dataset, size=SIZE, folder=tmp_path / "b")
    assert path.read_bytes() == uninterrupted
    assert calls[40] == 128, "the first 128 images, recorded as done, are not decoded again"
    assert [file.name for file in (tmp_path / "b").iterdir()] == [path.name]
    assert build_cache(small_dataset, size=SIZE, folder=tmp_path / "b") == path


def test_cache_of_another_dataset_is_refused(small_dataset, tmp_path):
    index = read_index(small_dataset)
    other = tmp_path / f"{'0' * 16}-24.npy"
    np.save(other, np.zeros((3, SIZE, SIZE), np.uint8))
    with pytest.raises(CheckFailedError, match="another dataset"):
        CacheReader(index, other)
    short = tmp_path / f"{index.digest[:16]}-24.npy"
    np.save(short, np.zeros((3, SIZE, SIZE), np.uint8))
    with pytest.raises(CheckFailedError, match="300 images were expected"):
        CacheReader(index, short)


def test_resize_is_bilinear_down_to_half_the_size_and_area_mean_below(rng):
    image = rng.integers(0, 256, (96, 80)).astype(np.uint8)
    png = encode_png(image)
    assert (to_pixels(png, 50) == cv2.resize(image, (50, 50), interpolation=cv2.INTER_LINEAR)).all()
    square = rng.integers(0, 256, (96, 96)).astype(np.uint8)
    means = square.reshape(24, 4, 24, 4).mean((1, 3))
    assert np.abs(to_pixels(encode_png(square), 24) - means).max() <= 0.5


def test_the_place_of_an_unreadable_image_is_reported(small_dataset, tmp_path):
    import shutil

    broken = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset, broken)
    index = read_index(broken)
    shard = broken / index.shards[index.shard[5]]
    data = bytearray(shard.read_bytes())
    data[index.offset[5] : index.offset[5] + 40] = bytes(40)
    shard.write_bytes(data)
    for reader in (ShardReader(index, SIZE), RowReader(index, SIZE)):
        with pytest.raises(Exception, match="not a PNG") as caught:
            read_all(reader, np.arange(10))
        assert index.shards[index.shard[5]] in str(caught.value)
        assert str(index.offset[5]) in str(caught.value)


def test_folder_that_is_no_dataset(tmp_path):
    with pytest.raises(UsageError, match="manifest"):
        stream(tmp_path)


def test_cache_command(small_dataset, tmp_path, capsys):
    from cytoimagenet.loaders.commands import cache

    cache(str(small_dataset), size=SIZE, out=tmp_path, as_json=True)
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 300
    assert result["bytes"] == 300 * SIZE * SIZE + 128
