"""Sharding and verifying compared with cp and sha256sum of the same bytes; memory for different numbers of images.

    python benchmarks/shards.py [--images 50000] [--folder /tmp]

The page cache is emptied before each timed part. `cp` is followed by `sync`, since `shard` syncs each shard. The
program is loaded before its time is measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from cold import cache_note, empty_page_cache
from cytoimagenet.builder import schema
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.simulate.curated_folder import write_curated

SIDE = 245  # pixels; noise of this size gives a PNG of 60 kB, the mean of the published dataset
IMAGES_PER_STORE = 2000
RUN = """
import resource, sys, time
from cytoimagenet.builder.pages import write as pages, preview
from cytoimagenet.builder.shards import write as shards, verify
start, cpu = time.perf_counter(), time.process_time()
if sys.argv[1] == "verify":
    verify.verify(sys.argv[2])
else:
    shards.write_dataset(sys.argv[2], sys.argv[3], format=sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(time.perf_counter() - start, time.process_time() - cpu, peak)
"""


def curated(folder: Path, images: int) -> int:
    """Write a curated folder of noise images; return the number of its bytes."""
    write_curated(folder, classes=8, images=8)
    pngs = [encode_png(np.random.default_rng(n).integers(0, 256, (SIDE, SIDE), np.uint8)) for n in range(64)]
    base = schema.read(folder / "rows.parquet", schema.CURATED)
    rows = pd.concat([base] * (images // len(base) + 1), ignore_index=True).head(images)
    number = pd.Series(range(images)).astype(str)
    sizes = np.array([len(pngs[i % 64]) for i in range(images)])
    store = np.arange(images) // IMAGES_PER_STORE
    rows = rows.assign(
        filename="image-" + number + ".png",
        idx="source-" + number,
        channels="made_up/raw/source-" + number + ".tif",
        width=SIDE,
        height=SIDE,
        store=[f"store/{n:05d}.bin" for n in store],
        store_size=sizes,
        store_offset=pd.Series(sizes).groupby(store).cumsum().to_numpy() - sizes,
    )
    shutil.rmtree(folder / "store")
    (folder / "store").mkdir()
    for n in range(store[-1] + 1):
        with open(folder / "store" / f"{n:05d}.bin", "wb") as file:
            for i in range(n * IMAGES_PER_STORE, min(images, (n + 1) * IMAGES_PER_STORE)):
                file.write(pngs[i % 64])
    schema.write(rows, folder / "rows.parquet", schema.CURATED)
    return int(sizes.sum())


def timed(command: list[str]) -> float:
    empty_page_cache()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def ours(*arguments: str | Path) -> tuple[float, float, float]:
    """Run a command of this program; return seconds, CPU seconds and peak memory in MB."""
    empty_page_cache()
    subprocess.run(
        [sys.executable, "-c", RUN.split("start,")[0]], check=True
    )  # loads the libraries into the page cache
    ran = subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], check=True, capture_output=True, text=True)
    seconds, cpu, megabytes = map(float, ran.stdout.split())
    return seconds, cpu, megabytes


def speed(folder: Path, images: int) -> None:
    size = curated(folder / "curated", images)
    print(f"\n| {size / 1e9:.2f} GB, {images:,} images | s | CPU, s | MB/s | images/s | peak MB | speed relative to |")
    print("|" + "---|" * 7)

    def row(name: str, seconds: float, cpu: str = "", peak: str = "", against: str = "") -> None:
        rates = f"{size / seconds / 1e6:.0f} | {images / seconds:,.0f}"
        print(f"| {name} | {seconds:.1f} | {cpu} | {rates} | {peak} | {against} |", flush=True)

    def row_of_ours(name: str, other: str, took: float, arguments: tuple[str | Path, ...]) -> None:
        seconds, cpu, peak = ours(*arguments)
        row(name, seconds, f"{cpu:.1f}", f"{peak:.0f}", f"{other}: {took / seconds:.2f}")

    store, copy = folder / "curated" / "store", folder / "copy"
    copied = timed(["sh", "-c", f"cp -r {store} {copy} && sync -f {copy}"])
    row("cp and sync", copied)
    shutil.rmtree(copy)
    for form in ("webdataset", "parquet"):
        row_of_ours(f"shard --format {form}", "cp", copied, (form, folder / "curated", folder / form))
        summed = timed(["sh", "-c", f"sha256sum {folder / form}/data/*"])
        row("sha256sum of the shards, one core", summed)
        row_of_ours("verify", "sha256sum", summed, ("verify", folder / form))
        shutil.rmtree(folder / form)
    shutil.rmtree(folder / "curated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--folder", default=None, help="folder to write to; default: the system's temporary folder")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one run each; {cache_note()}")
    for images in (given.images // 4, given.images):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            speed(Path(folder), images)


if __name__ == "__main__":
    main()
