"""Small evaluation sets in the true formats of BBBC021, COOS-7 and CYCLoPs WT2, for the demo and the tests.

The containers, names and traps are the publishers': zips a plate, UUIDs glued to the channel digit, four kinds of file
name, HDF5 keys, one-hot labels whose names lie in the file's attributes. Only the pixels are drawn. Classes differ by
shape, texture and stain pattern; plates, days and microscopes add the shifts that must not matter.
"""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..builder.cells import Style, draw_field, style_of
from ..builder.errors import UsageError
from ..builder.progress import track
from ..builder.storage import write_atomic

PLATES = {
    "Week1_150607_": ("Week1_22123", "Week1_22141"),
    "": ("Week4_27481", "Week4_27521"),
    "Week7_7__": ("Week7_34641", "Week7_34661"),
    "Week8_4sites_": ("Week8_38203", "Week8_38221"),
}
"""Two plates of four weeks, under the four kinds of prefix that file names have."""

DMSO_WELLS = ("B02", "E11")  # two of the six that every plate has
TAXOL_WELLS = ("C11", "F02")  # taxol 0.3 is the positive control of every plate
TREATMENT_WELLS = ("B04", "C05", "D06", "E07", "F08", "G09")

TREATMENTS: Mapping[str, tuple[tuple[str, float, str], ...]] = {
    "Week1": (
        ("docetaxel", 0.3, "Microtubule stabilizers"),
        ("cytochalasin D", 0.3, "Actin disruptors"),
        ("cisplatin", 10.0, "DNA damage"),
        ("cyclohexamide", 15.0, "Protein synthesis"),
        ("AZ841", 1.0, "Aurora kinase inhibitors"),
        ("taxol", 3.0, "Microtubule stabilizers"),
    ),
    "Week4": (
        ("epothilone B", 0.3, "Microtubule stabilizers"),
        ("etoposide", 3.0, "DNA damage"),
        ("etoposide", 10.0, "DNA damage"),
        ("AZ-A", 1.0, "Aurora kinase inhibitors"),
        ("cytochalasin D", 0.03, ""),  # a dose without a mechanism of action: not in the MOA table
        ("5-fluorouracil", 0.003, ""),
    ),
    "Week7": (
        ("cytochalasin B", 10.0, "Actin disruptors"),
        ("cytochalasin B", 30.0, "Actin disruptors"),
        ("mitomycin C", 3.0, "DNA damage"),
        ("emetine", 0.3, "Protein synthesis"),
        ("emetine", 1.0, "Protein synthesis"),
    ),
    "Week8": (
        ("latrunculin B", 3.0, "Actin disruptors"),
        ("anisomycin", 1.0, "Protein synthesis"),
        ("AZ258", 1.0, "Aurora kinase inhibitors"),
        ("simvastatin", 6.0, "Cholesterol-lowering"),
        ("mevinolin/lovastatin", 5.0, "Cholesterol-lowering"),  # one week only: has no candidate in NSCB
    ),
}
"""Real treatments and mechanisms; each lies in one week, as in the real set."""

MECHANISM_STYLES = {
    "": Style(),
    "DMSO": Style(),
    "Microtubule stabilizers": Style(radius=13.0, elongation=1.0, lobes=5, lobe_depth=0.25, nucleus=0.45, grain=1.2),
    "Actin disruptors": Style(radius=8.0, elongation=1.0, lobes=8, lobe_depth=0.3, nucleus=0.6, grain=3.5),
    "DNA damage": Style(radius=16.0, elongation=1.3, nucleus=0.65, chromatin=0.9),
    "Protein synthesis": Style(radius=9.0, elongation=1.8, nucleus=0.4, chromatin=0.1, grain=1.2),
    "Aurora kinase inhibitors": Style(radius=15.0, lobes=3, lobe_depth=0.3, nucleus=0.35, chromatin=0.7, grain=3.0),
    "Cholesterol-lowering": Style(radius=10.0, elongation=2.6, lobes=0, nucleus=0.5),
}
BBBC021_CHANNELS = {"DAPI": ("1", "nucleus"), "Tubulin": ("2", "tubulin"), "Actin": ("4", "actin")}  # there is no w3

COOS7_STYLES = {
    0: Style(protein="perinuclear"),  # endoplasmic reticulum
    1: Style(protein="filaments", grain=1.2),  # inner mitochondrial membrane
    2: Style(protein="cap"),  # Golgi
    3: Style(protein="puncta", grain=1.2),  # peroxisome
    4: Style(protein="puncta", grain=3.5, second="rim", mix=0.2),  # early endosome
    5: Style(protein="diffuse"),  # cytosol
    6: Style(protein="nucleoli", second="nuclear", mix=0.4),  # nuclear envelope
}
COOS7_SETS = {
    # name: file, gain, background, noise, dates, microscopes: the shift grows from test1 to test4
    "train": ("training", 1.0, 0.0, 0.0, (1, 2), (0,)),
    "test1": ("test1", 1.0, 0.0, 0.0, (1, 2), (0,)),
    "test2": ("test2", 0.85, 0.02, 0.01, (3,), (0,)),
    "test3": ("test3", 0.6, 0.10, 0.05, (4,), (0,)),
    "test4": ("test4", 0.7, 0.06, 0.03, (5,), (1,)),
}

CYCLOPS_COLUMNS = (
    *("ACTIN", "BUDNECK", "BUDTIP", "CELLPERIPHERY", "CYTOPLASM", "ENDOSOME", "ER", "GOLGI", "MITOCHONDRIA"),
    *("NUCLEARPERIPHERY", "NUCLEI", "NUCLEOLUS", "PEROXISOME", "SPINDLE", "SPINDLEPOLE"),
    *("VACUOLARMEMBRANE", "VACUOLE", "DEAD", "GHOST"),
)
CYCLOPS_STYLES = {
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
"""The classes that get cells; the file still names all 19 columns, as the real one does."""


def simulate(
    root: str | PathLike[str], *, tasks: Sequence[str] = ("bbbc021", "coos7", "cyclops"), seed: int = 0
) -> dict[str, Path]:
    """Write small evaluation sets below `root`, one folder a task.

    Parameters
    ----------
    root : path
        Gets `bbbc021/`, `coos7/` and `cyclops/`. What is there under the same names is overwritten.
    tasks : sequence of str
        Which of the three.
    seed : int
        Equal seeds give equal bytes.

    Returns
    -------
    dict of task -> folder

    Raises
    ------
    UsageError
        If a task is not one of the three.
    """
    makers: dict[str, Callable[..., Path]] = {
        "bbbc021": simulate_bbbc021,
        "coos7": simulate_coos7,
        "cyclops": simulate_cyclops,
    }
    unknown = [task for task in tasks if task not in makers]
    if unknown:
        raise UsageError(f"No task named {', '.join(unknown)}", next=f"Use one of {', '.join(makers)}")
    return {task: makers[task](Path(root) / task, seed=seed) for task in tasks}


def simulate_bbbc021(
    folder: str | PathLike[str],
    *,
    seed: int = 0,
    shape: tuple[int, int] = (128, 160),
    sites: int = 2,
    layout: str = "folders",
) -> Path:
    """Write a small BBBC021: the two official tables and 16-bit TIFFs of 22 treatments and DMSO on 8 plates.

    Parameters
    ----------
    folder : path
        Where to.
    seed : int
        Of pixels and UUIDs.
    shape : (height, width)
        Of an image; the real ones are (1024, 1280).
    sites : int
        Fields a well; the real set has 4.
    layout : {"folders", "nested", "zips"}
        `<plate>/<file>.tif`, `BBBC021_v1_images_<plate>/<plate>/<file>.tif`, or `BBBC021_v1_images_<plate>.zip`.

    Returns
    -------
    Path
        The folder.
    """
    root = Path(folder)
    rows, files_of = [], {}
    for prefix, plates in PLATES.items():
        for replicate, plate in enumerate(plates, 1):
            fields = list(_bbbc021_fields(prefix, plate, replicate, sites, seed))
            rows += [row for row, _ in fields]
            files_of[plate] = fields
    for number, row in enumerate(rows, 1):
        row["ImageNumber"] = number
    write_atomic(root / "BBBC021_v1_image.csv", _bbbc021_csv(rows))
    moa = sorted({(c, dose, m) for week in TREATMENTS.values() for c, dose, m in week if m})
    moa += [("taxol", 0.3, "Microtubule stabilizers"), ("DMSO", 0.0, "DMSO")]
    lines = ['"compound",concentration,"moa"', *(f'"{c}",{dose:.6f},"{m}"' for c, dose, m in moa)]
    write_atomic(root / "BBBC021_v1_moa.csv", ("\n".join(lines) + "\n").encode())
    for plate, fields in track(files_of.items(), "simulate bbbc021", len(files_of), "plates"):
        _write_plate(root, plate, fields, shape, seed, layout)
    return root


def _bbbc021_fields(prefix: str, plate: str, replicate: int, sites: int, seed: int) -> Iterator[tuple[dict, Style]]:
    week = plate.split("_")[0]
    wells = [(well, ("DMSO", 0.0, "DMSO")) for well in DMSO_WELLS]
    wells += [(well, ("taxol", 0.3, "Microtubule stabilizers")) for well in TAXOL_WELLS]
    wells += list(zip(TREATMENT_WELLS, TREATMENTS[week], strict=False))
    names = np.random.default_rng([seed, *plate.encode()])
    for well, (compound, dose, mechanism) in wells:
        # a compound looks a little unlike the others of its mechanism
        style = style_of(f"{compound}{dose}", MECHANISM_STYLES[mechanism], 0.08)
        for site in range(1, sites + 1):
            row: dict[str, str | int] = {"TableNumber": int(week[4:]) % 10, "ImageNumber": 0}
            for stain, (digit, _) in BBBC021_CHANNELS.items():
                unique = str(uuid.UUID(bytes=names.bytes(16), version=4)).upper()
                row[f"Image_FileName_{stain}"] = f"{prefix}{well}_s{site}_w{digit}{unique}.tif"
                row[f"Image_PathName_{stain}"] = f"{week}/{plate}"
            row |= {"Image_Metadata_Plate_DAPI": plate, "Image_Metadata_Well_DAPI": well, "Replicate": replicate}
            row |= {"Image_Metadata_Compound": compound, "Image_Metadata_Concentration": f"{dose:.6f}"}
            yield row, style


def _bbbc021_csv(rows: list[dict]) -> bytes:
    """Quote as the publisher does: file names and texts, but no numbers."""
    bare = {"TableNumber", "ImageNumber", "Replicate", "Image_Metadata_Concentration"}
    lines = [[name if name in bare else f'"{name}"' for name in rows[0]]]
    lines += [[str(value) if name in bare else f'"{value}"' for name, value in row.items()] for row in rows]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def _write_plate(root: Path, plate: str, fields: list, shape: tuple[int, int], seed: int, layout: str) -> None:
    rng = np.random.default_rng([seed, 1, *plate.encode()])
    gain = rng.uniform(0.7, 1.0)  # the plate's own exposure: a batch effect
    stains = [stain for _, stain in BBBC021_CHANNELS.values()]
    pages = {}
    for row, style in fields:
        drawn = draw_field(rng, style, shape, stains)
        for column, (_, stain) in BBBC021_CHANNELS.items():
            # the camera has 12 bits and an offset; the file has 16
            pages[row[f"Image_FileName_{column}"]] = (drawn[stain] * gain * 3800 + 200).astype(np.uint16)
    if layout == "zips":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, page in pages.items():
                archive.writestr(zipfile.ZipInfo(f"{plate}/{name}"), tiff_bytes(page))
        write_atomic(root / f"BBBC021_v1_images_{plate}.zip", packed.getvalue())
        return
    folder = {"folders": root, "nested": root / f"BBBC021_v1_images_{plate}"}[layout] / plate
    for name, page in pages.items():
        write_atomic(folder / name, tiff_bytes(page))


def simulate_coos7(
    folder: str | PathLike[str],
    *,
    seed: int = 0,
    train: int = 40,
    test: int = 16,
    dtype: str = "float32",
    layout: str = "hdf5",
) -> Path:
    """Write a small COOS-7: five sets of single cells, protein and nucleus, whose tests shift more and more.

    Parameters
    ----------
    folder : path
        Where to.
    seed : int
        Of the pixels.
    train, test : int
        Cells of each of the 7 classes in `train`, and in each of the 4 tests.
    dtype : str
        Of the pixels; the published size says 4 bytes, not which.
    layout : {"hdf5", "tree"}
        `COOS7_v1.0_<set>.hdf5`, or the authors' TIFF tree `<set>/<label>/<x>_{protein,nucleus,mask}.tif`.

    Returns
    -------
    Path
        The folder.
    """
    root = Path(folder)
    for number, (name, (file, gain, background, noise, dates, microscopes)) in enumerate(
        track(COOS7_SETS.items(), "simulate coos7", len(COOS7_SETS), "sets")
    ):
        rng = np.random.default_rng([seed, 2, number])
        labels = rng.permutation(np.repeat(np.arange(len(COOS7_STYLES)), train if name == "train" else test))
        cells = np.stack([_cell(rng, COOS7_STYLES[label], ("protein", "nucleus")) for label in labels])
        cells = np.clip(cells * gain + background + rng.normal(0, noise, cells.shape), 0, 1)
        pixels = np.round(cells * 4000).astype(dtype)
        wells = rng.integers(0, 4, len(labels)) + 4 * labels  # a well holds one label
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
        write_atomic(root / f"COOS7_v1.0_{file}.hdf5", _hdf5_bytes(columns))
    return root


def simulate_cyclops(
    folder: str | PathLike[str], *, seed: int = 0, cells: int = 24, layout: str = "hdf5", numbered: bool = False
) -> Path:
    """Write a small CYCLoPs WT2: single yeast cells, GFP and RFP, 10 localisations and the two that are dropped.

    Parameters
    ----------
    folder : path
        Where to.
    seed : int
        Of the pixels.
    cells : int
        Cells a class, over the three sets together.
    layout : {"hdf5", "tree"}
        `datasets/Chong_{train,valid,test}_set.hdf5` as DeepLoc publishes them, or a tree of TIFFs,
        `<LABEL>/<LABEL>_<index>_{gfp,rfp}.tif`, whose index runs over test, valid and train in this order.
    numbered : bool
        Cut the HDF5 keys into numbered chunks (`data1`, `data2`, ...), as DeepLoc's reader allows.

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
        labels = rng.permutation(np.repeat(sorted(CYCLOPS_STYLES), max(1, round(cells * share))))
        drawn = np.stack([_cell(rng, CYCLOPS_STYLES[label], ("protein", "cell body")) for label in labels])
        if layout == "tree":
            for label, (gfp, rfp) in zip(labels, drawn * 0.4, strict=True):
                write_atomic(root / label / f"{label}_{index}_gfp.tif", tiff_bytes(gfp.astype(np.float32)))
                write_atomic(root / label / f"{label}_{index}_rfp.tif", tiff_bytes(rfp.astype(np.float32)))
                index += 1
            continue
        flat = np.round(drawn * 2000 + 33000).reshape(len(labels), -1)
        one_hot = (labels[:, None] == np.array(CYCLOPS_COLUMNS)[None]).astype(np.uint8)
        parts = np.array_split(np.arange(len(labels)), 2 if numbered else 1)
        columns = {}
        for part, rows in enumerate(parts, 1):
            columns[f"data{part}"] = flat[rows]
            columns[f"Index{part}"] = one_hot[rows]
            columns[f"Info{part}"] = np.stack([rows, flat[rows].mean(axis=1)], axis=1)
        attributes = {
            "Index1_columns": np.array(CYCLOPS_COLUMNS, dtype="S"),
            "data1_columns": "GFP channel 64x64, RFP channel 64x64 flattened",
            "Info1_columns": np.array(["ImageNumber", "Intensity"], dtype="S"),
        }
        write_atomic(root / "datasets" / f"Chong_{name}_set.hdf5", _hdf5_bytes(columns, attributes))
    return root


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
