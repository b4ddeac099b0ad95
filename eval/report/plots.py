"""The report's figures, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .published import AS_GIVEN, PUBLISHED, kind_of

# Paul Tol's bright set: told apart by colour-blind eyes too
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
LONGEST = 28  # characters of a label in a figure


def as_png(figure: Any, dpi: int = 130) -> bytes:
    """Return a matplotlib figure as PNG bytes; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def new_figure(width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """Return figure and axes without frame lines that carry nothing; no window system is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(**options)
    for one in np.ravel(axes):
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def literal(text: str) -> str:
    """Return a label as it is to be shown: short, and with no `$` that would start a formula."""
    short = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    return short.replace("$", r"\$")


def score_plot(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw scores of one kind: a dot and its interval per model and set, the published one hollow beside it.

    Parameters
    ----------
    entries : sequence of mapping
        Entries of results.json with one score and preprocessing.
    """
    splits = sorted({entry["split"] for entry in entries})
    models = list(dict.fromkeys(entry["model"] for entry in entries))
    figure, axes = new_figure(6.4, 0.7 + 0.42 * len(models) * len(splits))
    ticks, names, at = [], [], 0.0
    for split in splits:
        for entry in [entry for entry in entries if entry["split"] == split]:
            colour = COLOURS[models.index(entry["model"]) % len(COLOURS)]
            value, low, high = (100 * x for x in (entry["value"], entry["interval"]["low"], entry["interval"]["high"]))
            axes.errorbar(value, at, xerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
            axes.annotate(f"{value:.1f}", (high, at), (6, 0), textcoords="offset points", va="center", fontsize=8)
            published = PUBLISHED.get((entry["task"], split, kind_of(entry["model"])))
            # somebody's table may be called anything: it is none of the published networks
            if published and entry["preprocess"] != AS_GIVEN:
                axes.errorbar(
                    published.value, at + 0.28, xerr=published.half, fmt="o", mfc="white", color=colour, ms=5, alpha=0.7
                )
            ticks.append(at)
            names.append(literal(f"{split} {entry['model']}".strip()))
            at += 1
        at += 0.6
    chance = [max(c["n"] for c in entry["by_class"]) / entry["n"] for entry in entries if entry.get("by_class")]
    if chance:
        axes.axvline(100 * max(chance), color="#888888", linestyle=":", linewidth=1)
    axes.set_yticks(ticks, names)
    axes.set_ylim(max(ticks, default=0.0) + 0.6, -0.6)  # falling, with room for the hollow dot below the last
    axes.set_xlim(0, 104)
    axes.set_xlabel("samples right, %")
    axes.grid(axis="x", color="#e4e6e8")
    axes.set_axisbelow(True)
    return as_png(figure)


def by_class_plot(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """Draw accuracy by class (rows) and model (columns) as a shaded table, best class on top."""
    labels = [c["label"] for c in entries[0]["by_class"] if c["n"]]
    share = np.array(
        [[{c["label"]: c["accuracy"] for c in e["by_class"]}.get(label, np.nan) for e in entries] for label in labels]
    )
    order = np.argsort(-np.nan_to_num(share.max(axis=1)), kind="stable")
    figure, axes = new_figure(2.6 + 0.75 * len(entries), 1.1 + 0.27 * len(labels))
    axes.imshow(share[order], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, i in enumerate(order):
        for column, value in enumerate(share[i]):
            if np.isfinite(value):
                ink = "white" if value > 0.6 else "black"
                axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=ink)
    axes.set_yticks(range(len(labels)), [literal(labels[i]) for i in order], fontsize=8)
    axes.set_xticks(range(len(entries)), [literal(e["model"]) for e in entries], rotation=40, ha="right", fontsize=8)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return as_png(figure)
