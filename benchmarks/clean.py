"""Compare training without the images that the audit flags with training without as many others.

    cytoimagenet embed DIR --model imagenet && cytoimagenet audit DIR
    python benchmarks/clean.py DIR --task mitocheck.zip --out /tmp/clean                              # one GPU: hours
    python benchmarks/clean.py DIR --task mitocheck.zip --out /tmp/clean --images 3200 --batch 32     # two cores

Two parts of one dataset folder are trained on, with the same recipe, seeds and number of images: the clean part, and
all images without as many as the clean part leaves out, of each class and split, chosen at random. So both see the same
number of images per class. The features are then scored on the tasks by the nearest neighbours, as `eval --task` does.
With `--images`, classes are sampled until they have that many training images; both parts have the same classes.

Run the command again to resume: finished trainings are not repeated. Prints the scores and the difference, each with a
95 % interval over the groups of the task (the mean over seeds), and the difference of each pair of seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from cytoimagenet.builder.dataset import quality
from cytoimagenet.builder.dataset.manifest import Manifest, record_derived
from cytoimagenet.builder.dataset.names import QUALITY
from cytoimagenet.builder.schema import write
from real import answers, compare, run, score

PARTS = ("clean", "random")  # which images are left out: the flagged ones, or others of the same classes


def leave_out_others(dataset: Path, out: Path, seed: int) -> Path:
    """Write a copy of a folder whose table of the audit flags other images: as many of each class and split."""
    if (out / "manifest.json").exists():
        return out
    partial = out.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(dataset, partial, copy_function=os.link)
    manifest = Manifest.load(partial)
    rows = manifest.metadata(["label", "split"])
    table = quality.read_quality(manifest)
    flagged = pd.Series(~quality.is_clean(table["flags"]))
    rng = np.random.default_rng(seed)
    moved = flagged.groupby([rows["label"], rows["split"]]).transform(lambda part: rng.permutation(part.to_numpy()))
    table["flags"] = np.where(moved, quality.OUTLIER, "")
    settings = manifest.derived[QUALITY]["settings"]
    (partial / QUALITY).unlink()  # not the file of the other folder
    write(table, partial / QUALITY, quality.COLUMNS)
    record_derived(str(partial), QUALITY, rows=len(table), settings=settings)
    partial.rename(out)
    return out


def sampled_classes(manifest: Manifest, images: int | None) -> list[str]:
    """Return classes, in random order, that together have at least a number of training images."""
    if images is None:
        return []
    order = np.random.default_rng(0).permutation(len(manifest.classes))
    total = np.cumsum([manifest.classes[number]["train"] for number in order])
    return sorted(manifest.class_names[number] for number in order[: int(np.searchsorted(total, images)) + 1])


def train(folder: Path, part: str, seed: int, labels: list[str], runs: Path, asked: argparse.Namespace) -> Path:
    begun, name = time.monotonic(), f"{part}-{seed}"
    words = ["train", str(folder), "--out", str(runs / name), "--recipe", asked.recipe, "--seed", str(seed)]
    words += ["--size", str(asked.size), "--epochs", str(asked.epochs)]
    changes = {"quality": "clean", "batch_size": asked.batch, "norm_momentum": 0.1}  # as in real.py
    words += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    words += [word for label in labels for word in ("--labels", label)]
    run(*words, log=runs / f"{name}.log")
    metrics = json.loads((runs / name / "run.json").read_text())["metrics"]
    print(f"{name}: {time.monotonic() - begun:.0f} s; {metrics}", file=sys.stderr, flush=True)
    return runs / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="audited dataset folder")
    parser.add_argument("--task", type=Path, action="append", default=[], help="image table or zip; several times")
    parser.add_argument("--out", type=Path, default=Path("clean-benchmark"), help="folder for all files; it is kept")
    parser.add_argument("--recipe", default="adapt")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, help="classes are sampled until they have this number of training images")
    asked = parser.parse_args()
    if asked.folder is None or not asked.task:
        print("Name an audited dataset folder and a --task", file=sys.stderr)
        return
    out = asked.out.resolve()
    runs = out / f"runs-{asked.size}px-{asked.epochs}-epochs"
    runs.mkdir(parents=True, exist_ok=True)
    manifest = Manifest.load(asked.folder)
    labels = sampled_classes(manifest, asked.images)
    rows = manifest.metadata(["label", "split"])
    used = rows["label"].isin(labels or manifest.class_names) & (rows["split"] == "train")
    kept = used & quality.part(manifest, quality.CLEAN)
    folders = {"clean": asked.folder, "random": leave_out_others(asked.folder, out / "random", seed=0)}
    names: dict[str, list[str]] = {part: [] for part in PARTS}
    trained = []
    for seed in range(asked.seeds):
        for part in PARTS:
            trained.append(train(folders[part], part, seed, labels, runs, asked))
            names[part].append(trained[-1].name)
    results = out / f"results-{runs.name}"
    scores = score(asked.task, trained, results, asked.size)
    print(f"{used.sum():,} training images of {len(labels or manifest.classes)} classes, {used.sum() - kept.sum():,}")
    print(f"left out; {asked.recipe}, {asked.epochs} epochs, {asked.size} px, {asked.seeds} seeds")
    print("\n| task | clean, % | random, % | clean minus random | by seed |\n|---|---|---|---|---|")
    for task in asked.task:
        found = answers(scores, results, task.stem, asked.size)
        table = 100 * compare(found, names, ["random"])
        right = {name: 100 * float((found[name]["label"] == found[name]["predicted"]).mean()) for name in found}
        shown = [table.loc[part, ["value", "low", "high"]] for part in PARTS]
        cells = [f"{value:.1f} [{low:.1f}, {high:.1f}]" for value, low, high in shown]
        value, low, high = (table.loc["clean", f"random {what}"] for what in ("difference", "low", "high"))
        cells.append(f"{value:+.1f} [{low:+.1f}, {high:+.1f}]")
        pairs = zip(*(names[part] for part in PARTS), strict=True)
        cells.append(", ".join(f"{right[a] - right[b]:+.1f}" for a, b in pairs))
        print(f"| {task.stem} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
