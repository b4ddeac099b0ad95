"""What pretraining is worth on real cells: train on real microscopy, score the features on three real tasks.

    python benchmarks/real.py --data real --out /tmp/real                    # two cores, 64 px; about an hour
    python benchmarks/real.py --data real --out /tmp/real --size 128 --batch 256 --epochs 14 --seeds 3     # one GPU
    python benchmarks/real.py --data real --out /tmp/real --size 128 --batch 256 --epochs 14 --seeds 3 --variants

`real/pretrain/*.zip` are sources and `real/tasks/*.zip` are tasks, each with its table `images.csv`. The dataset is
built by `cytoimagenet build`; `cytoimagenet train` trains the networks and `cytoimagenet eval --task` scores them. All
recipes see the same number of images. With `--variants`, copies of the recipe `adapt` with single settings changed
are trained too. Run the command again to resume: finished steps are not repeated.

Prints a table; writes real.md, real.json and real.png to the folder of the results.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cytoimagenet.eval.report.plots import COLOURS, as_png, new_figure
from cytoimagenet.eval.scores.intervals import grouped_bootstrap
from cytoimagenet.eval.scores.paired import grouped_permutation, holm

COMMAND = "import sys; sys.argv = ['cytoimagenet', *sys.argv[1:]]; import cytoimagenet; cytoimagenet.main()"
DATA = Path("../shared/real")
RECIPES = ("adapt", "modern", "paper")
BASE = "adapt"  # the recipe of the variants
VARIANTS: dict[str, dict[str, Any]] = {
    "half the rate": {"learning_rate": 2.5e-4},
    "twice the rate": {"learning_rate": 1e-3},
    "no mixup": {"mixup": 0.0},
    "mixup 0.8": {"mixup": 0.8},
    "CutMix too": {"cutmix": 1.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "warm-up of a fifth": {"warmup": 0.2},
    "norm momentum 0.01": {"norm_momentum": 0.01},
    "zoom 0.5": {"zoom": 0.5},
    "contrast 0.8": {"contrast": 0.8},
    "crop 0.5": {"crop": 0.5},
    "crop 0.8": {"crop": 0.8},
    "blur 1.5": {"blur": 1.5},
    "noise 0.05": {"noise": 0.05},
    "crop, blur and noise": {"crop": 0.5, "blur": 1.5, "noise": 0.05},
    "distillation 0.5": {"distill": 0.5},
    "classes balanced": {"balance": "sampling"},
    "larger images at the end": {},  # see `stages`
}
MIN_IMAGES = 10  # per class
TASKS = {"mitocheck": "MitoCheck", "tcell": "T cells", "yeast_wt2": "Yeast WT2"}
NAMES = {"mean-intensity": "mean intensity", "random": "random weights", "imagenet": "ImageNet"}
UNTRAINED = (*NAMES,)
REFERENCE = "imagenet"


@dataclass(frozen=True)
class Training:
    """One training: what it is called, its recipe and seed, and the settings that differ from the recipe."""

    name: str
    recipe: str
    seed: int
    changes: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name of its run folder."""
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.name)}-{self.seed}"  # eval takes names separated by commas


def trainings(asked: argparse.Namespace) -> list[Training]:
    """Return all trainings, one seed of each after the other: an interrupted comparison has complete seeds."""
    named: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in asked.recipes}
    if asked.variants is not None:
        named[BASE] = (BASE, {})
        named |= {name: (BASE, VARIANTS[name]) for name in asked.variants or VARIANTS}
    return [
        Training(name, recipe, seed, changes)
        for seed in range(asked.seeds)
        for name, (recipe, changes) in named.items()
    ]


def stages(one: Training, folder: Path, asked: argparse.Namespace) -> list[tuple[Path, list[str]]]:
    """Return the runs of a training, each with its folder and options; all but one training are a single run.

    "larger images at the end" trains the last fifth of the epochs, at least one, at twice the size, from the weights of
    the epochs before. The number of images is the same.
    """
    if one.name != "larger images at the end":
        return [(folder, ["--size", str(asked.size), "--epochs", str(asked.epochs)])]
    last = max(1, asked.epochs // 5)
    if last == asked.epochs:
        raise SystemExit(f"{one.name!r} needs at least two --epochs")
    before = folder.with_name(f"{folder.name}-before")
    return [
        (before, ["--size", str(asked.size), "--epochs", str(asked.epochs - last)]),
        (folder, ["--size", str(2 * asked.size), "--epochs", str(last), "--model", str(before)]),
    ]


def run(*words: str, log: Path | None = None, threads: int | None = None) -> None:
    """Run a command of the product; its output goes to a file, if one is named."""
    environment = os.environ if threads is None else {**os.environ, "OMP_NUM_THREADS": str(threads)}
    with log.open("a") if log else open(os.devnull, "a") as file:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *words],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT if log else None,
        )
    if done.returncode:
        raise SystemExit(f"cytoimagenet {' '.join(words)} failed" + (f", see {log}" if log else ""))


def build(data: Path, out: Path) -> Path:
    """Build the dataset of all images of `data/pretrain`, or do nothing if it is there."""
    for path in sorted((data / "pretrain").glob("*.zip")):
        folder = out / "RAW" / path.stem
        if not (folder / "images.csv").is_file():  # extracted last
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder, sorted(archive.namelist(), key=lambda name: name == "images.csv"))
    dataset = out / "cytoimagenet"
    run("build", str(out / "RAW"), "--out", str(dataset), "--min-images", str(MIN_IMAGES), log=out / "build.log")
    return dataset


def train(one: Training, dataset: Path, runs: Path, asked: argparse.Namespace, threads: int | None) -> Path:
    folder, begun = runs / one.folder, time.monotonic()
    changes = {
        "batch_size": asked.batch,
        # BatchNorm's statistics would follow too slowly for a few hundred steps
        "norm_momentum": 0.1,
        "save_every": 100,
        **one.changes,
    }
    for place, options in stages(one, folder, asked):
        words = ["train", str(dataset), "--out", str(place), "--recipe", one.recipe, "--seed", str(one.seed), *options]
        words += [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]
        run(*words, log=runs / f"{one.folder}.log", threads=threads)
    metrics = json.loads((folder / "run.json").read_text())["metrics"]
    print(
        f"{one.folder}: {time.monotonic() - begun:.0f} s; validation accuracy {metrics['validation_accuracy']:.3f}",
        file=sys.stderr,
        flush=True,
    )
    return folder


def score(tasks: Sequence[Path], runs: Sequence[Path], out: Path, size: int) -> dict[str, Any]:
    words = [word for task in tasks for word in ("--task", str(task))]
    words += ["--models", ",".join(["random", "imagenet", *map(str, runs)]), "--out", str(out)]
    run("eval", *words, "--input-size", str(size), "--no-probe", log=out.with_suffix(".log"))
    return json.loads((out / "results.json").read_text())


def answers(document: Mapping[str, Any], out: Path, task: str, size: int) -> dict[str, pd.DataFrame]:
    """Return the predictions of each model for the samples of a task."""
    return {
        entry["model"]: pd.read_parquet(out / "predictions" / f"{entry['key']}.parquet")
        for entry in document["results"]
        if (entry["task"], entry["score"], entry["beside"]) == (task, "knn", False)
        and entry["settings"]["input_size"] == size
    }


def compare(
    found: Mapping[str, pd.DataFrame], names: Mapping[str, Sequence[str]], against: Sequence[str]
) -> pd.DataFrame:
    """Score and compare models on one task; each is the mean over its seeds.

    Parameters
    ----------
    found : mapping
        Model -> its predictions.
    names : mapping
        Name -> the models that are its seeds.
    against : sequence of str
        Names with which all others are compared.

    Returns
    -------
    DataFrame
        One row per name: `value`, `low`, `high`, and for each name of `against` the difference, its interval and p.
        Intervals and p-values are over groups where the task has groups, else over samples. Shares, not percent.
    """
    first = next(iter(found.values()))
    groups = first["group"].to_numpy()
    groups = groups if any(groups) else np.arange(len(first))
    right = {
        name: np.mean([(found[m]["label"] == found[m]["predicted"]).to_numpy(float) for m in models], axis=0)
        for name, models in names.items()
    }
    rows = {}
    for name, mine in right.items():
        low, high, _ = grouped_bootstrap(mine, groups)
        rows[name] = {"value": mine.mean(), "low": low, "high": high}
        for other in against:
            if other != name:
                low, high, _ = grouped_bootstrap(mine - right[other], groups)
                rows[name] |= {
                    f"{other} difference": (mine - right[other]).mean(),
                    f"{other} low": low,
                    f"{other} high": high,
                    f"{other} p": grouped_permutation(mine, right[other], groups),
                }
    return pd.DataFrame.from_dict(rows, orient="index")


def correct_p_values(tables: Mapping[int, Mapping[str, pd.DataFrame]], against: Sequence[str]) -> None:
    """Add p-values corrected for all comparisons with a name, of all tasks and sizes, without those of the control."""
    flat = [table for of_size in tables.values() for table in of_size.values()]
    for other in against:
        of = [(table, name) for table in flat for name in table.index if name not in {other, "mean-intensity"}]
        corrected = holm([table.loc[name, f"{other} p"] for table, name in of])
        for (table, name), p in zip(of, corrected, strict=True):
            table.loc[name, f"{other} p_holm"] = p


def markdown(tables: Mapping[str, pd.DataFrame], validation: Mapping[str, float], reference: str) -> str:
    """Return a table: scores, and differences to the reference, with 95 % intervals, in percent."""
    head = [word for task in tables for word in (TASKS.get(task, task), f"minus {NAMES.get(reference, reference)}")]
    lines = ["| features | " + " | ".join(head) + " | mean of the tasks | validation accuracy |"]
    lines += ["|---" * (len(head) + 3) + "|"]
    for name in next(iter(tables.values())).index:
        cells = []
        for table in tables.values():
            row = 100 * table.loc[name]
            cells.append(f"{row['value']:.1f} [{row['low']:.0f}, {row['high']:.0f}]")
            if name == reference:
                cells.append("")
                continue
            sure = "*" if row.get(f"{reference} p_holm", np.nan) < 5 else ""
            part = [row[f"{reference} {what}"] for what in ("difference", "low", "high")]
            cells.append(f"{part[0]:+.1f} [{part[1]:+.1f}, {part[2]:+.1f}]{sure}")
        mean = 100 * np.mean([table.loc[name, "value"] for table in tables.values()])
        own = f"{100 * validation[name]:.1f}" if name in validation else ""
        lines.append(f"| {NAMES.get(name, name)} | " + " | ".join(cells) + f" | {mean:.1f} | {own} |")
    return "\n".join(lines)


def plot(tables: Mapping[int, Mapping[str, pd.DataFrame]], reference: str, about: str) -> bytes:
    """Plot the differences to the reference: one column of panels per task, one row per size of the images."""
    first = next(iter(tables.values()))
    shown = [name for name in next(iter(first.values())).index if name not in {reference, "mean-intensity"}]
    names = sorted(shown, key=UNTRAINED.__contains__)[::-1]  # from below: untrained networks first
    height = 0.6 + len(tables) * (0.7 + 0.36 * len(names))
    figure, axes = new_figure(9.0, height, nrows=len(tables), ncols=len(first), sharex=True, sharey=True, squeeze=False)
    for row, (size, of_size) in zip(axes, tables.items(), strict=True):
        row[0].set_yticks(range(len(names)), [NAMES.get(name, name) for name in names], fontsize=11)
        row[0].set_ylabel(f"scored at {size} px")
        for panel, (task, table) in zip(row, of_size.items(), strict=True):
            base = f"{NAMES.get(reference, reference)}: {100 * table.loc[reference, 'value']:.1f} %"
            panel.set_title(f"{TASKS.get(task, task)} ({base})", fontsize=9.5)
            _panel(panel, table.loc[names], reference)
    what = f"Difference to the features of {NAMES.get(reference, reference)}, percentage points (95 % interval)"
    figure.supxlabel(f"{what}\n{about}", fontsize=10)
    return as_png(figure, dpi=150)


def _panel(panel: Any, table: pd.DataFrame, reference: str) -> None:
    panel.axvline(0, color="#555555", linewidth=1)
    for place, name in enumerate(table.index):
        value, low, high = (100 * table.loc[name, f"{reference} {what}"] for what in ("difference", "low", "high"))
        colour = COLOURS[6] if name == "random" else COLOURS[2] if low > 0 else COLOURS[1] if high < 0 else COLOURS[0]
        panel.plot([low, high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        panel.plot(value, place, "o", color=colour, markersize=8)
        text = panel.annotate(f"{value:+.1f}", (value, place), (0, 8), textcoords="offset points", ha="center")
        text.set(fontsize=9, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    panel.margins(x=0.08)
    panel.set_ylim(-0.6, len(table) - 0.2)
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"folder with pretrain/ and tasks/; {DATA} if it exists")
    parser.add_argument("--out", type=Path, default=Path("real-benchmark"), help="folder for all files; it is kept")
    parser.add_argument("--size", type=int, default=64, help="side of the images in training, in pixels")
    parser.add_argument("--score-size", type=int, nargs="+", default=[64, 128], help="sides of the images in scoring")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the 30,813 training images")
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--recipes", nargs="*", choices=RECIPES, default=RECIPES)
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, help=f"also these variants of {BASE}; alone: all")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at the same time; they share the cores")
    asked = parser.parse_args()
    if asked.data is None and not DATA.is_dir():
        print(f"There are no real images in {DATA}: name their folder with --data", file=sys.stderr)
        return
    data = asked.data or DATA
    out, tasks = asked.out.resolve(), sorted((data / "tasks").glob("*.zip"))
    if not tasks:
        parser.error(f"there is no {data / 'tasks'}/*.zip")
    of = f"{asked.size}px-{asked.epochs}-epochs"
    runs = out / f"runs-{of}"
    runs.mkdir(parents=True, exist_ok=True)
    dataset = build(data, out)
    planned = trainings(asked)
    threads = max(1, (os.cpu_count() or 1) // asked.jobs)
    with ThreadPoolExecutor(asked.jobs) as pool:
        folders = [*pool.map(lambda one: train(one, dataset, runs, asked, threads), planned)]
    names: dict[str, list[str]] = {name: [] for name in UNTRAINED}
    accuracies: dict[str, list[float]] = {}
    for one, folder in zip(planned, folders, strict=True):
        names.setdefault(one.name, []).append(folder.name)
        metrics = json.loads((folder / "run.json").read_text())["metrics"]
        accuracies.setdefault(one.name, []).append(metrics["validation_accuracy"])
    against = [REFERENCE, "random", *([BASE] if asked.variants is not None else [])]
    tables: dict[int, dict[str, pd.DataFrame]] = {}
    for size in asked.score_size:
        results = out / f"results-{of}-scored-at-{size}px"
        scores = score(tasks, folders, results, size)
        tables[size] = {}
        for task in tasks:
            found = answers(scores, results, task.stem, size)
            names |= {name: [model for model in found if model.split(":")[0] == name] for name in UNTRAINED}
            tables[size][task.stem] = compare(
                found, {name: models for name, models in names.items() if models}, against
            )
    correct_p_values(tables, against)
    validation = {name: float(np.mean(values)) for name, values in accuracies.items()}
    about = f"trained {asked.epochs} epochs at {asked.size} px, {asked.seeds} seed{'s' * (asked.seeds > 1)}"
    shown = {
        name: "\n\n".join(
            f"Scored at {size} px; differences to {NAMES.get(name, name)} with * have p < 0.05 (permutation of groups, "
            f"corrected by Holm)\n\n{markdown(of_size, validation, name)}"
            for size, of_size in tables.items()
        )
        for name in against
    }
    (out / "real.md").write_text(f"{about}\n\n" + "\n\n".join(shown.values()) + "\n")
    document = {
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in vars(asked).items()},
        "validation_accuracy": validation,
        "scored_at_px": {
            str(size): {task: json.loads(table.to_json(orient="index")) for task, table in of_size.items()}
            for size, of_size in tables.items()
        },
    }
    (out / "real.json").write_text(json.dumps(document, indent=1) + "\n")
    (out / "real.png").write_bytes(plot(tables, REFERENCE, about))
    print(shown[BASE if asked.variants is not None else REFERENCE])
    print(f"\n{about}; see real.md, real.json and real.png in {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
