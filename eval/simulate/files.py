"""The file formats of the simulated sets."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...builder.simulate.cells import Style, draw_field


def _cell(rng: np.random.Generator, style: Style, channels: Sequence[str]) -> NDArray[np.float32]:
    """Draw one cell in the middle of 64 x 64 pixels, channels first.

    A class is where the protein sits. Size, outline, nucleus and grain differ from cell to cell, as they do between
    real cells: features that only weigh the pixels must not tell the classes apart.
    """
    varied = replace(
        style,
        radius=style.radius * rng.uniform(0.7, 1.3),
        elongation=style.elongation * rng.uniform(1, 2),
        lobes=int(rng.choice([0, 3, 5, 8])),
        lobe_depth=rng.uniform(0, 0.25),
        nucleus=style.nucleus * rng.uniform(0.75, 1.25),
        grain=style.grain * rng.uniform(0.6, 1.6),
        chromatin=rng.uniform(0.1, 0.9),
        second=str(rng.choice(["diffuse", "nuclear", "rim"])),
        mix=style.mix + rng.uniform(0, 0.25),
    )
    drawn = draw_field(rng, varied, (64, 64), channels, cells=1)
    return np.stack([drawn[name] for name in channels])


def tiff_bytes(page: NDArray) -> bytes:
    """Return one plane as an uncompressed single-page TIFF."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, page, metadata=None, photometric="minisblack")
    return buffer.getvalue()


def _hdf5_bytes(columns: Mapping[str, NDArray], attributes: Mapping[str, object] | None = None) -> bytes:
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
    return buffer.getvalue()
