"""The shards as a `webdataset.WebDataset`, for people whose pipelines are built on that library. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from ..builder import schema
from ..builder.dataset.find import find
from ..builder.dataset.manifest import Manifest
from ..builder.dataset.ranges import in_order
from ..builder.dataset.read_images import decode
from ..builder.dataset.resize import check_size, resize
from ..builder.errors import CheckFailedError, UsageError
from ..builder.storage import join

if TYPE_CHECKING:
    from webdataset import WebDataset

SHUFFLE = 1_000  # samples in memory; the shards are in random order already

Sample = dict[str, Any]


def webdataset(
    data_dir: str | PathLike[str] | None = None,
    split: str = "train",
    *,
    size: int | None = None,
    shuffle: int | None = None,
    seed: int = 0,
    alternatives: bool = False,
) -> WebDataset:
    """Return the images and labels of a split as a `webdataset.WebDataset`.

    The shards come from the manifest. They are divided among the processes of a distributed run, then among the worker
    processes of a DataLoader, so that every image is read exactly once. Processes may get different numbers of images:
    for distributed training, add `.with_epoch(n)`, or use `cytoimagenet.stream`.

    Parameters
    ----------
    data_dir : str or path, optional
        A dataset folder with tar shards, local or a URL. Without it, the folder that `load_dataset` would use.
    split : {"train", "validation", "sample"}
        `sample` is a few training images of each class.
    size : int, optional
        Scale every image to a square of this side in pixels, by `builder/dataset/resize.py`. By default images keep
        their sizes.
    shuffle : int, optional
        Number of samples kept in memory to shuffle; 0 reads in the order of the dataset. By default 1,000 for `train`,
        0 for the other splits. The order of the shards is shuffled, too.
    seed : int
        Random seed of the order. Each pass has another order. Worker processes of a DataLoader count their passes
        themselves: without `persistent_workers=True` they start anew and repeat the order of the first pass.
    alternatives : bool
        Also return the other right labels of each image: names of classes, joined by `|`. Of a batch of them,
        `loaders.alternatives.class_indices` returns the indices.

    Returns
    -------
    WebDataset
        Yields dicts with `image`, `label` (int, the index of the class), `__key__` and, with `alternatives=True`,
        `alternatives`. Without `size`, `image` is a
        PIL image, 8-bit grey; with it, a uint8 array, shape (1, size, size), that a DataLoader stacks.

    Raises
    ------
    UsageError
        If there is no dataset or split, or its shards are Parquet files.
    CheckFailedError
        If a shard has another number of images than the manifest says, or an image can't be read.

    Examples
    --------
    >>> for sample in webdataset("cytoimagenet", "validation"):                               # doctest: +SKIP
    ...     sample["image"], sample["label"]
    >>> from torch.utils.data import DataLoader                                               # doctest: +SKIP
    >>> batches = webdataset("cytoimagenet", size=224).batched(64)                            # doctest: +SKIP
    >>> loader = DataLoader(batches, batch_size=None, num_workers=4, persistent_workers=True)  # doctest: +SKIP
    """
    import webdataset as wds
    from webdataset.cache import StreamingOpen
    from webdataset.filters import detshuffle

    check_size(size)
    manifest = Manifest.load(find(data_dir))
    if manifest.shard_format != "webdataset":
        raise UsageError(
            "This folder has Parquet shards, and WebDataset reads tar files",
            where=manifest.root,
            next="Use load_dataset for it, or write tar shards with: cytoimagenet shard CURATED --out DIR",
        )
    splits = (*schema.SPLITS, schema.SAMPLE)
    if split not in splits or not manifest.rows(split):
        raise UsageError(f"No split {split!r}; there are {', '.join(manifest.splits)}", where=manifest.root)
    rows = {join(manifest.root, path): images for path, images, *_ in manifest.shards(split)}
    shuffle = (SHUFFLE if split == "train" else 0) if shuffle is None else shuffle
    dataset = wds.WebDataset(
        list(rows),
        nodesplitter=wds.split_by_node,
        workersplitter=wds.split_by_worker,
        shardshuffle=len(rows) if shuffle else False,
        detshuffle=True,
        seed=seed,
        empty_check=False,  # with more workers than shards some have nothing to read
    )
    # its own way to open a shard runs curl for http, and knows no s3
    dataset.pipeline = [_open if isinstance(stage, StreamingOpen) else stage for stage in dataset.pipeline]
    dataset = dataset.compose(partial(_counted, rows=rows))
    if shuffle:  # before decoding: the samples in memory are small
        dataset = dataset.compose(detshuffle(shuffle, seed=seed))
    return dataset.map(partial(_decoded, size=size, alternatives=alternatives))


def _open(shards: Iterator[Sample]) -> Iterator[Sample]:
    """Open each shard, local or remote, and read it from beginning to end."""
    for shard in shards:
        with in_order(shard["url"]) as stream:
            yield {**shard, "stream": stream}


def _counted(samples: Iterator[Sample], rows: Mapping[str, int]) -> Iterator[Sample]:
    """Check that a shard has as many images as the manifest says: a tar that is cut between two images has no error."""
    shard, count = "", 0
    for sample in samples:
        if sample["__url__"] != shard:
            _check(shard, count, rows)
            shard, count = sample["__url__"], 0
        count += 1
        yield sample
    _check(shard, count, rows)


def _check(shard: str, count: int, rows: Mapping[str, int]) -> None:
    if shard and count != rows[shard]:
        raise CheckFailedError(
            f"This shard is damaged: it has {count:,} images instead of {rows[shard]:,}",
            where=shard,
            next="`cytoimagenet verify DIR` lists all files that must be downloaded again",
        )


def _decoded(sample: Sample, size: int | None, alternatives: bool) -> Sample:
    """Turn the bytes of a sample into an image and its labels."""
    image: Any = decode(sample["png"], f"{sample['__key__']} in {sample['__url__']}")
    if size is not None:
        image = np.array(resize(image, size))[None]  # a copy: torch wants arrays that can be written to
    others = {"alternatives": json.loads(sample["json"]).get("alternatives", "")} if alternatives else {}
    return {"__key__": sample["__key__"], "image": image, "label": int(sample["cls"]), **others}
