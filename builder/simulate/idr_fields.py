"""Facts of simulated fields of the 13 studies of the Image Data Resource: plate, well, folder and treatment."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .source import Info

WELLS_384 = (16, 24)
WELLS_96 = (8, 12)

# Publishers' spellings of treatments; awkward ones as in real tables: commas, brackets, signs, Greek letters
COMPOUNDS = ("DMSO", "PD 98,059", "Amuvatinib (MP-470)", "(+-)-7-Hydroxy-DPAT hydrobromide", "Taxol", "17α-Estradiol")
GENES = ("Chr2", "EZH2", "SUZ12", "PIK3CA", "PRDX1", "BCL2L2")
LINES_0017 = ("104-001", "par007", "02-030", "104-009")
IPSC = ("HPSI0813i-ffdm_3", "HPSI0613i-giuo_5", "HPSI0913i-gedo_33", "A1ATD-iPSC patient 1")
PROTEINS = (("VAMP5", "VAMP5"), ("RAB5", "Rab5"), ("CALR", "Calr-KDEL"), ("PTDSS1", "PTDSS1"))
MARKERS = (("ACTB", "RAB5A"), ("TP53BP1", "CLTA"), ("CANX", "COX4I1"))
MECHANISMS = ("", "Bromodomain inhibitor", "HDAC inhibitor", "Cyclooxygenase inhibitor", "Actin inhibitor", "")


def _well(i: int, shape: tuple[int, int], fields: int = 1) -> Info:
    """Return plate number (from 0), well and field (from 1) of field `i`; wells count row by row, plate by plate."""
    place, field = divmod(i, fields)
    plate, position = divmod(place, shape[0] * shape[1])
    row, column = divmod(position, shape[1])
    letter = chr(65 + row)
    well = {"row": row + 1, "column": column + 1, "letter": letter, "well": f"{letter}{column + 1}"}
    return {
        **well,
        "padded": f"{letter}{column + 1:02}",
        "number": position + 1,
        "field": field + 1,
        "plate_number": plate,
    }


def _idr0003(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=3)
    conditions = {
        "DTT": "dithiothreitol",
        "H2O2": "hydrogen peroxide",
        "SD1": "synthetic medium with dextrose",
        "starvation": "starvation",
    }
    condition = list(conditions)[i // 3 % 4]
    folder = f"201301120/Images/{condition}/p{place['plate_number'] + 1}"
    return {
        **place,
        "plate": f"{condition} p{place['plate_number'] + 1}",
        "folder": folder,
        "on_server": f"idr0003-breker-plasticity/{folder}",
        "phenotype": conditions[condition],
    }


def _idr0009(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384)
    plate = f"03{5 + place['plate_number']:02}-01--2007-04-03"
    slow = i % 3 == 0
    return {
        **place,
        "plate": plate,
        "on_server": f"idr0009-simpson-secretion/20150507-VSVG/VSVG/{plate}",
        "gene": ("GOSR1", "RAB1A", "", "INCENP")[i % 4],
        "quality": "fail" if i % 16 == 5 else "pass",
        "phenotype": "strong inhibition of secretion" if slow else "",
    }


def _idr0016(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=6)
    low = place["padded"].lower()
    return {**place, "low": low, "plate": 24277 + place["plate_number"], "compound": COMPOUNDS[i // 6 % len(COMPOUNDS)]}


def _idr0017(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=4)
    n = i // 4 % 4
    genotype = ("PTEN-/-", "PARENTAL007", "BAX-/-", "CTNNB1_mt-/wt+")[n]
    folder = f"2011-11-17_X-Man_LOPAC_X0{n + 1}_LP_S01_{place['plate_number'] + 1}"
    acquired = folder.replace("_", " ")
    return {
        **place,
        "plate": f"{genotype}_LOPAC_Plate_1_Replicate_{place['plate_number'] + 1}",
        "folder": folder,
        "on_server": f"idr0017-breinig-drugscreen/20151124/14_X-Man_10x/source/{folder}/{acquired}.xdce",
        "cell_type": LINES_0017[n],
        "compound": COMPOUNDS[i // 16 % len(COMPOUNDS)],
    }


def _idr0021(i: int, rng: np.random.Generator) -> Info:
    target = ("CEP152", "TUBG1-N", "CEP120/20111106")[i % 3]
    name = f"{target.split('/')[0]}_gtub_{i // 3:03}_SIR_PRJ.dv"  # the same name may be in two folders
    return {
        "dataset": target,
        "image": name,
        "folder": target if "/" in target else f"{target}/{target}_gTub_20111105",
        "phenotype": "interphase",
        "listed": f"525:{target.split('/')[0]}; 615:TUBG1-N",
    }


def _idr0037(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_96, fields=9)
    number = place["plate_number"] + 1
    return {
        **place,
        "plate": f"experiment_{number}",
        "operetta": f"2014042{number}_HipSci + BJ 3000c/well_OC",
        "folder": f"images/2014042{number}_HipSci + BJ 3000c_well_OC__2014-04-24T17_01_22-Measurement1/Images",
        "cell_type": IPSC[i // 9 % len(IPSC)],
    }


def _idr0041(i: int, rng: np.random.Generator) -> Info:
    cell, time = divmod(i, 40)
    gene = ("KIF11", "MIS12", "AURKB")[cell % 3]
    folder = f"140411_{gene}_MitoSys1/cell{cell + 1:04}_R{cell + 28:04}"
    return {
        "gene": gene,
        "plate": f"140411_{gene}_MitoSys1_raw",
        "folder": folder,
        "listed": f"mitotic_cell_atlas/{folder}/rawtif",
        "image": f"TR1_W0001_P0002_T{time + 1:04}",
        "kind": "original images",
    }


def _idr0067(i: int, rng: np.random.Generator) -> Info:
    figure = f"Figure {i % 4 + 1}B"
    protein = ("Hsp104", "Nup170", "Nsr1", "Don1")[i % 4]
    return {
        "dataset": figure,
        "folder": f"Figure {i % 4 + 1}/{i % 4 + 1}B - {protein}-GFP Htb1-mCherry",
        "listed": f"/Figure {i % 4 + 1}/{i % 4 + 1}B - {protein}-GFP Htb1-mCherry",
        "stem": f"{protein}Htb1meiosis_{i // 4:02}_R3D",
        "protein": protein,
        "imaging": "Live cell imaging",
    }


def _idr0072(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=2)
    human = i // 2 % 2 == 0
    gene, short = PROTEINS[i // 4 % len(PROTEINS)]
    folder = "WS_MCF10A-landmark_library_20180506_Meas_01" if human else "VAMP_DEG_Bin1_Pl74_20140603/Meas_01"
    return {
        **place,
        # the folder does not have the name of the plate; only plates.tsv connects them
        "plate": "WS_MCF10A_Landmark_20180506/Meas_01" if human else "VAMP_DEG_BIN_Pl74_20140603/Meas_01",
        "folder": folder,
        "on_server": f"idr0072-schormann-subcellref/20191127-disk/UpLoadtoIDR/Plates/{folder}",
        "organism": "Homo sapiens" if human else "Mus musculus",
        "cell_type": "MCF 10A" if human else "NMuMG",
        "gene": gene,
        "protein": short,
    }


def _idr0080(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=9)
    n = i // 9 % 3
    gene = GENES[i // 27 % len(GENES)]
    plate = f"SQ0001461{3 * place['plate_number'] + n}"
    folder = f"{plate}__2016-06-16T0{n}_38_35-Measurement{n + 1}"
    return {
        **place,
        "plate": plate,
        "folder": folder,
        "on_server": f"idr0080-way-perturbation/20200316-s3/CRISPR_PILOT_B1/images/{folder}",
        "cell_type": ("A549", "ES2", "HCC44")[n],
        "gene": gene,
    }


def _idr0081(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384)
    plate = f"BSF01829{2 + place['plate_number']}-1A"
    return {
        **place,
        "plate": plate,
        "on_server": f"idr0081-georgi-adenovirus/20200324-owncloud/3-Screen/Data_UZH/Screen/{plate}/{plate}.HTD",
        # its table is in Latin-1, which has no alpha
        "compound": ("Dimethyl sulfoxide", *COMPOUNDS[1:])[i % len(COMPOUNDS)].replace("α", "ß"),
    }


def _idr0088(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384, fields=3)
    n = place["plate_number"] % 3
    line = ("HepG2", "WPMY-1", "A549")[i // 3 % 3]
    green, red = MARKERS[i // 9 % 3]
    plate = 110000251230 + 1000 * place["plate_number"] + 100 * n + 10 * (i // 3 % 3) + i // 9 % 3
    cells, time = f"{line.replace('-', '')}{green.title()}{red.title()}", 150825 + place["plate_number"]
    return {
        **place,
        "plate": plate,
        "folder": f"p170915PPS073/PpsL05{cells}_PPS073_2017091{n}_{time}",
        "cell_type": line,
        "compound": COMPOUNDS[i // 27 % len(COMPOUNDS)],
        "phenotype": MECHANISMS[i // 27 % len(MECHANISMS)],
        "listed": f"Ch1 (blue): Nuclei/Cytoplasm, Ch2 (green): {green}, Ch3 (red): {red}",
        "green": green.lower(),
        "red": red.lower(),
    }


def _idr0093(i: int, rng: np.random.Generator) -> Info:
    place = _well(i, WELLS_384)
    plate = f"{2 + place['plate_number']:03}"
    return {
        **place,
        "plate": plate,
        "on_server": f"idr0093-mueller-perturbation/20200901-rsync/01_batch/{plate}/{plate}.wpi",
        "sirna": ("s10427", "s21749", "s7902", "")[i % 4],
        "sirna_2": ("s10428", "", "s7903", "")[i % 4],
    }


FIELDS: Mapping[str, Callable[[int, np.random.Generator], Info]] = {
    "idr0003": _idr0003,
    "idr0009": _idr0009,
    "idr0016": _idr0016,
    "idr0017": _idr0017,
    "idr0021": _idr0021,
    "idr0037": _idr0037,
    "idr0041": _idr0041,
    "idr0067": _idr0067,
    "idr0072": _idr0072,
    "idr0080": _idr0080,
    "idr0081": _idr0081,
    "idr0088": _idr0088,
    "idr0093": _idr0093,
}
