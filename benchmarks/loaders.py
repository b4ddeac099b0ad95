"""Images a second from the same shards, through other loaders and through ours, at 224 x 224.

    python benchmarks/loaders.py                      # 3,000 images of 300 px, three rounds: some 8 minutes
    python benchmarks/loaders.py --images 500 --rounds 1

First it makes sure that our three ways give the same pixels as OpenCV, bit for bit. Then every way is measured in
rounds, one after the other, so that a busy machine is busy for all of them; the best round counts. Each way has started
(files listed, workers forked, caches filled) and has given one batch before its clock runs; all leave out the last,
short batch. Batches that were begun ahead of the clock are at most three of 46.

CPU time is that of the process, its threads and its workers; it says more than the clock where others use the machine.

The `limit` rows decode and resize bytes that lie in memory and do nothing else: our decoder and OpenCV's.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_HUB_OFFLINE="1")

import cv2
import numpy as np
import torch
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from cytoimagenet.loaders.batches import Batches, ImageReader
from cytoimagenet.loaders.cache import CacheReader, build_cache
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import RowReader
from cytoimagenet.loaders.stream import ShardReader
from cytoimagenet.loaders.transforms import to_pixels
from PIL import Image
from torch.utils.data import DataLoader, Dataset

BATCH, SIZE = 64, 224
EPOCHS = 100  # of the decoded cache: one alone is over in milliseconds
WORKERS = (0, 1, 2)


def as_rgb(image: Image.Image) -> torch.Tensor:
    """Do what a torchvision pipeline does: RGB, bilinear, channels first."""
    image = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def as_grey(png: bytes) -> torch.Tensor:
    return torch.from_numpy(by_opencv(png)[None])


def by_opencv(png: bytes) -> np.ndarray:
    return cv2.resize(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), (SIZE, SIZE))


class Folder(Dataset):
    """A folder of PNG files, as torchvision's ImageFolder reads it."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        with Image.open(self.files[i]) as image:
            return as_rgb(image)


def image_folder(files: list[Path], workers: int) -> Iterable:
    return DataLoader(Folder(files), batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)


def web(shards: list[str], workers: int, decode: Callable[[bytes], torch.Tensor]) -> Iterable:
    import webdataset

    data = webdataset.WebDataset(shards, shardshuffle=len(shards), nodesplitter=None).shuffle(200)
    data = data.map(lambda sample: decode(sample["png"]))
    batched = data.batched(BATCH, collation_fn=torch.stack, partial=False)
    return DataLoader(batched, batch_size=None, num_workers=workers)


def hugging_face(shards: list[str], workers: int, streaming: bool, cache: str) -> Iterable:
    from datasets import load_dataset

    data = load_dataset("webdataset", data_files=shards, split="train", streaming=streaming, cache_dir=cache)
    data = data.shuffle(seed=0, buffer_size=200) if streaming else data
    return DataLoader(
        data,
        batch_size=BATCH,
        shuffle=None if streaming else True,
        drop_last=True,
        num_workers=workers,
        collate_fn=lambda rows: torch.stack([as_rgb(row["png"]) for row in rows]),
    )


def ours(reader: ImageReader, workers: int, epochs: int = 1) -> Iterator[torch.Tensor]:
    batches = Batches(reader, batch_size=BATCH, workers=workers)
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        for batch in batches:
            yield batch["images"]


def limit(pngs: list[bytes], threads: int, decode: Callable[[bytes], object]) -> Iterator[torch.Tensor]:
    """Decode and resize on threads that share nothing; without any where there are to be none."""
    ready = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        ready.wait()
        for png in pngs[number::threads]:
            decode(png)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    yield torch.empty(0)
    ready.wait()
    for thread in running:
        thread.join()
    if not threads:
        for png in pngs:
            decode(png)
    yield torch.empty(len(pngs), 0)


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def measure(make: Callable[[], Iterable]) -> tuple[float, float, int]:
    """Return images a second after the first batch, CPU seconds an image of all, and how many images these were."""
    data = make()
    own, helpers = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
    batches = iter(data)
    first = len(next(batches))
    images, start = first, time.perf_counter()
    for batch in batches:
        images += len(batch)
    passed, own = time.perf_counter() - start, cpu(resource.RUSAGE_SELF) - own
    del batches, data
    gc.collect()  # ends the workers: only then is their CPU time known
    helpers = cpu(resource.RUSAGE_CHILDREN) - helpers
    return (images - first) / passed, (own + helpers) / images, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="cytoimagenet-bench-"))
    try:
        run(folder, arguments.images, arguments.rounds)
    finally:
        shutil.rmtree(folder)


def run(folder: Path, images: int, rounds: int) -> None:
    curated = write_curated(folder / "curated", classes=10, images=images // 9, sides=(299, 300))
    data_dir = folder / "cytoimagenet"
    write_dataset(curated, data_dir)
    index = read_index(data_dir)
    shards = [str(data_dir / shard) for shard in index.shards]
    random_access, streamed = RowReader(index, SIZE), ShardReader(index, SIZE)
    cache = CacheReader(index, build_cache(data_dir, size=SIZE, folder=folder / "decoded"))
    pngs = [random_access._png(image) for image in range(len(index))]
    files = [folder / "files" / f"{number:06d}.png" for number in range(len(pngs))]
    files[0].parent.mkdir()
    for file, png in zip(files, pngs, strict=True):
        file.write_bytes(png)
    print(f"{len(index):,} images of 300 x 300 px, {np.mean([*map(len, pngs)]) / 1000:.0f} kB, in {len(shards)} shards")
    compare((streamed, random_access, cache), pngs)

    ways: dict[tuple[str, int], Callable[[], Iterable]] = {}
    for w in WORKERS:
        ways["folder of PNG, Pillow RGB", w] = lambda w=w: image_folder(files, w)
        ways["webdataset, Pillow RGB", w] = lambda w=w: web(shards, w, lambda png: as_rgb(Image.open(io.BytesIO(png))))
        ways["webdataset, OpenCV grey", w] = lambda w=w: web(shards, w, as_grey)
        ways["datasets, streaming, RGB", w] = lambda w=w: hugging_face(shards, w, True, str(folder / "hf"))
        ways["datasets, map-style, RGB", w] = lambda w=w: hugging_face(shards, w, False, str(folder / "hf"))
        ways["**ours, stream**", w] = lambda w=w: ours(streamed, w)
        ways["**ours, random access**", w] = lambda w=w: ours(random_access, w)
        ways["**ours, decoded cache**", w] = lambda w=w: ours(cache, w, EPOCHS)
        ways["limit, OpenCV", w] = lambda w=w: limit(pngs, w, by_opencv)
        ways["limit, our decoder", w] = lambda w=w: limit(pngs, w, lambda png: to_pixels(png, SIZE))
    rate, spent, counted = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, np.inf), dict.fromkeys(ways, 0)
    for _ in range(rounds):
        for way, make in ways.items():
            found, seconds, counted[way] = measure(make)
            rate[way], spent[way] = max(rate[way], found), min(spent[way], seconds)
    print("\n| loader | workers | images | images/s | to webdataset + Pillow | to the limit | CPU ms/image |")
    print("|---|---|---|---|---|---|---|")
    for (name, w), found in rate.items():
        pillow, bound = found / rate["webdataset, Pillow RGB", w], found / rate["limit, our decoder", w]
        cost = spent[name, w] * 1000
        print(f"| {name} | {w} | {counted[name, w]:,} | {found:,.0f} | {pillow:.2f} | {bound:.2f} | {cost:.3f} |")
    print("\nRatios are to the row with the same number of workers.")


def compare(readers: Iterable[ImageReader], pngs: list[bytes]) -> None:
    """Refuse to measure ways that do not give the pixels of OpenCV."""
    expected = np.stack([by_opencv(png) for png in pngs])
    ids = np.random.default_rng(0).permutation(len(pngs))
    for reader in readers:
        with reader.open(ids) as read:
            if not np.array_equal(read(ids), expected[ids]):
                raise SystemExit(f"{type(reader).__name__} gives other pixels than OpenCV")
    print("stream, random access and decoded cache: the same pixels as OpenCV, bit for bit")


if __name__ == "__main__":
    main()
