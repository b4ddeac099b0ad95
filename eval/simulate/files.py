"""Single cells, TIFF and HDF5 files of the simulated evaluation sets."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...builder.simulate.cells import Style, draw_field

CELL_SIDE = 64  # pixels


def simulate_cell(rng: np.random.Generator, style: Style, channels: Sequence[str]) -> NDArray[np.float32]:
    """Simulate one cell in the middle of an image.

    The class of a cell is the place of its protein. Size, outline, nucleus and texture vary between cells, as they do
    between real ones, so that brightness alone does not distinguish the classes.

    Returns
    -------
    array, shape (channels, 64, 64), float32 in [0, 1]
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
    cell = draw_field(rng, varied, (CELL_SIDE, CELL_SIDE), channels, cells=1)
    return np.stack([cell[name] for name in channels])


def tiff_bytes(page: NDArray[Any]) -> bytes:
    """Return one plane as the bytes of an uncompressed TIFF of one page."""
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, page, metadata=None, photometric="minisblack")
    return buffer.getvalue()


def hdf5_bytes(columns: Mapping[str, NDArray[Any]], attributes: Mapping[str, object] | None = None) -> bytes:
    """Return data sets and attributes as the bytes of an HDF5 file."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values)
        for name, value in (attributes or {}).items():
            file.attrs[name] = value
    return buffer.getvalue()
