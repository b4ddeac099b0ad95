"""A small simulated COOS-7: one HDF5 file per set, in the layout of the publisher."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from ...builder.progress import track
from ...builder.simulate.cells import Style
from ...builder.storage import write_atomic
from .files import hdf5_bytes, simulate_cell, tiff_bytes

STYLES = {
    0: Style(protein="perinuclear"),  # endoplasmic reticulum
    1: Style(protein="filaments", grain=1.2),  # inner mitochondrial membrane
    2: Style(protein="cap"),  # Golgi
    3: Style(protein="puncta", grain=1.2),  # peroxisome
    4: Style(protein="puncta", grain=3.5, second="rim", mix=0.2),  # early endosome
    5: Style(protein="diffuse"),  # cytosol
    6: Style(protein="nucleoli", second="nuclear", mix=0.4),  # nuclear envelope
}
SETS = {
    # name: file, gain, background, noise, dates, microscopes; the tests differ more and more from the training set
    "train": ("training", 1.0, 0.0, 0.0, (1, 2), (0,)),
    "test1": ("test1", 1.0, 0.0, 0.0, (1, 2), (0,)),
    "test2": ("test2", 0.85, 0.02, 0.01, (3,), (0,)),
    "test3": ("test3", 0.6, 0.10, 0.05, (4,), (0,)),
    "test4": ("test4", 0.7, 0.06, 0.03, (5,), (1,)),
}


def simulate_coos7(
    folder: str | PathLike[str],
    *,
    seed: int = 0,
    train: int = 40,
    test: int = 16,
    dtype: str = "float32",
    layout: str = "hdf5",
) -> Path:
    """Write a small COOS-7: a training set and four test sets of single cells, with the channels protein and nucleus.

    Parameters
    ----------
    folder : path
        Folder to write to.
    seed : int
        Random seed of the pixels.
    train, test : int
        Number of cells of each of the 7 classes in the training set, and in each of the 4 test sets.
    dtype : str
        Data type of the pixels; the real one has 4 bytes and is not documented.
    layout : {"hdf5", "tree"}
        `COOS7_v1.0_<set>.hdf5`, or the authors' TIFF tree `<set>/<label>/<x>_{protein,nucleus,mask}.tif`.

    Returns
    -------
    Path
        The folder.
    """
    root = Path(folder)
    for number, (name, (file, gain, background, noise, dates, microscopes)) in enumerate(
        track(SETS.items(), "simulate coos7", len(SETS), "sets")
    ):
        rng = np.random.default_rng([seed, 2, number])
        labels = rng.permutation(np.repeat(np.arange(len(STYLES)), train if name == "train" else test))
        cells = np.stack([simulate_cell(rng, STYLES[label], ("protein", "nucleus")) for label in labels])
        cells = np.clip(cells * gain + background + rng.normal(0, noise, cells.shape), 0, 1)
        pixels = np.round(cells * 4000).astype(dtype)
        wells = rng.integers(0, 4, len(labels)) + 4 * labels  # the cells of a well have one label
        if layout == "tree":
            for i, (label, cell) in enumerate(zip(labels, pixels, strict=True)):
                place = root / name / str(label)
                write_atomic(place / f"{i}_protein.tif", tiff_bytes(cell[0]))
                write_atomic(place / f"{i}_nucleus.tif", tiff_bytes(cell[1]))
                write_atomic(place / f"{i}_mask.tif", tiff_bytes((cells[i, 1] > 0.3).astype(np.uint8)))
            continue
        columns = {
            "data": pixels,
            "labels": labels,
            "dateIDs": rng.choice(dates, len(labels)),
            "microscopeIDs": rng.choice(microscopes, len(labels)),
            "plateIDs": np.full(len(labels), 10 * number),
            "wellIDs": wells + 100 * number,
        }
        write_atomic(root / f"COOS7_v1.0_{file}.hdf5", hdf5_bytes(columns))
    return root
