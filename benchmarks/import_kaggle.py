"""Importing a generated archive beside cp of the same bytes; memory as the number of images grows.

python benchmarks/import_kaggle.py [--images 5000] [--tiny 100000] [--folder /tmp]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from cytoimagenet.builder.png import encode_png

SIDE = 245  # noise of this size is a PNG of 60 kB, the mean of the published dataset
TINY = 6
PER_SHARD = 2_000  # images of a shard, as at full size
CLASSES, PUBLISHED = 894, 890_737
RUN = """
import resource, sys, time
from cytoimagenet.builder.kaggle_import import import_archive
start = time.perf_counter()
told = import_archive(sys.argv[1], sys.argv[2], shard_size=int(sys.argv[4]))
assert told.kept == told.rows == int(sys.argv[3]), told
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime)
"""


def table(images: int) -> pd.DataFrame:
    """Return rows as wide as the published ones."""
    number = pd.Series(range(images))
    label = "compound " + (number % CLASSES).astype(str)
    return pd.DataFrame(
        {
            "label": label, "category": "compound", "database": "Recursion", "name": "RxRx19a",
            "dir_name": "rec_rxrx19a", "path": "/ferrero/stanley.hua/cytoimagenet/" + label,
            "filename": label + "-" + number.map("{:020b}".format) + ".png",
            "idx": "rec_rxrx19a-" + (number // 2).astype(str), "microscopy": "fluorescence",
            "channels": "nucleus|endoplasmic reticulum|actin|nucleoli", "organism": "human", "cell_type": "vero",
            "cell_visible": "nucleus|endoplasmic reticulum|actin|nucleoli", "phenotype": "", "compound": label,
            "gene": "", "sirna": "", "crop": True, "scaling": 0.5, "x_min": 0.0, "x_max": 245.0, "y_min": 245.0,
            "y_max": 490.0,
        }
    )  # fmt: skip


def tiny(images: int) -> Iterator[bytes]:
    """Yield that many different PNGs of some 100 bytes."""
    for n in range(images):
        yield encode_png(np.random.default_rng(n).integers(0, 256, (TINY, TINY), np.uint8))


def large(images: int) -> Iterator[bytes]:
    """Yield that many different PNGs of 60 kB: noise whose corner counts."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), np.uint8)
    for n in range(images):
        image = np.roll(noise, n, axis=1)
        image[0, :4] = np.frombuffer(n.to_bytes(4, "big"), np.uint8)
        yield encode_png(image)


def write_zip(place: Path, images: int, pngs: Iterator[bytes]) -> Path:
    rows = table(images)
    with zipfile.ZipFile(place / "archive.zip", "w") as archive:
        for label, name, png in zip(rows["label"], rows["filename"], pngs, strict=True):
            archive.writestr(f"cytoimagenet/{label}/{name}", png)
        archive.writestr("cytoimagenet/metadata.csv", rows.to_csv(index=False), zipfile.ZIP_DEFLATED)
    return place / "archive.zip"


def write_folder(place: Path, images: int, pngs: Iterator[bytes]) -> Path:
    rows = table(images)
    root = place / "archive"
    for label in rows["label"].unique():
        (root / label).mkdir(parents=True)
    for label, name, png in zip(rows["label"], rows["filename"], pngs, strict=True):
        (root / label / name).write_bytes(png)
    rows.to_csv(root / "metadata.csv", index=False)
    return root


def measure(
    form: str, images: int, make: Callable[[Path, int, Iterator[bytes]], Path], pngs: Iterator[bytes], where: str | None
) -> float:
    """Print one line; return the peak memory in MB."""
    with tempfile.TemporaryDirectory(dir=where) as name:
        place = Path(name)
        archive = make(place, images, pngs)
        files = [p for p in archive.rglob("*") if p.is_file()] if archive.is_dir() else [archive]
        size = sum(p.stat().st_size for p in files)
        del files
        subprocess.run(["sync"], check=True)
        start = time.perf_counter()
        subprocess.run(["cp", "-r", archive, place / "copy"], check=True)
        subprocess.run(["sync", "-f", place / "copy"], check=True)
        copied = time.perf_counter() - start
        shutil.rmtree(place / "copy", ignore_errors=True)
        (place / "copy").unlink(missing_ok=True)
        shard_size = max(size // images, 1) * PER_SHARD
        command = [sys.executable, "-c", RUN, *map(str, (archive, place / "out", images, shard_size))]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds, peak, cpu = map(float, ran.stdout.split())
        print(
            f"{form:18}{images:>9,}{size / 1e6:>8,.0f}{copied:>9.1f}{seconds:>10.1f}{cpu:>9.1f}"
            f"{images / seconds:>11,.0f}{copied / seconds:>12.2f}{peak:>10,.0f}",
            flush=True,
        )
        return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5_000, help="of 60 kB")
    parser.add_argument("--tiny", type=int, default=100_000, help="of some 100 bytes")
    parser.add_argument("--folder", default=None, help="where to write; default: the temporary folder")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one run each, files as the page cache has them")
    print(
        f"{'archive':18}{'images':>9}{'MB':>8}{'cp, s':>9}{'import, s':>10}{'CPU, s':>9}"
        f"{'images/s':>11}{'against cp':>12}{'peak MB':>10}"
    )
    if given.images:
        measure("zip, 60 kB", given.images, write_zip, large(given.images), given.folder)
        measure("folder, 60 kB", given.images, write_folder, large(given.images), given.folder)
    for form, make in (("zip, tiny", write_zip), ("folder, tiny", write_folder)) if given.tiny else ():
        few = given.tiny // 4
        low, high = (measure(form, n, make, tiny(n), given.folder) for n in (few, given.tiny))
        expected = high + (high - low) / (given.tiny - few) * (PUBLISHED - given.tiny)
        print(f"{'':18}extrapolated to {PUBLISHED:,} images: {expected:,.0f} MB")


if __name__ == "__main__":
    main()
