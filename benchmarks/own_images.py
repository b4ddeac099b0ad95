"""Features of many images of one's own: memory and speed of the command as the number of images grows.

    python benchmarks/own_images.py                # 10,000 and 100,000 images, about 10 minutes on two cores
    python benchmarks/own_images.py --small        # 500 and 2,000, to see that it runs

The images are simulated PNGs of 24 x 24 pixels, shown at 32 pixels to a network with random weights. Memory is that of
the process itself (RssAnon of Linux), sampled 20 times per second; pages of memory-mapped files, which the system drops
when it needs the space, are listed separately.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from cytoimagenet.builder.formats.grey_png import encode_png

COMMAND = "import sys; sys.argv = ['cytoimagenet', 'features', *sys.argv[1:]]; import cytoimagenet; cytoimagenet.main()"
SIDE, SHOWN = 24, 32  # pixels


def write_images(path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    cells = [encode_png(rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)) for _ in range(1000)]
    with zipfile.ZipFile(path, "w") as archive:
        rows = ["file,plate,well,label"]
        for number in range(count):
            archive.writestr(f"cells/{number:06d}.png", cells[number % 1000])
            rows.append(f"cells/{number:06d}.png,p{number // 9600},{'ABCDEFGH'[number % 8]}{number % 12 + 1:02},x")
        archive.writestr("images.csv", "\n".join(rows))


def memory(process: int) -> tuple[float, float]:
    """Return anonymous and file-backed resident memory of a process in MB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
    return found.get("RssAnon", 0), found.get("RssFile", 0)


def processor_time() -> float:
    """Return the processor time of all finished child processes in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(images: Path, out: Path) -> tuple[float, float, float, float]:
    """Return seconds, seconds of processor time, and the peaks of anonymous and file-backed memory in MB."""
    words = [str(images), "--model", "random:0", "--input-size", str(SHOWN), "--out", str(out)]
    words += ["--cache", str(out.parent / f"cache-{images.stem}")]
    begun, used = time.perf_counter(), processor_time()
    process = subprocess.Popen([sys.executable, "-c", COMMAND, *words], stdout=subprocess.DEVNULL)
    peak = np.zeros(2)
    while process.poll() is None:
        peak = np.maximum(peak, memory(process.pid))
        time.sleep(0.05)
    assert process.returncode == 0
    return time.perf_counter() - begun, processor_time() - used, *peak


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--small", action="store_true")
    counts = (500, 2_000) if options.parse_args().small else (10_000, 100_000)
    print("| images | file | seconds | processor, s | images/s | own memory, MB | mapped files, MB | file, MB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            images = Path(folder, f"{count}.zip")
            write_images(images, count)
            for suffix in (".parquet", ".h5ad"):  # the second comes from the cache of the first
                out = Path(folder, f"{count}{suffix}")
                seconds, processor, own, mapped = run(images, out)
                rate = f"{count / seconds:,.0f}" if suffix == ".parquet" else "from the cache"
                size = out.stat().st_size / 2**20
                times = f"{seconds:,.0f} | {processor:,.0f} | {rate}"
                print(f"| {count:,} | {suffix} | {times} | {own:,.0f} | {mapped:,.0f} | {size:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
