"""Plots of a training run: loss and accuracy by epoch, accuracy by class."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..builder.storage import write_atomic

TRAIN_COLOUR, VALIDATION_COLOUR, CHANCE_COLOUR = "#1b6ca8", "#d1495b", "#8a8f98"


def plot_history(table: pd.DataFrame, folder: Path, classes: int) -> None:
    """Write `loss.png` and `accuracy.png`.

    Parameters
    ----------
    table : DataFrame
        The table of epochs, see `run_folder.history`.
    folder : Path
        Folder to write to.
    classes : int
        Number of classes, for the line that shows chance.
    """
    for what, percent in (("loss", 1), ("accuracy", 100)):
        figure, axes = _axes(6.4, 4)
        for split, colour in (("train", TRAIN_COLOUR), ("validation", VALIDATION_COLOUR)):
            known = table.dropna(subset=[f"{split}_{what}"])
            if len(known):
                y = percent * known[f"{split}_{what}"]
                axes.plot(known["epoch"], y, "o-", color=colour, ms=4, lw=1.6, label=f"{split}, last {y.iloc[-1]:.3g}")
        if what == "accuracy":
            _plot_any_label(axes, table)
        chance = np.log(classes) if what == "loss" else 100 / classes
        axes.axhline(chance, color=CHANCE_COLOUR, lw=1, ls="--", label=f"chance, {chance:.3g}")
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy" if what == "loss" else "accuracy (%)")
        axes.set_ylim(bottom=0)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(f"{what.capitalize()}, {classes} classes", loc="left")
        axes.legend(frameon=False)
        _save(figure, folder / f"{what}.png")


def _plot_any_label(axes: Any, table: pd.DataFrame) -> None:
    """Plot the validation accuracy by any right label, if images have several right labels."""
    known = table.dropna(subset=["validation_accuracy_any_label"])
    if (known["validation_accuracy_any_label"] > known["validation_accuracy"]).any():
        y = 100 * known["validation_accuracy_any_label"]
        label = f"validation, any right label, last {y.iloc[-1]:.3g}"
        axes.plot(known["epoch"], y, "o:", color=VALIDATION_COLOUR, ms=3, lw=1.2, label=label)


def plot_per_class(classes: pd.DataFrame, path: Path) -> None:
    """Plot the accuracy of every class as a dot, with one line of dots per category and a bar at its mean."""
    seen = classes[classes["evaluated"] > 0]
    groups = sorted(seen.groupby("category", sort=True), key=lambda pair: pair[1]["accuracy"].mean())
    figure, axes = _axes(6.4, 1.3 + 0.5 * len(groups))
    rng = np.random.default_rng(0)
    for row, (_, part) in enumerate(groups):
        accuracy = 100 * part["accuracy"].to_numpy()
        axes.scatter(
            accuracy, row + rng.uniform(-0.18, 0.18, len(part)), s=14, color=TRAIN_COLOUR, alpha=0.6, lw=0, zorder=3
        )
        axes.plot([accuracy.mean()] * 2, [row - 0.32, row + 0.32], color=VALIDATION_COLOUR, lw=2)
    names = []
    for name, part in groups:
        counted = f"{len(part)} {'class' if len(part) == 1 else 'classes'}, {(part['right'] == 0).sum()} at 0 %"
        names.append(f"{str(name).replace('_', ' ')}\n{counted}")
    axes.set_yticks(range(len(groups)), names, fontsize=8)
    axes.set_ylim(-0.6, len(groups) - 0.4)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy of a class (%); the bar is their mean")
    axes.set_title("Accuracy by class and category", loc="left")
    _save(figure, path)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120, metadata={"Software": None})
    write_atomic(path, data.getvalue())
