"""Import of a generated archive compared with cp of the same bytes, without page cache; memory at the published size.

    python benchmarks/import_kaggle.py --images 4000 --tiny 0    # quick
    python benchmarks/import_kaggle.py                           # the tables of docs/benchmarks/import.md

`cp -r` is followed by `sync -f`; the import syncs each shard itself. Its two stages are timed separately: every image
is opened and checked, then copied into its shard in shuffled order. The page cache is emptied before `cp` and before
each stage, since the published archive is larger than the memory of most machines. The program is loaded before its
time is measured.
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
from cold import cache_note, empty_page_cache
from cytoimagenet.builder.formats.grey_png import encode_png

SIDE, NOISE = 300, 6  # pixels, grey values: blobs in this noise give a PNG of 60 kB, the published mean
DISTINCT_IMAGES = 24  # the other images are shifted copies
TINY_SIDE = 6  # pixels
IMAGES_PER_SHARD = 2_000  # as at full size
CLASSES, PUBLISHED = 894, 890_737
SAMPLED_IMAGES = 500  # decoded alone, to compare with the checks
RUN = """
import os, resource, sys, time
sys.path.insert(0, sys.argv[5])
import cv2
from cold import empty_page_cache
from cytoimagenet.builder.archive import import_kaggle as kaggle_import
from cytoimagenet.builder.archive.files import Archive, list_archive
from cytoimagenet.builder.formats.grey_png import decode_png
from cytoimagenet.builder.pages import write as pages, preview

def now():
    used = os.times()  # of worker processes too, once they have ended
    return time.perf_counter(), sum(used[:4])

copy, began = kaggle_import.write_dataset, []
def timed(*args, **kwargs):
    began.append(now())
    empty_page_cache()
    began.append(now())
    return copy(*args, **kwargs)
kaggle_import.write_dataset = timed
empty_page_cache()
start = now()
result = kaggle_import.import_archive(sys.argv[1], sys.argv[2], shard_size=int(sys.argv[4]))
end = now()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
assert result.kept == result.rows == int(sys.argv[3]), result
listing = list_archive(sys.argv[1])
step = max(1, len(listing.names) // int(sys.argv[6]))
with Archive(listing) as archive:
    pngs = [archive.read(n) for n in range(0, len(listing.names), step) if listing.names[n].as_py().endswith(".png")]
alone = time.process_time()
for png in pngs:
    decode_png(png)
alone = (time.process_time() - alone) / len(pngs)
print(began[0][0] - start[0], end[0] - began[1][0], began[0][1] - start[1], end[1] - began[1][1], alone, peak)
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
    """Yield this number of different PNGs of about 100 bytes."""
    for n in range(images):
        yield encode_png(np.random.default_rng(n).integers(0, 256, (TINY_SIDE, TINY_SIDE), np.uint8))


def large(images: int) -> Iterator[bytes]:
    """Yield this number of different PNGs of 60 kB: blobs in camera noise, as slow to decode as real images."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    drawn = []
    for _ in range(DISTINCT_IMAGES):
        field = np.zeros((SIDE, SIDE))
        for down, right, width in rng.uniform((0, 0, 40), (SIDE, SIDE, 400), (30, 3)):
            field += np.exp(-((y - down) ** 2 + (x - right) ** 2) / width)
        drawn.append(np.clip(field * 180 + rng.normal(20, NOISE, field.shape), 0, 255).astype(np.uint8))
    for n in range(images):
        yield encode_png(
            np.roll(
                drawn[n % DISTINCT_IMAGES], (n // DISTINCT_IMAGES // SIDE, n // DISTINCT_IMAGES % SIDE), axis=(0, 1)
            )
        )


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
) -> None:
    """Time the copy and the import of one archive; print a line of the table."""
    with tempfile.TemporaryDirectory(dir=where) as name:
        place = Path(name)
        archive = make(place, images, pngs)
        size = sum(p.stat().st_size for p in ([archive] if archive.is_file() else archive.rglob("*")) if p.is_file())
        empty_page_cache()
        start = time.perf_counter()
        subprocess.run(["cp", "-r", archive, place / "copy"], check=True)
        subprocess.run(["sync", "-f", place / "copy"], check=True)
        copied = time.perf_counter() - start
        shutil.rmtree(place / "copy", ignore_errors=True)
        (place / "copy").unlink(missing_ok=True)
        shard_size = max(size // images, 1) * IMAGES_PER_SHARD
        command = [sys.executable, "-c", RUN, *map(str, (archive, place / "out", images, shard_size)), sys.path[0],
                   str(SAMPLED_IMAGES)]  # fmt: skip
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        checking, sharding, check_cpu, copy_cpu, alone, peak = map(float, ran.stdout.split())
        # includes the sample of ten images per class: a hundredth of the published archive, a larger share here
        written = sum(p.stat().st_size for p in (place / "out" / "data").iterdir())
        cells = (
            form, f"{images:,}", f"{size / 1e6:,.0f}", f"{copied:.1f}", f"{checking:.1f}", f"{sharding:.1f}",
            f"{peak:,.0f}", f"{size / copied / 1e6:,.0f}", f"{written / sharding / 1e6:,.0f}",
            f"{written / sharding * copied / size:.2f}", f"{size / checking / 1e6:,.0f}",
            f"{check_cpu / images * 1e6:,.0f}", f"{alone * 1e6:,.0f}", f"{copy_cpu / written * 1e9:.2f}",
        )  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000, help="images of 60 kB in the zip file")
    parser.add_argument("--files", type=int, default=25_000, help="images of 60 kB in the folder; at most --images")
    parser.add_argument("--tiny", type=int, default=PUBLISHED, help="images of about 100 bytes, to measure memory")
    parser.add_argument("--folder", default=None, help="folder to write to; default: the system's temporary folder")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; one run each; {cache_note()}\n")
    print(
        "| archive | images | MB | cp and sync, s | check, s | copy, s | peak MB | cp, MB/s | copy, MB/s "
        "| copy / cp | check, MB/s | check, CPU µs per image | decode alone, CPU µs per image | copy, CPU s per GB "
        "|\n|" + "---|" * 14
    )
    if given.images:
        measure("zip, 60 kB", given.images, write_zip, large(given.images), given.folder)
        files = min(given.images, given.files)
        measure("folder, 60 kB", files, write_folder, large(files), given.folder)
    if given.tiny:
        measure("zip, tiny", given.tiny // 4, write_zip, tiny(given.tiny // 4), given.folder)
        measure("zip, tiny", given.tiny, write_zip, tiny(given.tiny), given.folder)


if __name__ == "__main__":
    main()
