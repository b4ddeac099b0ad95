"""Time and memory of `cytoimagenet audit` on a large folder with embeddings.

    python benchmarks/audit_scale.py --images 100000             # about 20 minutes on two cores
    python benchmarks/audit_scale.py --images 2000               # to see that it runs

The images are simulated, 250 classes of equal size; their vectors of 1,280 values are simulated, too: a centre of the
class and of the source image, and noise. One in 50 images has the vector of another class. The command runs in its own
process. Memory is sampled ten times per second: all resident memory, and without pages of memory-mapped files (RssAnon
of Linux), which the system drops when it needs the space.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cytoimagenet.builder.dataset import embeddings
from cytoimagenet.builder.dataset.manifest import Manifest, record_derived
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated

DIMENSIONS = 1280
SIDES = (96, 128)  # pixels
COMMAND = "import sys; sys.argv = ['cytoimagenet', 'audit', *sys.argv[1:]]; import cytoimagenet; cytoimagenet.main()"


def write_folder(here: Path, images: int, classes: int) -> Path:
    """Write a dataset folder of simulated images and vectors."""
    curated = write_curated(here / "curated", classes=classes, images=images // classes, sides=SIDES)
    write_dataset(curated, here / "cytoimagenet")
    manifest = Manifest.load(here / "cytoimagenet")
    rows = manifest.metadata(["key", "sha256", "label", "idx"])
    rng = np.random.default_rng(0)
    label = rows["label"].map({name: number for number, name in enumerate(manifest.class_names)}).to_numpy()
    wrong = rng.random(len(label)) < 0.02
    label = np.where(wrong, (label + rng.integers(1, classes, len(label))) % classes, label)
    centre = rng.normal(0, 0.35, (classes, DIMENSIONS)).astype(np.float32)
    source = rows["idx"].factorize()[0]
    keys, digests = (pa.array(rows[name], pa.string()) for name in ("key", "sha256"))
    settings = {"dataset": manifest.digest, "dimensions": DIMENSIONS}
    path = here / "cytoimagenet" / embeddings.path_of("simulated")
    path.parent.mkdir()
    writer = None
    for start in range(0, len(label), embeddings.ROW_GROUP):
        part = slice(start, start + embeddings.ROW_GROUP)
        noise = np.stack([np.random.default_rng([1, one]).normal(0, 0.5, DIMENSIONS) for one in source[part]])
        vectors = centre[label[part]] + noise + rng.normal(0, 0.5, noise.shape)
        table = embeddings.table(keys[part], digests[part], vectors.astype(np.float16))
        if writer is None:
            writer = pq.ParquetWriter(path, table.schema.with_metadata({embeddings.SETTINGS: json.dumps(settings)}))
        writer.write_table(table)
    writer.close()
    record_derived(str(here / "cytoimagenet"), embeddings.path_of("simulated"), rows=len(label), settings=settings)
    return here / "cytoimagenet"


def memory(process: int) -> tuple[float, float]:
    """Return resident memory of a process, all of it and without mapped files, in MB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("VmRSS", "RssAnon"))}
    return found.get("VmRSS", 0), found.get("RssAnon", 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=100_000)
    options.add_argument("--classes", type=int, default=250)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--keep", type=Path, help="write the folder here, or use the one that is there")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        here = chosen.keep or Path(temporary)
        folder = here / "cytoimagenet"
        if not (folder / "manifest.json").exists():
            begun = time.perf_counter()
            write_folder(here, chosen.images, chosen.classes)
            print(f"folder written in {time.perf_counter() - begun:,.0f} s", flush=True)
        begun, peak = time.perf_counter(), np.zeros(2)
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(folder), "--workers", str(chosen.workers), "--json"],
            stdout=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None:
            peak = np.maximum(peak, memory(process.pid))
            time.sleep(0.1)
        seconds = time.perf_counter() - begun
        used = os.times()
        assert process.returncode == 0
        summary = json.loads(process.stdout.read())
    print(json.dumps({name: summary[name] for name in ("images", "duplicate_images", "wrong_labels", "flagged")}))
    print("| images | classes | seconds | processor, s | memory, MB | without mapped files, MB |")
    print("|---|---|---|---|---|---|")
    processor = used.children_user + used.children_system
    numbers = (summary["images"], summary["classes"], seconds, processor, *peak)
    print("| " + " | ".join(f"{number:,.0f}" for number in numbers) + " |")


if __name__ == "__main__":
    main()
