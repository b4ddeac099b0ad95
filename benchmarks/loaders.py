"""Images per second from the same shards, with other loaders and with ours, at 224 x 224.

    python benchmarks/loaders.py                      # 3,000 images of 300 px, three rounds: about 8 minutes
    python benchmarks/loaders.py --images 500 --rounds 1

First it checks that our three loaders return pixels that are bit-identical to those of OpenCV. Then every loader is
measured in rounds, one after the other, so that other programs on the machine affect all of them; the best round
counts. Each loader has started (files listed, workers forked, caches filled) and returned one batch before its time
is measured; all leave out the last, smaller batch. At most three of 46 batches were begun before the measurement.

CPU time is that of the process, its threads and its workers. It is more informative than elapsed time if other
programs use the machine.

The `limit` rows only decode and resize bytes in memory, with our decoder and with OpenCV's.
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
from loader_rivals import rivals
from PIL import Image
from torch.utils.data import DataLoader, Dataset

BATCH, SIZE = 64, 224
CACHE_EPOCHS = 100  # one epoch from the decoded cache takes only milliseconds
WORKERS = (0, 1, 2)


def as_rgb(image: Image.Image) -> torch.Tensor:
    """Convert an image as a torchvision pipeline does: RGB, bilinear resize, channels first."""
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
    """Decode and resize in threads that share nothing, or in this thread if `threads` is 0."""
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
    """Return images per second after the first batch, CPU seconds per image over all batches, and number of images."""
    data = make()
    own, helpers = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
    batches = iter(data)
    first = len(next(batches))
    images, start = first, time.perf_counter()
    end = start
    for batch in batches:
        images += len(batch)
        end = time.perf_counter()  # `datasets` sleeps for 5 s after the last batch of a Parquet file
    elapsed, own = end - start, cpu(resource.RUSAGE_SELF) - own
    del batches, data
    gc.collect()  # ends the workers: their CPU time is only known then
    helpers = cpu(resource.RUSAGE_CHILDREN) - helpers
    return (images - first) / elapsed, (own + helpers) / images, images


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
    if len(shards) < max(WORKERS):
        raise SystemExit(f"{max(WORKERS)} workers need as many shards: choose more --images than {images:,}")
    random_access, streamed = RowReader(index, SIZE), ShardReader(index, SIZE)
    cache = CacheReader(index, build_cache(data_dir, size=SIZE, folder=folder / "decoded"))
    pngs = [random_access.png(image) for image in range(len(index))]
    files = [folder / "files" / f"{number:06d}.png" for number in range(len(pngs))]
    files[0].parent.mkdir()
    for file, png in zip(files, pngs, strict=True):
        file.write_bytes(png)
    print(f"{len(index):,} images of 300 x 300 px, {np.mean([*map(len, pngs)]) / 1000:.0f} kB, in {len(shards)} shards")
    compare((streamed, random_access, cache), pngs)

    write_dataset(curated, folder / "parquet" / "cytoimagenet", format="parquet")
    parquet = sorted(str(path) for path in (folder / "parquet" / "cytoimagenet" / "data").glob("train-*.parquet"))
    others = rivals(files, pngs, parquet, folder, batch=BATCH, size=SIZE, by_pillow=as_rgb, by_opencv=as_grey)
    loaders: dict[tuple[str, int], Callable[[], Iterable]] = {}
    for w in WORKERS:
        loaders["folder of PNG, Pillow RGB", w] = lambda w=w: image_folder(files, w)
        loaders["webdataset, Pillow RGB", w] = lambda w=w: web(
            shards, w, lambda png: as_rgb(Image.open(io.BytesIO(png)))
        )
        loaders["webdataset, OpenCV grey", w] = lambda w=w: web(shards, w, as_grey)
        loaders["datasets, streaming, RGB", w] = lambda w=w: hugging_face(shards, w, True, str(folder / "hf"))
        loaders["datasets, map-style, RGB", w] = lambda w=w: hugging_face(shards, w, False, str(folder / "hf"))
        loaders["**ours, stream**", w] = lambda w=w: ours(streamed, w)
        loaders["**ours, random access**", w] = lambda w=w: ours(random_access, w)
        loaders["**ours, decoded cache**", w] = lambda w=w: ours(cache, w, CACHE_EPOCHS)
        loaders["limit, OpenCV", w] = lambda w=w: limit(pngs, w, by_opencv)
        loaders["limit, our decoder", w] = lambda w=w: limit(pngs, w, lambda png: to_pixels(png, SIZE))
        for name, make in others.items():
            loaders[name, w] = lambda w=w, make=make: make(w)
    rate, spent, counted = dict.fromkeys(loaders, 0.0), dict.fromkeys(loaders, np.inf), dict.fromkeys(loaders, 0)
    for _ in range(rounds):
        for loader, make in loaders.items():
            try:
                found, seconds, counted[loader] = measure(make)
            except Exception as error:  # another loader may not work with these versions of other packages
                print(f"{loader[0]}, {loader[1]} workers: {type(error).__name__}: {str(error)[:200]}")
                continue
            rate[loader], spent[loader] = max(rate[loader], found), min(spent[loader], seconds)
    print("\n| loader | workers | images | images/s | images per CPU second | relative to webdataset "
          "| relative to limit | CPU ms/image |")  # fmt: skip
    print("|---" * 8 + "|")
    for (name, w), found in rate.items():
        pillow, bound = found / rate["webdataset, Pillow RGB", w], found / rate["limit, our decoder", w]
        cost = spent[name, w] * 1000
        print(
            f"| {name} | {w} | {counted[name, w]:,} | {found:,.0f} | {1000 / cost:,.0f} | {pillow:.2f} | {bound:.2f} "
            f"| {cost:.3f} |"
        )
    print("\nRatios are relative to webdataset with Pillow and to our decoder, with the same number of workers.")


def compare(readers: Iterable[ImageReader], pngs: list[bytes]) -> None:
    """Stop if a loader does not return the pixels of OpenCV."""
    expected = np.stack([by_opencv(png) for png in pngs])
    ids = np.random.default_rng(0).permutation(len(pngs))
    for reader in readers:
        with reader.open(ids) as read:
            if not np.array_equal(read(ids), expected[ids]):
                raise SystemExit(f"{type(reader).__name__} returns other pixels than OpenCV")
    print("stream, random access and decoded cache return pixels that are bit-identical to those of OpenCV")


if __name__ == "__main__":
    main()
