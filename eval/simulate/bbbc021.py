"""A small simulated BBBC021: plates of three channels, in the layout of the publisher."""

from __future__ import annotations

import io
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ...builder.progress import track
from ...builder.simulate.cells import Style, draw_field, style_of
from ...builder.storage import write_atomic
from .files import tiff_bytes

PLATES = {
    "Week1_150607_": ("Week1_22123", "Week1_22141"),
    "": ("Week4_27481", "Week4_27521"),
    "Week7_7__": ("Week7_34641", "Week7_34661"),
    "Week8_4sites_": ("Week8_38203", "Week8_38221"),
}
"""Two plates of each of four weeks, by the four prefixes of file names in the real set."""

DMSO_WELLS = ("B02", "E11")  # the real plates have six
TAXOL_WELLS = ("C11", "F02")  # taxol at 0.3 µM is the positive control of every plate
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
        ("cytochalasin D", 0.03, ""),  # without a mechanism of action: not in the MOA table
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
        ("mevinolin/lovastatin", 5.0, "Cholesterol-lowering"),  # in one week only: no candidates in NSCB
    ),
}
"""Real treatments: compound, concentration in µM, mechanism. Each is in one week, as in the real set."""

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
CHANNELS = {
    "DAPI": ("1", "nucleus"),
    "Tubulin": ("2", "tubulin"),
    "Actin": ("4", "actin"),
}  # digit, stain; there is no w3


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
        Folder to write to.
    seed : int
        Random seed of pixels and UUIDs.
    shape : (height, width)
        Shape of an image in pixels; the real ones are (1024, 1280).
    sites : int
        Fields per well; the real set has 4.
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
            fields = list(_fields(prefix, plate, replicate, sites, seed))
            rows += [row for row, _ in fields]
            files_of[plate] = fields
    for number, row in enumerate(rows, 1):
        row["ImageNumber"] = number
    write_atomic(root / "BBBC021_v1_image.csv", _csv(rows))
    moa = sorted({(c, dose, m) for week in TREATMENTS.values() for c, dose, m in week if m})
    moa += [("taxol", 0.3, "Microtubule stabilizers"), ("DMSO", 0.0, "DMSO")]
    lines = ['"compound",concentration,"moa"', *(f'"{c}",{dose:.6f},"{m}"' for c, dose, m in moa)]
    write_atomic(root / "BBBC021_v1_moa.csv", ("\n".join(lines) + "\n").encode())
    for plate, fields in track(files_of.items(), "simulate bbbc021", len(files_of), "plates"):
        _write_plate(root, plate, fields, shape, seed, layout)
    return root


def _fields(prefix: str, plate: str, replicate: int, sites: int, seed: int) -> Iterator[tuple[dict[str, Any], Style]]:
    week = plate.split("_")[0]
    wells = [(well, ("DMSO", 0.0, "DMSO")) for well in DMSO_WELLS]
    wells += [(well, ("taxol", 0.3, "Microtubule stabilizers")) for well in TAXOL_WELLS]
    wells += list(zip(TREATMENT_WELLS, TREATMENTS[week], strict=False))
    names = np.random.default_rng([seed, *plate.encode()])
    for well, (compound, dose, mechanism) in wells:
        # compounds with the same mechanism differ slightly
        style = style_of(f"{compound}{dose}", MECHANISM_STYLES[mechanism], 0.08)
        for site in range(1, sites + 1):
            row: dict[str, str | int] = {"TableNumber": int(week[4:]) % 10, "ImageNumber": 0}
            for stain, (digit, _) in CHANNELS.items():
                unique = str(uuid.UUID(bytes=names.bytes(16), version=4)).upper()
                row[f"Image_FileName_{stain}"] = f"{prefix}{well}_s{site}_w{digit}{unique}.tif"
                row[f"Image_PathName_{stain}"] = f"{week}/{plate}"
            row |= {"Image_Metadata_Plate_DAPI": plate, "Image_Metadata_Well_DAPI": well, "Replicate": replicate}
            row |= {"Image_Metadata_Compound": compound, "Image_Metadata_Concentration": f"{dose:.6f}"}
            yield row, style


def _csv(rows: list[dict[str, Any]]) -> bytes:
    """Return the table as CSV, quoted as by the publisher: text but not numbers."""
    bare = {"TableNumber", "ImageNumber", "Replicate", "Image_Metadata_Concentration"}
    lines = [[name if name in bare else f'"{name}"' for name in rows[0]]]
    lines += [[str(value) if name in bare else f'"{value}"' for name, value in row.items()] for row in rows]
    return "".join(",".join(line) + "\n" for line in lines).encode()


def _write_plate(root: Path, plate: str, fields: list[Any], shape: tuple[int, int], seed: int, layout: str) -> None:
    rng = np.random.default_rng([seed, 1, *plate.encode()])
    gain = rng.uniform(0.7, 1.0)  # exposure of the plate: a batch effect
    stains = [stain for _, stain in CHANNELS.values()]
    pages = {}
    for row, style in fields:
        field = draw_field(rng, style, shape, stains)
        for column, (_, stain) in CHANNELS.items():
            # a 12-bit camera with an offset, stored in 16 bits
            pages[row[f"Image_FileName_{column}"]] = (field[stain] * gain * 3800 + 200).astype(np.uint16)
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
