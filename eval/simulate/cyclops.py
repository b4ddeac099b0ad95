"""A small simulated CYCLoPs: yeast cells in two channels, in the layout of the publisher."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from ...builder.progress import track
from ...builder.simulate.cells import Style
from ...builder.storage import write_atomic
from .files import hdf5_bytes, simulate_cell, tiff_bytes

COLUMNS = (
    *("ACTIN", "BUDNECK", "BUDTIP", "CELLPERIPHERY", "CYTOPLASM", "ENDOSOME", "ER", "GOLGI", "MITOCHONDRIA"),
    *("NUCLEARPERIPHERY", "NUCLEI", "NUCLEOLUS", "PEROXISOME", "SPINDLE", "SPINDLEPOLE"),
    *("VACUOLARMEMBRANE", "VACUOLE", "DEAD", "GHOST"),
)

STYLES = {
    "ACTIN": Style(protein="puncta", grain=2.4, second="rim", mix=0.3, nucleus=0.35),
    "CELLPERIPHERY": Style(protein="rim", nucleus=0.35),
    "CYTOPLASM": Style(protein="diffuse", nucleus=0.35),
    "ER": Style(protein="perinuclear", nucleus=0.5),
    "MITOCHONDRIA": Style(protein="filaments", grain=1.2, nucleus=0.35),
    "NUCLEI": Style(protein="nuclear", nucleus=0.45),
    "NUCLEOLUS": Style(protein="nucleoli", nucleus=0.55),
    "SPINDLE": Style(protein="cap", nucleus=0.3),
    "SPINDLEPOLE": Style(protein="cap", nucleus=0.3, grain=3.0),
    "VACUOLE": Style(protein="striped", nucleus=0.3),
    "DEAD": Style(protein="diffuse", second="nuclear", mix=0.5, radius=8.0),
    "GHOST": Style(protein="rim", radius=14.0, nucleus=0.2),
}
"""The classes with cells; the file names all 19 columns, as the real one does."""


def simulate_cyclops(
    folder: str | PathLike[str], *, seed: int = 0, cells: int = 24, layout: str = "hdf5", numbered: bool = False
) -> Path:
    """Write a small CYCLoPs WT2: single yeast cells in GFP and RFP, with 10 localisations and the two that are dropped.

    Parameters
    ----------
    folder : path
        Folder to write to.
    seed : int
        Random seed of the pixels.
    cells : int
        Number of cells per class, in the three files together.
    layout : {"hdf5", "tree"}
        `datasets/Chong_{train,valid,test}_set.hdf5` as DeepLoc publishes them, or a tree of TIFFs,
        `<LABEL>/<LABEL>_<index>_{gfp,rfp}.tif`, whose index runs over test, valid and train in this order.
    numbered : bool
        Split the data into numbered data sets (`data1`, `data2`, ...), as DeepLoc's reader allows.

    Returns
    -------
    Path
        The folder.
    """
    root = Path(folder)
    shares = {"test": 0.25, "valid": 0.25, "train": 0.5}
    index = 0
    for number, (name, share) in enumerate(track(shares.items(), "simulate cyclops", len(shares), "sets")):
        rng = np.random.default_rng([seed, 3, number])
        labels = rng.permutation(np.repeat(sorted(STYLES), max(1, round(cells * share))))
        pixels = np.stack([simulate_cell(rng, STYLES[label], ("protein", "cell body")) for label in labels])
        if layout == "tree":
            for label, (gfp, rfp) in zip(labels, pixels * 0.4, strict=True):
                write_atomic(root / label / f"{label}_{index}_gfp.tif", tiff_bytes(gfp.astype(np.float32)))
                write_atomic(root / label / f"{label}_{index}_rfp.tif", tiff_bytes(rfp.astype(np.float32)))
                index += 1
            continue
        flat = np.round(pixels * 2000 + 33000).reshape(len(labels), -1)
        one_hot = (labels[:, None] == np.array(COLUMNS)[None]).astype(np.uint8)
        parts = np.array_split(np.arange(len(labels)), 2 if numbered else 1)
        columns = {}
        for part, rows in enumerate(parts, 1):
            columns[f"data{part}"] = flat[rows]
            columns[f"Index{part}"] = one_hot[rows]
            columns[f"Info{part}"] = np.stack([rows, flat[rows].mean(axis=1)], axis=1)
        attributes = {
            "Index1_columns": np.array(COLUMNS, dtype="S"),
            "data1_columns": "GFP channel 64x64, RFP channel 64x64 flattened",
            "Info1_columns": np.array(["ImageNumber", "Intensity"], dtype="S"),
        }
        write_atomic(root / "datasets" / f"Chong_{name}_set.hdf5", hdf5_bytes(columns, attributes))
    return root
