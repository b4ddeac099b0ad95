"""Simulated layouts of the 18 sources of the Broad Bioimage Benchmark Collection."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..sources.bbbc_labels import KIDNEY
from .source import Info, Layout, table

PHASES = ("G1", "S", "G2", "Prophase", "Metaphase", "Anaphase", "Telophase")
GENES = (("Aurkb", "kinase;kinase_other"), ("CDK1", "kinase;cyclin;kinase"), ("EMPTY", "NONE"), ("Psmd3", ""))
# names with commas, brackets, quotes, a bar and a letter of Latin-1, all of which belong to the name
COMPOUNDS = ("DMSO", "(+)-Taxol", "1,10-Phenanthroline", 'Aconitine "base" ±', "Nutlin-3|racemic", "[Sar9]-SP")
PLATES_OF_022 = (20585, 20586, 20589)
CELLS = ("red blood cell", "red blood cell", "trophozoite", "ring", "schizont", "gametocyte", "leukocyte", "difficult")
SMEAR, CELL = (160, 200), 40


def _place(i: int, rows: int, columns: int, sites: int = 1) -> Info:
    """Return plate, well and site of field `i`; fields count site by site, well by well, plate by plate."""
    well, site = divmod(i, sites)
    plate, number = divmod(well, rows * columns)
    row, column = divmod(number, columns)
    row_name = "ABCDEFGHIJKLMNOP"[row]
    name = f"{row_name}{column + 1:02}"
    return {
        **{"plate": plate + 1, "number": number + 1, "row": row_name, "column": column + 1},
        **{"well": name, "low": name.lower(), "site": site + 1},
    }


def _place96(i: int, rng: np.random.Generator) -> Info:
    return _place(i, 8, 12)


def _synthetic(i: int, rng: np.random.Generator) -> Info:
    place = _place(i, 16, 24, sites=25)
    return {**place, "cells": place["column"] * 4, "blur": 1 + 3 * (place["number"] // 24) + place["plate"] - 1}


def _focus_counts(fields: Sequence[Info]) -> Mapping[str, bytes]:
    columns = {
        "Image_Count_Nuclei": "number",
        "Image_FileName_OrigDAPI": "name",
        "Image_Metadata_Site": "site",
        "Image_Metadata_Well": "low",
    }
    rows = [{**info, "name": f"mcf-z-stacks-03212011_{info['low']}_s{info['site']}_w1.tif"} for info in fields]
    return {"BBBC006_v1_counts.csv": table(rows, columns, tail=",")}


def _worm(i: int, rng: np.random.Generator) -> Info:
    place = _place(i, 4, 24)
    return {**place, "phenotype": "wildtype" if place["column"] <= 12 else "dead"}


def _fat_worm(i: int, rng: np.random.Generator) -> Info:
    return {"kind": ("WT", "fat")[i % 2], "number": i // 2 + 1, "phenotype": ("wildtype", "fat")[i % 2]}


def _doses(fields: Sequence[Info]) -> Mapping[str, bytes]:
    """Return the plate map of BBBC014: a line of description, then one dose per well, row by row."""
    doses = [f"10^-{7 + column / 2:g}" for _ in range(8) for column in range(12)]
    return {"BBBC014_v1_platemap_all.txt": "\r\n".join(["DESCRIPTION TNFa", *doses, ""]).encode()}


def _transfluor(i: int, rng: np.random.Generator) -> Info:
    return {"number": i // 4 + 50, "site": i % 4 + 1}


def _gene(i: int, rng: np.random.Generator) -> Info:
    place = _place(i, 16, 24, sites=4)
    gene, classes = GENES[place["number"] % len(GENES)]
    return {
        **place,
        "gene": gene,
        "classes": classes,
        "phenotype": "" if classes == "NONE" else classes.replace(";", "|"),
    }


def _gene_table(fields: Sequence[Info]) -> Mapping[str, bytes]:
    wells = {(info["plate"], info["well"]): info for info in fields}
    header = ["384well-index", "384-Plate#", "384-well", "gene name", "class", ""]
    rows = [[n, info["plate"], info["well"], info["gene"], info["classes"]] for n, info in enumerate(wells.values(), 1)]
    return {"BBBC017_v1_metadata.xls": workbook([header, *rows])}


def workbook(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a sheet in the oldest form of .xls (BIFF2); every number is a float, as in the real files."""
    records = [struct.pack("<4H", 0x0009, 4, 2, 0x10), struct.pack("<3H", 0x0042, 2, 1252)]
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            if isinstance(cell, str):
                text = cell.encode("cp1252")
                records.append(struct.pack("<4H3xB", 0x0004, 8 + len(text), y, x, len(text)) + text)
            else:
                records.append(struct.pack("<4H3xd", 0x0003, 15, y, x, float(cell)))
    return b"".join([*records, struct.pack("<2H", 0x000A, 0)])


def _painted(i: int, rng: np.random.Generator) -> Info:
    place = _place(i, 16, 24, sites=9)
    number, plate = place["number"], place["plate"] - 1
    names = {f"u{w}": rng.bytes(16).hex().upper() for w in range(1, 6)}
    plate = PLATES_OF_022[plate] if plate < len(PLATES_OF_022) else 20700 + plate
    return {**place, **names, "plate": plate, "compound": COMPOUNDS[number % len(COMPOUNDS)]}


def _painted_table(fields: Sequence[Info]) -> Mapping[str, bytes]:
    """Return the image table as it was published: with a ragged line, and cut off in the middle of the last line."""
    waves = {"ER": 2, "Hoechst": 1, "Mito": 5, "Ph_golgi": 4, "Syto": 3}
    columns = {"ImageNumber": "index", **{f"Image_FileName_Orig{name}": f"file{w}" for name, w in waves.items()}}
    columns |= {
        "Image_Metadata_PlateID": "plate",
        "Image_Metadata_CPD_WELL_POSITION": "low",
        "Image_Metadata_SOURCE_COMPOUND_NAME": "compound",
    }
    rows = [
        {**info, **{f"file{w}": f"IXMtest_{info['well']}_s{info['site']}_w{w}{info[f'u{w}']}.tif" for w in range(1, 6)}}
        for info in fields
    ]
    header, rest = table(rows, columns, encoding="latin-1").split(b"\n", 1)
    return {"BBBC022_v1_image.csv": header + b"\n,,too,few\n" + rest + b"99999,IXMtest_P24_s9_w2"}


def _rnai(i: int, rng: np.random.Generator) -> Info:
    place = _place(i, 16, 24, sites=9)
    return {**place, "plate": 37982 + place["plate"], "run": ("cellpaintingfollowup-reimage", "taoe005-u2os")[i % 2]}


def _bowl(i: int, rng: np.random.Generator) -> Info:
    return {"image": rng.bytes(32).hex(), "stage": ("stage1_train", "stage1_test", "stage2_test_final")[i % 3]}


def _smear(i: int, rng: np.random.Generator) -> Info:
    spots = rng.permutation((SMEAR[0] // CELL) * (SMEAR[1] // CELL))[:8]
    objects = []
    for n, spot in enumerate(spots.tolist()):
        y, x = divmod(spot, SMEAR[1] // CELL)
        low = {"r": y * CELL, "c": x * CELL}
        high = {"r": low["r"] + CELL - n % 3, "c": low["c"] + CELL}
        objects.append({"bounding_box": {"minimum": low, "maximum": high}, "category": CELLS[n]})
    return {"image": rng.bytes(16).hex(), "extension": ("png", "jpg")[i % 2], "objects": objects}


def _smear_tables(fields: Sequence[Info]) -> Mapping[str, bytes]:
    entries = [
        {
            "image": {
                "pathname": f"/images/{info['image']}.{info['extension']}",
                "shape": {"r": SMEAR[0], "c": SMEAR[1], "channels": 3},
            },
            "objects": info["objects"],
        }
        for info in fields
    ]
    cut = (len(entries) * 9 + 9) // 10
    parts = {"malaria/training.json": entries[:cut], "malaria/test.json": entries[cut:]}
    return {name: json.dumps(part).encode() for name, part in parts.items()}


def _montage(i: int, rng: np.random.Generator) -> Info:
    donor, kind, channel = i // 10, i // 2 % 5, i % 2
    cell = ("B cells", "T cells", "Eosinophils", "Monocytes", "Neutrophils")[kind]
    return {"donor": f"2014_{donor + 1:02}", "cell": cell, "channel": (1, 6)[channel]}


def _phase(i: int, rng: np.random.Generator) -> Info:
    return {"phenotype": PHASES[i % len(PHASES)], "image": i + 1}


def _kidney(i: int, rng: np.random.Generator) -> Info:
    folder = list(KIDNEY)[i % len(KIDNEY)]
    return {"folder": folder, "cell_type": KIDNEY[folder], "image": f"object_{i}_{i % 97}__{i % 89}__{i % 61}_1"}


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        source="bbbc005",
        files={
            "cell body": "BBBC005_v1_images/SIMCEPImages_{well}_C{cells}_F{blur}_s{site:02}_w1.TIF",
            "nucleus": "BBBC005_v1_images/SIMCEPImages_{well}_C{cells}_F{blur}_s{site:02}_w2.TIF",
        },
        field=_synthetic,
        extras=("synthetic_2_ground_truth/SIMCEPImages_{well}_C{cells}_F{blur}_s{site:02}_w1.TIF",),
    ),
    Layout(
        source="bbbc006",
        files={
            "nucleus": "BBBC006_v1_images_z_16/mcf-z-stacks-03212011_{low}_s{site}_w1{uuid}.tif",
            "actin": "BBBC006_v1_images_z_16/mcf-z-stacks-03212011_{low}_s{site}_w2{uuid}.tif",
        },
        field=lambda i, rng: _place(i, 16, 24, sites=2),
        tables=_focus_counts,
        # a plane out of focus, and a second file of the same channel
        extras=(
            "BBBC006_v1_images_z_00/mcf-z-stacks-03212011_{low}_s{site}_w1{uuid}.tif",
            "BBBC006_v1_images_z_16/mcf-z-stacks-03212011_{low}_s{site}_w2ffffffff-ffff-4fff-bfff-ffffffffffff.tif",
        ),
        depth=16,
    ),
    Layout(
        source="bbbc010",
        files={
            "intestine": "BBBC010_v2_images/1649_1109_0003_Amp5-1_B_20070424_{well}_w1_{uuid}.tif",
            "brightfield": "BBBC010_v2_images/1649_1109_0003_Amp5-1_B_20070424_{well}_w2_{uuid}.tif",
        },
        field=_worm,
        depth=16,
    ),
    Layout(source="bbbc011", files={"brightfield": "BBBC011_v1_images/{kind}_{number:02}.png"}, field=_fat_worm),
    Layout(
        source="bbbc012",
        files={
            "brightfield": "BBBC012_v1_images/101210OranePlt{plate}_{well}_w1_[{uuid}].tif",
            "intestine": "BBBC012_v1_images/101210OranePlt{plate}_{well}_w2_[{uuid}].tif",
            "pharynx": "BBBC012_v1_images/101210OranePlt{plate}_{well}_w3_[{uuid}].tif",
        },
        field=_place96,
        extras=("BBBC012_v1_images/101210OranePlt{plate}_{well}_w1_thumb.tif",),
        depth=16,
    ),
    Layout(
        source="bbbc013",
        files={
            "fkhr-gfp": "BBBC013_v1_images_bmp/Channel1-{number:02}-{row}-{column:02}.BMP",
            "nucleus": "BBBC013_v1_images_bmp/Channel2-{number:02}-{row}-{column:02}.BMP",
        },
        field=_place96,
    ),
    Layout(
        source="bbbc014",
        files={
            "nfkb": "BBBC014_v1_images/Channel 1-{number:02}-{row}-{column:02}-00.Bmp",
            "nucleus": "BBBC014_v1_images/Channel 2-{number:02}-{row}-{column:02}-00.Bmp",
        },
        field=_place96,
        tables=_doses,
    ),
    Layout(
        source="bbbc015",
        files={
            "nucleus": "BBBC015_v1_images/{number}_{site}_0.JPG",
            "arrestin-gfp": "BBBC015_v1_images/{number}_{site}_1.JPG",
        },
        field=_transfluor,
    ),
    Layout(
        source="bbbc017",
        files={
            "nucleus": "BBBC017_v1_images_NIRHTa-{plate:03}/AS_09125_040701150004_{well}f{site:02}d0.DIB",
            "phospho-h3": "BBBC017_v1_images_NIRHTa-{plate:03}/AS_09125_040701150004_{well}f{site:02}d1.DIB",
            "actin": "BBBC017_v1_images_NIRHTa-{plate:03}/AS_09125_040701150004_{well}f{site:02}d2.DIB",
        },
        field=_gene,
        tables=_gene_table,
    ),
    Layout(
        source="bbbc020",
        files={
            "cell surface": "BBBC020_v1_images/jw-1h {number}/jw-1h {number}_c1.TIF",
            "nucleus": "BBBC020_v1_images/jw-1h {number}/jw-1h {number}_c5.TIF",
        },
        field=_place96,
        extras=("BBBC020_v1_images/jw-1h {number}/jw-1h {number}_(c1+c5).TIF",),
        depth="rgb",
    ),
    Layout(
        source="bbbc022",
        files={
            stain: f"BBBC022_v1_images_{{plate}}w{w}/IXMtest_{{well}}_s{{site}}_w{w}{{u{w}}}.tif"
            for w, stain in enumerate(("nucleus", "er", "nucleoli", "actin", "mitochondria"), start=1)
        },
        field=_painted,
        tables=_painted_table,
        depth=16,
    ),
    Layout(
        source="bbbc025",
        files={
            stain: f"{{plate}}_{folder}/{{run}}_{{low}}_s{{site}}_w{w}{{uuid}}.tif"
            for stain, folder, w in (
                ("er", "ERSyto", 2),
                ("nucleoli", "ERSytoBleed", 3),
                ("nucleus", "Hoechst", 1),
                ("mitochondria", "Mito", 5),
                ("actin", "Ph_golgi", 4),
            )
        },
        field=_rnai,
        depth=16,
    ),
    Layout(
        source="bbbc026",
        files={"nucleus": "BBBC026_v1_images/ADSASS092408-GHAD2-D6-20x_{well}_s{site}_w1{uuid}.png"},
        field=lambda i, rng: _place(i, 16, 24, sites=9),
    ),
    Layout(
        source="bbbc038",
        files={"nucleus": "{stage}/{image}/images/{image}.png"},
        field=_bowl,
        extras=("{stage}/{image}/masks/{uuid}.png",),
        depth="rgb",
    ),
    Layout(
        source="bbbc041",
        files={"brightfield": "malaria/images/{image}.{extension}"},
        field=_smear,
        tables=_smear_tables,
        shape=SMEAR,
        depth="rgb",
    ),
    Layout(
        source="bbbc045",
        files={"": "Stained_Montages/{donor}/{cell}/gated/montage_Ch{channel}.tif"},
        field=_montage,
        shape=(740, 850),  # the published code crops to 715 rows and 825 columns
    ),
    Layout(
        source="bbbc048",
        files={"nucleus": "CellCycle/{phenotype}/{image}_merged.jpg"},
        field=_phase,
        shape=(66, 66),
        depth="rgb",
    ),
    Layout(source="bbbc051", files={"nucleus": "{folder}/All_3D/{image}.tif"}, field=_kidney, shape=(32, 32), planes=7),
)
