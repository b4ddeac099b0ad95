"""Sharding and verifying beside cp and sha256sum over the same bytes; memory as images grow.

python benchmarks/shards.py [--images 20000] [--folder /tmp]
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
from cytoimagenet.builder import schema
from cytoimagenet.builder.synthetic import encode, write_curated

SIDE = 245  # noise of this size is a PNG of 60 kB, the mean of the published dataset
PER_STORE = 2000
RUN = """
import resource, sys, time
from cytoimagenet.builder import shards, verify
start = time.perf_counter()
if sys.argv[1] == "verify":
    verify.verify(sys.argv[2])
else:
    shards.write_dataset(sys.argv[2], sys.argv[3], format=sys.argv[1])
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def curated(folder: Path, images: int) -> int:
    """Write a curated folder of noise; return its bytes."""
    write_curated(folder, classes=8, images=8)
    pngs = [encode(np.random.default_rng(n).integers(0, 256, (SIDE, SIDE), np.uint8)) for n in range(64)]
    base = schema.read(folder / "rows.parquet", schema.CURATED)
    rows = pd.concat([base] * (images // len(base) + 1), ignore_index=True).head(images)
    number = pd.Series(range(images)).astype(str)
    sizes = np.array([len(pngs[i % 64]) for i in range(images)])
    store = np.arange(images) // PER_STORE
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
            for i in range(n * PER_STORE, min(images, (n + 1) * PER_STORE)):
                file.write(pngs[i % 64])
    schema.write(rows, folder / "rows.parquet", schema.CURATED)
    return int(sizes.sum())


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def ours(*arguments: str | Path) -> tuple[float, float]:
    ran = subprocess.run([sys.executable, "-c", RUN, *map(str, arguments)], check=True, capture_output=True, text=True)
    seconds, megabytes = map(float, ran.stdout.split())
    return seconds, megabytes


def speed(folder: Path, images: int) -> None:
    size = curated(folder / "curated", images)
    print(f"\n{images:,} images, {size / 1e9:.2f} GB of PNG")
    print(f"{'work':34} {'s':>7} {'MB/s':>7} {'images/s':>9} {'peak MB':>8}")

    def row(name: str, seconds: float, peak: float | None = None) -> None:
        told = "" if peak is None else f"{peak:.0f}"
        print(f"{name:34} {seconds:7.2f} {size / seconds / 1e6:7.0f} {images / seconds:9,.0f} {told:>8}")

    store, copy = folder / "curated" / "store", folder / "copy"
    copied = timed(["sh", "-c", f"cp -r {store} {copy} && sync {copy}/*"])
    row("cp and sync", copied)
    shutil.rmtree(copy)
    for form in ("webdataset", "parquet"):
        seconds, peak = ours(form, folder / "curated", folder / form)
        row(f"shard --format {form}", seconds, peak)
        print(f"{'  speed against cp':34} {copied / seconds:7.2f}")
        summed = timed(["sh", "-c", f"sha256sum {folder / form}/data/*"])
        row("sha256sum of the shards, one core", summed)
        seconds, peak = ours("verify", folder / form)
        row("verify", seconds, peak)
        print(f"{'  speed against sha256sum':34} {summed / seconds:7.2f}")
        shutil.rmtree(folder / form)
    shutil.rmtree(folder / "curated")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--folder", default=None, help="where to write; default: the temporary folder")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores; times of one run each, files as the page cache has them")
    for images in (given.images // 4, given.images):
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            speed(Path(folder), images)


if __name__ == "__main__":
    main()
