"""Features: speed compared with eager PyTorch, one decode for four preprocessing methods, memory, time of the report.

    python benchmarks/eval_features.py              # full size, about 5 minutes on two cores
    python benchmarks/eval_features.py --small      # a tenth, to test the script

Both sides of each ratio alternate in one process; the best round of each counts.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

warnings.filterwarnings("ignore")
FAST_TARGET, COSINE_TARGET, SIDE, BATCH = 4.0, 0.999, 224, 16


def rate(run, images: int, seconds: float) -> np.ndarray:
    """Return images per second and per CPU second; other programs affect CPU seconds less."""
    begun, used, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begun < seconds:
        run()
        count += images
    return np.array([count / (time.perf_counter() - begun), count / (time.process_time() - used)])


def network():
    """Return EfficientNet-B0 with random weights and matching BatchNorm statistics, so that features are of order 1."""
    import torch
    from cytoimagenet.training.model import random_backbone

    module = random_backbone(0)
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None  # statistics are plain means over the batches
        layer.train()
    with torch.no_grad():
        module(torch.rand(8, 3, 96, 96))
    return module.eval()


def speed(module, rounds: int, seconds: float) -> list[tuple]:
    import torch
    from cytoimagenet.eval.features.engine import choose, runner

    grey = np.random.default_rng(0).random((BATCH, SIDE, SIDE), dtype=np.float32)
    colour = torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1).contiguous()

    def eager():
        with torch.no_grad():
            return module(colour).numpy()

    expected = eager()
    sides = {"transformers, eager float32": eager}
    if choose("auto", "cpu") == "openvino":
        ov = runner(module, "b0", (SIDE, SIDE), "openvino")
        sides["ours, openvino"] = lambda: ov(grey)
    best = {name: np.zeros(2) for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            best[name] = np.maximum(best[name], rate(run, BATCH, seconds))
    last = runner(module, "b0", (SIDE, SIDE), "torch")  # reorders the weights: measured after eager
    sides["ours, torch channels_last"] = lambda: last(grey)
    best["ours, torch channels_last"] = np.max(
        [rate(sides["ours, torch channels_last"], BATCH, seconds) for _ in range(rounds)], axis=0
    )
    rows = []
    for name, run in sides.items():
        found = run()
        cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        rows.append((name, *best[name], *(best[name] / best["transformers, eager float32"]), float(cosine.min())))
    return rows


def decodes(folder: Path, module, size: str) -> list[tuple]:
    """Time one call for all four preprocessing methods and one call per method, alternating; the best round counts."""
    from cytoimagenet.eval.features.backbones import backbone
    from cytoimagenet.eval.features.mean_intensity import mean_intensity
    from cytoimagenet.eval.sets import bbbc021, coos7
    from cytoimagenet.eval.simulate import bbbc021 as simulate_bbbc021
    from cytoimagenet.eval.simulate import coos7 as simulate_coos7

    root = simulate_bbbc021.simulate_bbbc021(folder / "bbbc021", shape=(256, 320), sites=1)
    sets = {"bbbc021": bbbc021.read(root)}
    root = simulate_coos7.simulate_coos7(folder / "coos7", train=100 if size == "full" else 10, test=10)
    sets["coos7"] = coos7.read(root)
    rows = []
    for task, samples in sets.items():
        for what, one in (("mean intensity only", mean_intensity()), ("EfficientNet-B0", backbone(module, "b0"))):
            found = []
            for number in range(4 if size == "full" else 2):
                place = folder / f"{task}-{what}-{number}"
                sides = (together, alone) if number % 2 else (alone, together)
                found.append({side: side(samples, one, place) for side in sides})
                shutil.rmtree(place)
            once, four = (
                min(took[side] for took in found[1:]) for side in (together, alone)
            )  # the first round fills caches
            rows.append((f"{task}, {what}", len(samples), len(samples) / once, len(samples) / four, four / once))
    return rows


def together(samples, network, place: Path) -> float:
    from cytoimagenet.eval.features.extract import extract

    begun = time.perf_counter()
    extract(samples, network, cache=place / "one")
    return time.perf_counter() - begun


def alone(samples, network, place: Path) -> float:
    from cytoimagenet.eval.features.extract import extract
    from cytoimagenet.eval.features.views import METHODS

    begun = time.perf_counter()
    for method in METHODS:
        extract(samples, network, methods=[method], cache=place / "four")
    return time.perf_counter() - begun


# VmHWM and not getrusage, which includes the memory of the parent process at the fork
PEAK = """
import re, sys
from cytoimagenet.eval.features.extract import extract
from cytoimagenet.eval.features.mean_intensity import mean_intensity
from cytoimagenet.eval.sets import coos7
samples = coos7.read(sys.argv[1])
extract(samples, mean_intensity(), cache=sys.argv[2])
print(len(samples), int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 2**10)
"""


def memory(folder: Path, size: str) -> list[tuple]:
    from cytoimagenet.eval.simulate import coos7 as simulate_coos7

    rows = []
    for times in (1, 4) if size == "full" else (1, 2):
        root = simulate_coos7.simulate_coos7(folder / f"many{times}", train=150 * times, test=10)
        printed = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PEAK, str(root), str(folder / f"peak{times}")],
            check=True, capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        rows.append((int(printed[-2]), float(printed[-1])))
    return rows


def report(folder: Path) -> tuple[float, float]:
    """Time the report of 3 tasks x 6 models x 4 preprocessing methods."""
    from cytoimagenet.eval.report.write import write_report

    names = [f"class {i}" for i in range(16)]
    by_class = [{"label": n, "n": 60, "correct": 40, "accuracy": 2 / 3, "precision": 0.6, "f1": 0.6} for n in names]
    base = {
        "beside": False, "value": 2 / 3, "correct": 640, "n": 960, "macro": 0.6, "f1": 0.6, "bootstrap": None,
        "interval": {"low": 0.6, "high": 0.7}, "by_class": by_class, "digest": "0" * 64, "rows": 960, "left_out": 0,
        "confusion": {"labels": names, "counts": np.full((16, 17), 4).tolist()},
        "settings": {"standardise": "all", "metric": "cosine", "k": 11, "features": 2560},
    }  # fmt: skip
    places = [("bbbc021", "", "nsc"), ("cyclops", "", "knn"), *(("coos7", f"test{i}", "knn") for i in range(1, 5))]
    entries = [
        {**base, "key": f"{p}{m}{v}", "task": p[0], "split": p[1], "score": p[2], "model": m, "preprocess": v}
        for p in places
        for m in ("random:0", "random:1", "imagenet", "run", "fusion of imagenet and run", "mean-intensity")
        for v in ("concat-norm", "concat-raw", "merge-norm", "merge-raw")
    ]
    begun = time.perf_counter()
    path = write_report({"results": entries, "paired": [], "versions": {}}, folder)
    return time.perf_counter() - begun, path.stat().st_size / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the size")
    small = parser.parse_args().small
    size = "small" if small else "full"
    module = network()
    print(
        f"| EfficientNet-B0, {SIDE} px, batch {BATCH} | images/s | per CPU second | ratio | by CPU | smallest cosine |"
    )
    print("|---|---|---|---|---|---|")
    rows = speed(module, 1 if small else 5, 2 if small else 5)
    for name, per_second, per_cpu, ratio, cpu_ratio, cosine in rows:
        print(f"| {name} | {per_second:.1f} | {per_cpu:.1f} | {ratio:.2f} | {cpu_ratio:.2f} | {cosine:.7f} |")
    fast = max(rows, key=lambda row: row[3])
    met = fast[3] >= FAST_TARGET and fast[5] >= COSINE_TARGET
    print(f"\ntarget: >= {FAST_TARGET} x eager, cosine >= {COSINE_TARGET}: {'met' if met else 'missed'}\n", flush=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        print("| four methods | samples | one call, samples/s | one call per method | ratio |\n|---|---|---|---|---|")
        for name, n, once, each, ratio in decodes(folder, module, size):
            print(f"| {name} | {n:,} | {once:.1f} | {each:.1f} | {ratio:.2f} |", flush=True)
        print("\n| memory, COOS-7 cells | peak, MiB |\n|---|---|")
        for n, peak in memory(folder, size):
            print(f"| {n:,} | {peak:,.0f} |")
        seconds, megabytes = report(folder)
        print(f"\nreport of 144 scores: {seconds:.1f} s, {megabytes:.1f} MiB")
    print(f"peak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
