"""Compare the recipes `modern` and `paper` by how well their features transfer.

    python benchmarks/recipes.py --out /tmp/recipes        # run again to resume

Both train on the demo's simulated dataset from the same random weights, for the same number of steps and images, with
several seeds. Then the evaluation scores their features on the three simulated tasks. Everything apart from the
recipe is the same: image size, batch size, epochs, momentum of BatchNorm's statistics.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from cytoimagenet.builder.build import Recipe, build
from cytoimagenet.eval.demo import MIN_IMAGES, simulate_evaldata, simulate_raw
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.run import score_models, task_roots
from cytoimagenet.eval.tasks.registry import TASKS
from cytoimagenet.training.train import train

RECIPES = ("paper", "modern")
# the published score of each task; for COOS-7 the mean of its four tests
SCORES = {"bbbc021": ("BBBC021, NSC", "nsc"), "coos7": ("COOS-7, kNN", "knn"), "cyclops": ("CYCLoPs, kNN", "knn")}


def prepare(folder: Path) -> Path:
    simulate_raw(folder / "raw", seed=0)
    build(folder / "raw", folder / "cytoimagenet", Recipe(min_images=MIN_IMAGES, seed=0), workers=2)
    simulate_evaldata(folder / "evaldata", seed=1)
    return folder / "cytoimagenet"


def train_all(dataset: Path, runs: Path, seeds: int, equal: dict[str, object]) -> pd.DataFrame:
    """Train every recipe with every seed, alternating, so that an interrupted comparison still has pairs."""
    rows = []
    for seed in range(seeds):
        for recipe in RECIPES:
            begun = time.process_time()
            done = train(dataset, runs / f"{recipe}-{seed}", recipe=recipe, seed=seed, **equal)
            rows.append(
                {
                    "recipe": recipe,
                    "steps": int(done.metrics["step"]),
                    "train_accuracy": done.metrics["train_accuracy"],
                    "validation_accuracy": done.metrics["validation_accuracy"],
                }
            )
            print(f"{recipe}-{seed}: {time.process_time() - begun:.0f} CPU s, {rows[-1]}", flush=True)
    return pd.DataFrame(rows)


def transfer(folder: Path, runs: list[Path], size: int) -> pd.DataFrame:
    """Score the runs and random weights; return one row per network, one column per task, values in [0, 1]."""
    roots, _ = task_roots(folder / "evaldata", [TASKS[name] for name in SCORES])
    run = score_models(
        roots,
        ["random", *map(str, runs)],
        folder / "results",
        EvaluationSettings(probe=False),
        methods=["concat-norm"],
        size=size,
    )
    entries = pd.DataFrame(
        (entry["task"], entry["model"], entry["value"])
        for result in run.done
        for entry in result.entries
        if not entry["beside"] and entry["score"] == SCORES[entry["task"]][1]
    ).set_axis(["task", "model", "value"], axis=1)
    table = entries.groupby(["model", "task"])["value"].mean().unstack()[list(SCORES)]
    return table.assign(mean=table.mean(axis=1))


def show(table: pd.DataFrame, trained: pd.DataFrame) -> None:
    of = table.index.str.replace(r"-\d+$", "", regex=True).str.replace(r"^random.*", "random weights", regex=True)
    columns = [SCORES[task][0] for task in SCORES] + ["mean of the three"]
    print("| recipe | " + " | ".join(columns) + " | training accuracy | validation accuracy |")
    print("|---" * (len(columns) + 3) + "|")
    for name, part in table.groupby(of):
        shown = [spread(part[column].to_numpy()) for column in table]
        own = trained[trained["recipe"] == name]
        shown += [spread(own[f"{split}_accuracy"].to_numpy()) if len(own) else "" for split in ("train", "validation")]
        print(f"| {name} | " + " | ".join(shown) + " |")
    pairs = pd.DataFrame(
        table.loc[f"modern-{seed}"] - table.loc[f"paper-{seed}"] for seed in range(len(trained) // len(RECIPES))
    )
    print(
        "| modern - paper, by seed | " + " | ".join(spread(pairs[c].to_numpy(), signed=True) for c in table) + " | | |"
    )
    print(
        "\nDifference of the mean of the three tasks, by seed: "
        + ", ".join(f"{100 * value:+.1f}" for value in pairs["mean"])
    )


def spread(values: np.ndarray, *, signed: bool = False) -> str:
    """Return mean and standard deviation over seeds as text, in percent."""
    sign = "+" if signed else ""
    deviation = f" ± {100 * values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():{sign}.1f}{deviation}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("recipes-benchmark"), help="folder for all files; it is kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    asked = parser.parse_args()
    folder = asked.out.resolve()
    dataset = prepare(folder)
    # in both recipes BatchNorm's statistics change slowly, as suits long runs: a few hundred steps need 0.1
    equal = {"size": asked.size, "epochs": asked.epochs, "batch_size": asked.batch, "norm_momentum": 0.1}
    runs = folder / f"runs-{asked.size}px-{asked.epochs}-epochs"
    trained = train_all(dataset, runs, asked.seeds, equal)
    table = transfer(folder, [runs / f"{r}-{seed}" for seed in range(asked.seeds) for r in RECIPES], asked.size)
    steps = sorted(set(trained["steps"]))
    print(f"\n{asked.size} px, batches of {asked.batch}, {steps} steps, {asked.seeds} seeds; percent, mean ± std\n")
    show(table, trained)


if __name__ == "__main__":
    main()
