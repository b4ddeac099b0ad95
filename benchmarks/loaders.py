"""Images a second from the same shards, through other loaders and through ours, at 224 x 224.

    python benchmarks/loaders.py                      # 3,000 images of 300 px, three rounds, the best of each
    python benchmarks/loaders.py --images 800 --rounds 1

Every way is measured in rounds, one after the other, so that a busy machine is busy for all of them; each starts with a
first batch that is not counted. `decode limit` is OpenCV alone on bytes in memory: decode and resize, nothing else.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ.update(HF_DATASETS_DISABLE_PROGRESS_BARS="1", HF_HUB_OFFLINE="1")

import cv2
import numpy as np
import torch
from cytoimagenet.builder.shards import write_dataset
from cytoimagenet.builder.synthetic import write_curated
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.cache import CacheSource, build_cache
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.mapstyle import RowSource
from cytoimagenet.loaders.stream import ShardSource
from cytoimagenet.loaders.transforms import to_pixels
from PIL import Image
from torch.utils.data import DataLoader, Dataset

BATCH, SIZE = 64, 224


def as_rgb(image: Image.Image) -> torch.Tensor:
    """Do what a torchvision pipeline does: RGB, bilinear, channels first."""
    image = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


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
    return DataLoader(Folder(files), batch_size=BATCH, shuffle=True, num_workers=workers)


def web(shards: list[str], workers: int) -> Iterable:
    import webdataset

    data = webdataset.WebDataset(shards, shardshuffle=len(shards), nodesplitter=None).shuffle(200)
    data = data.map(lambda sample: as_rgb(Image.open(io.BytesIO(sample["png"]))))
    return DataLoader(data.batched(BATCH, collation_fn=torch.stack), batch_size=None, num_workers=workers)


def web_opencv(shards: list[str], workers: int) -> Iterable:
    import webdataset

    data = webdataset.WebDataset(shards, shardshuffle=len(shards), nodesplitter=None).shuffle(200)
    data = data.map(lambda sample: torch.from_numpy(to_pixels(sample["png"], SIZE)[None]))
    return DataLoader(data.batched(BATCH, collation_fn=torch.stack), batch_size=None, num_workers=workers)


def hugging_face(shards: list[str], streaming: bool, cache: str) -> Iterable:
    from datasets import load_dataset

    data = load_dataset("webdataset", data_files=shards, split="train", streaming=streaming, cache_dir=cache)
    data = data.shuffle(seed=0, buffer_size=200) if streaming else data.shuffle(seed=0)
    images: list[torch.Tensor] = []
    for row in data:
        images.append(as_rgb(row["png"]))
        if len(images) == BATCH:
            yield torch.stack(images)
            images = []


def limit(pngs: list[bytes], threads: int) -> Iterable:
    """Decode and resize on `threads` threads that share nothing."""
    done: list[int] = [0] * threads
    out = [np.empty((SIZE, SIZE), np.uint8) for _ in range(threads)]

    def work(number: int) -> None:
        for png in pngs[number::threads]:
            cv2.resize(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), (SIZE, SIZE), dst=out[number])
            done[number] += 1

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    yield torch.empty(0)
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    yield torch.empty(sum(done), 0)


def rate(make: Callable[[], Iterable]) -> float:
    """Images a second after the first batch."""
    batches = iter(make())
    next(batches)
    start, images = time.perf_counter(), 0
    for batch in batches:
        images += len(batch["images"] if isinstance(batch, dict) else batch)
    return images / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="cytoimagenet-bench-"))
    try:
        measure(folder, arguments.images, arguments.rounds)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, images: int, rounds: int) -> None:
    curated = write_curated(folder / "curated", classes=10, images=images // 9, sides=(299, 300))
    data_dir = folder / "cytoimagenet"
    write_dataset(curated, data_dir)
    index = read_index(data_dir)
    shards = [str(data_dir / shard) for shard in index.shards]
    random_access = RowSource(index, SIZE)
    pngs = [random_access._png(image) for image in range(len(index))]
    files = [folder / "files" / f"{number:06d}.png" for number in range(len(pngs))]
    files[0].parent.mkdir()
    for file, png in zip(files, pngs, strict=True):
        file.write_bytes(png)
    print(f"{len(index):,} training images of 300 x 300 px, {np.mean([len(p) for p in pngs]) / 1000:.0f} kB each")
    cache = CacheSource(index, build_cache(data_dir, size=SIZE, folder=folder / "decoded"))
    streamed = ShardSource(index, SIZE)

    def ours(source: object, workers: int) -> Batches:
        return Batches(source, batch_size=BATCH, workers=workers)

    ways: dict[tuple[str, int], Callable[[], Iterable]] = {}
    for workers in (0, 1, 2):
        ways["folder of PNG, Pillow RGB", workers] = lambda w=workers: image_folder(files, w)
        ways["webdataset, Pillow RGB", workers] = lambda w=workers: web(shards, w)
        ways["webdataset, OpenCV grey", workers] = lambda w=workers: web_opencv(shards, w)
        ways["ours, stream", workers] = lambda w=workers: ours(streamed, w)
        ways["ours, random access", workers] = lambda w=workers: ours(random_access, w)
    ways["datasets, streaming", 0] = lambda: hugging_face(shards, True, str(folder / "hf"))
    ways["datasets, map-style", 0] = lambda: hugging_face(shards, False, str(folder / "hf"))
    ways["ours, decoded cache", 0] = lambda: ours(cache, 0)
    ways["decode limit", 1] = lambda: limit(pngs, 1)
    ways["decode limit", 2] = lambda: limit(pngs, 2)
    best = dict.fromkeys(ways, 0.0)
    for _ in range(rounds):
        for way, make in ways.items():
            best[way] = max(best[way], rate(make))
    pillow = best["webdataset, Pillow RGB", 2]
    print("\n| loader | workers | images/s | to webdataset + Pillow, 2 workers | to the decode limit, same workers |")
    print("|---|---|---|---|---|")
    for (name, workers), found in best.items():
        bound = best["decode limit", max(1, min(workers, 2))]
        print(f"| {name} | {workers} | {found:,.0f} | {found / pillow:.2f} | {found / bound:.2f} |")


if __name__ == "__main__":
    main()
