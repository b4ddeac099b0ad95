"""The figures of the report, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..results.score import grouped_interval
from ..tasks.record import Presentation
from .headline import model_in_words
from .published import published_for

# Paul Tol's bright set, which colour-blind readers can distinguish
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
MAX_LABEL_CHARACTERS = 28


def as_png(figure: Any, dpi: int = 130) -> bytes:
    """Return a matplotlib figure as PNG bytes; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """Return a figure and its axes, without frame lines at the top and right; needs no window system."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(**options)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def literal(text: str, longest: int = MAX_LABEL_CHARACTERS) -> str:
    r"""Return a label as matplotlib shows it literally: shortened, and without a `$` that starts a formula.

    Examples
    --------
    >>> literal("a label that is longer than 28 characters"), literal("$x")
    ('a label that is longer than…', '\\$x')
    """
    short = text if len(text) <= longest else text[: longest - 1] + "…"
    return short.replace("$", r"\$")


def score_plot(entries: Sequence[Mapping[str, Any]], task: Presentation) -> bytes:
    """Plot scores: a dot with its interval per model and test set, and a hollow dot for the published score.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of results.json with the same score and preprocessing.
    task : Presentation
        Has the published scores.
    """
    splits = sorted({entry["split"] for entry in entries})
    models = list(dict.fromkeys(entry["model"] for entry in entries))
    figure, axes = new_figure(6.4, 0.7 + 0.42 * len(models) * len(splits))
    ticks, names, at = [], [], 0.0
    for split in splits:
        for entry in [entry for entry in entries if entry["split"] == split]:
            colour = COLOURS[models.index(entry["model"]) % len(COLOURS)]
            interval = grouped_interval(entry) or entry["interval"]
            value, low, high = (100 * x for x in (entry["value"], interval["low"], interval["high"]))
            axes.errorbar(
                value, at, xerr=[[max(0, value - low)], [max(0, high - value)]], fmt="o", color=colour, capsize=3
            )
            axes.annotate(f"{value:.1f}", (high, at), (6, 0), textcoords="offset points", va="center", fontsize=9)
            published = published_for(entry, task)
            if published:
                style = {"fmt": "o", "mfc": "white", "color": colour, "ms": 5, "alpha": 0.7}
                axes.errorbar(published.percent, at + 0.28, xerr=published.half_width, **style)
            ticks.append(at)
            names.append(literal(f"{split} {model_in_words(entry['model'])}".strip()))
            at += 1
        at += 0.6
    chance = [max(c["n"] for c in entry["by_class"]) / entry["n"] for entry in entries if entry.get("by_class")]
    if chance:
        axes.axvline(100 * max(chance), color="#888888", linestyle=":", linewidth=1)
    axes.set_yticks(ticks, names)
    axes.set_ylim(max(ticks, default=0.0) + 0.6, -0.6)  # downwards, with space for the hollow dot below the last
    axes.set_xlim(0, 104)
    axes.set_xlabel("correctly classified, %")
    axes.grid(axis="x", color="#e4e6e8")
    axes.set_axisbelow(True)
    return as_png(figure)


def by_class_plot(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Plot accuracy by class (rows) and model (columns) as a shaded table, best class on top."""
    labels = [c["label"] for c in entries[0]["by_class"] if c["n"]]
    share = np.array(
        [[{c["label"]: c["accuracy"] for c in e["by_class"]}.get(label, np.nan) for e in entries] for label in labels]
    )
    order = np.argsort(-np.nan_to_num(share.max(axis=1)), kind="stable")
    figure, axes = new_figure(max(4.0, 2.8 + 0.8 * len(entries)), 1.8 + 0.27 * len(labels))
    axes.imshow(share[order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, i in enumerate(order):
        for column, value in enumerate(share[i]):
            if np.isfinite(value):
                ink = "white" if value > 0.6 else "black"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=9, color=ink)
    axes.set_yticks(range(len(labels)), [literal(labels[i]) for i in order])
    axes.set_xticks(
        range(len(entries)), [literal(model_in_words(e["model"])) for e in entries], rotation=40, ha="right"
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return as_png(figure)
