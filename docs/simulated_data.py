"""Small simulated data for the notebooks and the gallery: `python docs/simulated_data.py FOLDER`, a few seconds.

The cells are those of `cytoimagenet demo`. In FOLDER: `cytoimagenet`, a dataset built from two simulated sources;
`plate`, eight wells with two channels; `cells.zip`, cells of six donors with labels; `smears`, cells with an image
table.
"""

from __future__ import annotations

import io
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from cytoimagenet.builder.build import Recipe, build
from cytoimagenet.builder.simulate.cells import draw_field, style_of
from cytoimagenet.builder.simulate.source import layouts, simulate_source
from cytoimagenet.eval.demo import draw
from numpy.typing import NDArray
from PIL import Image

SOURCES = {"rec_rxrx1": 36, "bbbc041": 8}
"""Simulated source: number of fields of view."""
FIELD_SIDE = 160  # pixels
LABELS = ("activated", "quiescent")
CELLS_PER_DONOR_AND_LABEL = 8
LABEL_EFFECT, DONOR_EFFECT = 0.6, 0.25  # how much the look of a cell depends on each, from 0 to 1
SMEAR_CELLS = 40  # per class


def write(folder: Path) -> None:
    """Write the data, unless it is there."""
    done = folder / ".done"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, fields in SOURCES.items():
        layout = layouts()[name]
        if min(layout.shape) < FIELD_SIDE:
            layout = replace(layout, shape=(FIELD_SIDE, FIELD_SIDE))
        simulate_source(name, folder / "raw", seed=0, fields=fields, draw=draw, layout=layout)
    build(folder / "raw", folder / "cytoimagenet", Recipe(min_images=4), workers=0)
    _plate(folder / "plate")
    _cells(folder / "cells.zip")
    _smears(folder / "smears")
    done.touch()


def _plate(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for row, dose in (("A", 0.0), ("H", 1.0)):
        style = style_of("high dose", style_of("untreated"), dose)
        for column in (1, 2, 7, 12):
            number = "ABCDEFGH".index(row) * 12 + column
            channels = draw_field(np.random.default_rng(number), style, (224, 224), ("protein", "nucleus"))
            for channel, image in enumerate(channels.values(), 1):
                _image(image).save(folder / f"Channel{channel}-{number:02}-{row}-{column:02}.tif")


def _cells(path: Path) -> None:
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for donor in range(6):
            for label in LABELS:
                style = style_of(f"donor {donor}", style_of(label, style_of("T cell"), LABEL_EFFECT), DONOR_EFFECT)
                for n in range(CELLS_PER_DONOR_AND_LABEL):
                    rng = np.random.default_rng([donor, LABELS.index(label), n])
                    file = f"donor{donor}/{label}-{n}.png"
                    data = io.BytesIO()
                    _image(draw_field(rng, style, (48, 48), ("protein",), cells=1)["protein"]).save(data, "PNG")
                    archive.writestr(file, data.getvalue())
                    rows.append((file, label, f"donor{donor}"))
        archive.writestr("images.csv", pd.DataFrame(rows, columns=["file", "label", "group"]).to_csv(index=False))


def _smears(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rows = []
    for label in ("platelets", "rbc", "wbc"):
        for n in range(SMEAR_CELLS):
            rng = np.random.default_rng([len(label), ord(label[0]), n])
            image = draw_field(rng, style_of(label), (80, 80), ("brightfield",), cells=1)["brightfield"]
            _image(image).save(folder / f"{label}-{n:03}.png")
            rows.append((f"{label}-{n:03}.png", label, "brightfield", f"slide {n % 10}"))
    table = pd.DataFrame(rows, columns=["file", "cell_type", "microscopy", "group"])
    table.to_csv(folder / "images.csv", index=False)


def _image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).round().astype(np.uint8))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
