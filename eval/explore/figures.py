"""The figures of `explore`, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ...builder.images import contact_sheet
from ..report.plots import as_png, literal, new_figure

MAX_COLOURS = 20  # that can be distinguished; further values share a grey
PANEL_INCHES = 4.2
MAX_BARS = 40
MAX_TITLE_CHARACTERS = 100
MAX_BAR_CHARACTERS = 60
MAX_CAPTION_CHARACTERS = 20
CAPTION_PIXELS = 14
NAME_WIDTH, NAME_HEIGHT = 0.2, 0.03  # of a name in a plot, in shares of its sides
CAPTION_LENGTH = 28  # characters of a line below a picture


def maps(panels: Sequence[tuple[str, pd.DataFrame, str]], title: str = "") -> bytes:
    """Plot maps side by side.

    Parameters
    ----------
    panels : sequence of (title, table, column)
        The table has x, y and the column that determines the colour. Text and up to `MAX_COLOURS` different numbers
        are listed in a legend; more numbers get a colour scale.
    title : str
        Above all panels: what is mapped.
    """
    # the legend below a map has two columns
    rows = max(min(table[column].nunique(), MAX_COLOURS + 1) for _, table, column in panels)
    height = PANEL_INCHES + 0.6 + 0.17 * ((rows + 1) // 2)
    figure, axes = new_figure(PANEL_INCHES * len(panels), height, ncols=len(panels), squeeze=False)
    figure.suptitle(literal(title, MAX_TITLE_CHARACTERS), x=0.01, ha="left", fontsize=11)
    for one, (name, table, column) in zip(np.ravel(axes), panels, strict=True):
        _map(figure, one, table, column)
        one.set_title(name, loc="left", fontsize=10)
        one.set_xticks([])
        one.set_yticks([])
        one.set_box_aspect(1)
        one.spines[:].set_visible(True)
        one.spines[:].set_color("#d9dde1")
    return as_png(figure)


def _map(figure: Any, axes: Any, table: pd.DataFrame, column: str) -> None:
    import matplotlib

    size = float(np.clip(12000 / len(table), 6, 40))
    style = {"s": size, "linewidths": 0, "alpha": 0.85}
    if pd.api.types.is_numeric_dtype(table[column]) and table[column].nunique() > MAX_COLOURS:
        shown = axes.scatter(table["x"], table["y"], c=table[column], cmap="viridis", **style)
        figure.colorbar(shown, ax=axes, shrink=0.6, location="bottom")
        return
    common = table[column].value_counts()
    named = sorted(common.index[:MAX_COLOURS])
    rest = ~table[column].isin(named)
    axes.scatter(table["x"][rest], table["y"][rest], color="#c8ccd0", **style)
    colours = matplotlib.color_sequences["tab20" if len(named) > 10 else "tab10"]
    for colour, value in zip(colours, named, strict=False):
        here = table[column] == value
        axes.scatter(table["x"][here], table["y"][here], color=colour, label=literal(str(value)), **style)
    if rest.any():
        axes.scatter([], [], color="#c8ccd0", label=f"{len(common) - len(named)} more", **style)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2, frameon=False, fontsize=7, markerscale=1.6,
        labelspacing=0.25, columnspacing=1,
    )  # fmt: skip


def diversity(table: pd.DataFrame, threshold: float) -> bytes:
    """Plot the similarity within each class against that to other classes, with the threshold as a line."""
    known = table.dropna(subset=["intra", "inter"])
    figure, axes = new_figure(6.4, 5)
    high = known["intra"] > threshold
    axes.scatter(known["inter"][~high], known["intra"][~high], s=22, color="#4477aa", label="classes")
    axes.scatter(known["inter"][high], known["intra"][high], s=22, color="#ee6677", label=f"above {threshold:g}")
    low = float(min(known[["intra", "inter"]].min())) if len(known) else 0.0
    top = float(max(known[["intra", "inter"]].max())) if len(known) else 1.0
    pad = 0.05 * max(top - low, 0.05)
    ends = [low - pad, min(1.0, top + pad)]
    axes.plot(ends, ends, color="#999999", linewidth=1, linestyle=":")
    axes.axhline(threshold, color="#ee6677", linewidth=1)
    _name_points(axes, known, ends)
    axes.set_xlabel("mean cosine similarity to images of other classes")
    axes.set_ylabel("mean cosine similarity within the class")
    axes.set_title(f"How similar the images of {len(known)} classes are", loc="left", fontsize=11)
    axes.text(ends[1], ends[1], "as similar to other classes", ha="right", va="bottom", fontsize=7, color="#777777")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return as_png(figure)


def _name_points(axes: Any, known: pd.DataFrame, ends: Sequence[float]) -> None:
    """Write the names of classes next to their points, the most unusual ones first, where there is space."""
    side = (ends[1] - ends[0]) or 1.0  # of both axes
    written: list[tuple[float, float]] = []
    unusual = known.assign(distance=(known["intra"] - known["intra"].median()).abs()).sort_values(
        "distance", ascending=False
    )
    for name, inter, intra in unusual[["label", "inter", "intra"]].itertuples(index=False):
        if any(abs(inter - x) < NAME_WIDTH * side and abs(intra - y) < NAME_HEIGHT * side for x, y in written):
            continue
        written.append((inter, intra))
        axes.annotate(literal(name), (inter, intra), (5, -3), textcoords="offset points", fontsize=7)


def composition(tables: Mapping[str, pd.DataFrame]) -> bytes:
    """Plot the numbers of images and classes by category, database and source as bars."""
    tables = {name: table.head(MAX_BARS) for name, table in tables.items()}
    heights = [max(2, len(table)) for table in tables.values()]
    figure, axes = new_figure(
        8.4, 1.2 + 0.26 * sum(heights) + 0.5 * len(tables), nrows=len(tables), ncols=2, squeeze=False, sharey="row",
        gridspec_kw={"height_ratios": heights, "width_ratios": [2, 1]},
    )  # fmt: skip
    titles = {"category": "by category", "database": "by database", "name": "by source"}
    for row, (name, table) in zip(axes, tables.items(), strict=True):
        for one, column, colour in zip(row, ("images", "classes"), ("#4477aa", "#ccbb44"), strict=True):
            at = np.arange(len(table))
            bars = one.barh(at, table[column], color=colour)
            one.bar_label(bars, [f"{value:,}" for value in table[column]], fontsize=7, padding=2)
            one.set_yticks(
                at, [literal(str(value), MAX_BAR_CHARACTERS) or "unknown" for value in table[name]], fontsize=8
            )
            one.margins(x=0.18)
            one.set_xticks([])
            one.spines["bottom"].set_visible(False)
            one.set_title(f"{column} {titles[name]}", loc="left", fontsize=9)
        row[0].invert_yaxis()
    return as_png(figure)


def grid(
    images: Sequence[NDArray[np.generic]],
    columns: int,
    tile: int = 112,
    gap: int = 2,
    captions: Sequence[str] | None = None,
) -> bytes:
    """Return grey images in a grid, each scaled to fit a square of `tile` pixels.

    Parameters
    ----------
    images : sequence of array, shape (height, width), uint8
    columns : int
        Number of images per row.
    tile, gap : int
        Side of a square and space between two of them, in pixels.
    captions : sequence of str, optional
        Written below the images.
    """
    pictures = [Image.fromarray(np.asarray(pixels, np.uint8)) for pixels in images]
    how: dict[str, Any] = {"background": 255, "resample": Image.Resampling.BILINEAR}
    if captions is None:
        sheet = contact_sheet.grid(pictures, columns, side=tile, gap=gap, **how)
    else:
        rows = -(-len(pictures) // columns)
        down = tile + CAPTION_PIXELS + gap
        sheet = Image.new("L", (columns * (tile + gap) - gap, rows * down - gap), 255)
        pen = ImageDraw.Draw(sheet)
        for i, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            left, top = i % columns * (tile + gap), i // columns * down
            sheet.paste(contact_sheet.grid([picture], 1, side=tile, gap=gap, **how), (left, top))
            text = caption if len(caption) <= MAX_CAPTION_CHARACTERS else caption[: MAX_CAPTION_CHARACTERS - 1] + "…"
            pen.text((left + 1, top + tile + 1), text, fill=0, font_size=10)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def neighbours(images: Sequence[NDArray[np.generic]], captions: Sequence[str], columns: int = 5) -> bytes:
    """Return grey images in a grid, each with its caption below it; the first has a frame.

    Parameters
    ----------
    images : sequence of array, shape (height, width), uint8
    captions : sequence of str
        One per image, in up to two lines.
    columns : int
        Number of images per row.
    """
    rows = -(-len(images) // columns)
    figure, axes = new_figure(1.9 * columns, 2.2 * rows, nrows=rows, ncols=columns, squeeze=False)
    for number, one in enumerate(np.ravel(axes)):
        one.set_xticks([])
        one.set_yticks([])
        one.spines[:].set_visible(number == 0)
        if number >= len(images):
            continue
        one.imshow(images[number], cmap="gray", vmin=0, vmax=255)
        one.spines[:].set(color="#0b6e8f", linewidth=3)
        lines = [
            line if len(line) <= CAPTION_LENGTH else line[: CAPTION_LENGTH - 1] + "…"
            for line in captions[number].split("\n")
        ]
        one.set_xlabel(literal("\n".join(lines)), fontsize=7.5)
    return as_png(figure)
