"""The 13 sources of the Image Data Resource.

Channels and stains are those of the annotations' `Channels` column and of the studies' own text. Where neither assigns
files to stains, a comment marks the record as "unverified".
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from .annotation import annotated
from .folder import Folder
from .idr_addresses import ANNOTATIONS
from .record import BRIGHTFIELD, IDR, Labels, Source
from .study import Study

# File names of the instruments. `folder` gives the plate; the other groups identify the field.
HARMONY = (  # r01c01f01p01-ch1sk1fk1fl1.tiff
    r"^(?P<folder>.*/)?r(?P<row>\d\d)c(?P<column>\d\d)f(?P<field>\d+)p(?P<plane>\d+)-ch(?P<channel>\d+)"
    r"sk(?P<time>\d+)fk(?P<state>\d+)fl(?P<flim>\d+)$"
)
SCANR = (  # --W00001--P00001--Z00000--T00000--nucleus-dapi.tif
    r"^(?P<folder>.*/)?(?P<prefix>[^/]*)--W(?P<number>\d+)--P(?P<field>\d+)--Z(?P<plane>\d+)--T(?P<time>\d+)"
    r"--(?P<channel>[^/]+)$"
)
CELLVOYAGER = (  # 110000251230_B02_T0001F001L01A01Z01C01.tif
    r"^(?P<folder>.*/)?(?P<prefix>[^/]*)_(?P<well>[A-Z]+\d\d)_T(?P<time>\d+)F(?P<field>\d+)L(?P<line>\d+)A\d+"
    r"Z(?P<plane>\d+)C0*(?P<channel>\d+)$"
)
INCELL = (  # A - 01(fld 1 wv DAPI - DAPI).tif
    r"^(?P<folder>.*/)?(?P<well>[A-Z]+ - \d+)\(fld (?P<field>\d+) wv (?P<channel>[^()/]+)\)$"
)
METAXPRESS = (  # 24277-Mito/cdp2bioactives_a01_s1_w52CA7BDF3-1425-4AE6-8E57-9C004D6F7FF2.tif
    r"^(?P<folder>(?:.*/)?[^/]*)-(?P<channel>ersytobleed|ersyto|hoechst|mito|ph_golgi)/(?P<prefix>[^/]*)_"
    r"(?P<well>[A-Z]+\d\d)_s(?P<field>\d+)_w\d[^/]*$"
)
EITHER_SITE = (  # BSF018292-1A_A01_w1.TIF (MetaXpress), or A - 01(fld 1 wv DAPI - DAPI).tif (IN Cell)
    r"^(?P<folder>.*/)?(?P<prefix>[^/]*_)?(?P<well>[A-Z]+(?: - )?\d{1,2})(?P<field>_s\d+|\(fld \d+)?"
    r"[_ ]?wv? ?(?P<channel>[12]|[^()/]* - [^()/]*)\)?$"
)
OPERA = (  # 003005001.flex, or VAMP_DEG_20131008__Meas_01__A05.flex
    r"^(?P<folder>.*/)?(?:(?P<row>\d{3})(?P<column>\d{3})(?P<field>\d{3})"
    r"|(?P<plate>[^/]*?)__(?P<run>[^/]*?)__(?P<well>[A-Z]+\d{1,2})(?P<rest>[^0-9/][^/]*)?)$"
)

BY_WELL = {"plate": "annotation", "well": "file names"}  # of screens
CONTROLS = {"control": "annotation"}  # of studies whose column `Control Type` names some
CELL_LINE = {"cell_type": "Characteristics [Cell Line]"}


def _idr(
    number: int, name: str, show: str, licence: str, citation: str, study: Study | None = None, **facts: Any
) -> Source:
    """Return a record with the facts that all studies share. Licences are from `idrNNNN-study.txt` of each study."""
    facts = {"microscopy": "fluorescence", "licence_verified": True, "tables": {}, **facts}
    if study is None or study.by_well:
        facts["tables"] = {**BY_WELL, **facts["tables"]}
    if study is not None:
        facts.setdefault("labels", annotated(study))
    return Source(
        dir_name=f"idr{number:04}",
        database=IDR,
        name=name,
        link=f"https://idr.openmicroscopy.org/webclient/?show={show}",
        licence=licence,
        citation=citation,
        downloads=(
            f"idr{number:04} by Aspera or FTP, https://idr.openmicroscopy.org/about/download.html",
            *ANNOTATIONS.get(number, ()),
        ),
        **facts,
    )


def _yeast_brightfield(study: Study) -> Labels:
    """Label idr0003; its images in transmitted light show the cell body (as published)."""
    add_labels = annotated(study)

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        rows = add_labels(rows, folder)
        visible = rows["stains"].where(rows["stains"] != BRIGHTFIELD, "cell body")
        return rows.assign(cell_visible=visible)

    return labels


def _one_page_a_channel(study: Study) -> Labels:
    """Label idr0021, and give each image one page per channel in its line (525:CEP152; 615:TUBG1).

    The few `..._615_525_xx.tif` are already colour images: red, green, and an empty blue.
    """
    add_labels = annotated(study)

    def labels(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
        rows = add_labels(rows, folder)
        if "listed" not in rows:
            return rows
        number = rows["listed"].str.count(";") + 1
        number = number.where((rows["listed"] != "") & rows["file"].str.endswith(".dv"), 0)
        places, channels, stains = rows["channels"], rows["channels"], rows["stains"]
        for n in range(1, int(number.max() if len(rows) else 0) + 1):
            page = rows["channels"] + f"#page={n - 1}"
            places = page if n == 1 else places + "|" + page
            channels = channels.where(number != n, places)
            stains = stains.where(number != n, "|".join(["centrosome"] * n))
        return rows.assign(channels=channels, stains=stains).drop(columns="listed")

    return labels


def _atlas_key(path: str) -> str:
    """Return the cell and time point of an image of the mitotic atlas, whose releases use different file names."""
    cell, time = re.search(r"cell\d+_R\d+", path, re.I), re.search(r"T\d+(?=(?:\.\w+)?$)", path, re.I)
    return f"{cell[0]}_{time[0]}".casefold() if cell and time else path.casefold()


RECORDS: tuple[Source, ...] = (
    _idr(
        3,
        "Plasticity",
        "screen-51",
        "CC BY-NC-SA 3.0",
        "Breker M, Gymrek M, Schuldiner M (2013). A novel single-cell screening platform reveals proteome plasticity "
        "during yeast stress responses. J Cell Biol 200:839. doi:10.1083/jcb.201301120",
        tried="real metadata",
        images=195_840,
        formats=("tif",),
        organism="yeast",
        cell_type="y6545",
        pattern=r"^(?P<folder>.*/)?(?P<prefix>[^/]*)--W(?P<number>\d+)--P(?P<field>\d+)--Z(?P<plane>\d+)--T(?P<time>\d+)"
        r"--(?P<channel>gfp|cherry|transmit)[^/]*$",
        stains={"cherry": "cytoplasm", "gfp": "protein", "transmit": BRIGHTFIELD},
        apart=("transmit",),
        labels=_yeast_brightfield(
            Study(  # Gene Symbol names the tagged protein: no gene is targeted
                labels={
                    "phenotype": (
                        "Experimental Condition [environmental stress]",
                        "Experimental Condition",
                        "Experiment Condition",
                    )
                }
            )
        ),
    ),
    _idr(
        9,
        "Early Secretory Pathway",
        "screen-803",
        "CC BY 4.0",
        "Simpson JC et al. (2012). Genome-wide RNAi screening identifies human proteins with a regulatory function in "
        "the early secretory pathway. Nat Cell Biol 14:764. doi:10.1038/ncb2510",
        Study(
            labels={"gene": ("Gene Symbol (Ensembl 81)", "Gene Symbol")},
            optional={"phenotype": "Phenotype 1", "phenotype.2": "Phenotype 2", "phenotype.3": "Phenotype 3"},
            refuse=("Quality Control", r"(?i)^\s*fail", "failed quality control"),
        ),
        tables=CONTROLS,
        tried="real metadata",
        images=362_625,
        formats=("tif",),
        organism="human",
        cell_type="hela",
        pattern=SCANR,
        stains={"nucleus-dapi": "nucleus", "pm-647": "cell membrane", "vsvg-cfp": "protein"},
    ),
    _idr(
        16,
        "Compound Profiling",
        "screen-1251",
        "CC0 1.0",
        "Wawer MJ et al. (2014). Toward performance-diverse small-molecule libraries for cell-based phenotypic "
        "screening using multiplexed high-dimensional profiling. PNAS 111:10911. doi:10.1073/pnas.1410933111",
        Study(labels={"compound": "Compound Name"}),
        tables=CONTROLS,
        magnification=20,  # these numbers are from the protocols in `idrNNNN-study.txt`
        tried="real metadata",
        images=951_552,
        formats=("tif",),
        organism="human",
        cell_type="u2os",
        pattern=METAXPRESS,
        stains={
            "ersyto": "er",
            "ersytobleed": "nucleoli/cytoplasmic rna",
            "hoechst": "nucleus",
            "mito": "mitochondria",
            "ph_golgi": "golgi/cell membrane",
        },
    ),
    _idr(
        17,
        "Chemical-Genetic Interaction Map",
        "screen-1151",
        "CC BY-NC-ND 4.0",
        "Breinig M, Klein FA, Huber W, Boutros M (2015). A chemical-genetic interaction map of small molecules using "
        "high-throughput imaging in cancer cells. Mol Syst Biol 11:846. doi:10.15252/msb.20156400",
        Study(labels={**CELL_LINE, "compound": "Compound Name"}),
        tables=CONTROLS,
        magnification=10,
        tried="real metadata",
        images=147_456,
        formats=("tif",),
        organism="human",
        pattern=INCELL,
        stains={"dapi - dapi": "nucleus", "cy3 - cy3": "actin"},
    ),
    _idr(
        21,
        "Pericentriolar Material",
        "project-51",
        "CC BY 4.0",
        "Lawo S, Hasegan M, Gupta GD, Pelletier L (2012). Subdiffraction imaging of centrosomes reveals higher-order "
        "organizational features of pericentriolar material. Nat Cell Biol 14:1148. doi:10.1038/ncb2591",
        tables={"plate": "", "well": ""},  # coverslips
        magnification=100,
        tried="real metadata",
        images=414,
        formats=("dv", "tif"),
        organism="human",
        cell_type="hela",
        cell_visible="centrosome",
        microscopy="super resolution",
        pattern=r"^(?P<image>.*)$",
        stains={"": "centrosome"},
        labels=_one_page_a_channel(
            Study(
                plate="Dataset Name",
                image="Image Name",
                labels={"phenotype": "Characteristics [Cell Cycle Phase]"},
                optional={"listed": "Channels"},
            )
        ),
    ),
    _idr(
        37,
        "Variation in Human iPSC lines",
        "screen-2051",
        "CC BY 4.0",
        "Vigilante A et al. (2019). Identifying extrinsic versus intrinsic drivers of variation in cell behavior in "
        "human iPSC lines from healthy donors. Cell Rep 26:2078. doi:10.1016/j.celrep.2019.01.094",
        Study(labels=CELL_LINE, folders=("Comment [Operetta Plate Name]",)),
        tried="real metadata",
        images=29_727,
        formats=("tiff",),
        organism="human",
        pattern=HARMONY,
        stains={"1": "nucleus", "2": "proliferation", "3": "cell membrane"},
        skip=((r"(?i)-ch4sk[^/]*$", "brightfield not used"),),
    ),
    _idr(
        41,
        "Mitotic Atlas",
        "project-404",
        "CC BY 4.0",
        "Cai Y et al. (2018). Experimental and computational framework for a dynamic protein atlas of human cell "
        "division. Nature 561:411. doi:10.1038/s41586-018-0518-z",
        Study(
            plate="Dataset Name",
            image="Image Name",
            folders=("Comment [Image File Path]",),
            labels={"gene": "Comment [Gene Symbol]"},
            only=("Comment [Image File Type]", r"(?i)^(?:original images)?$"),
            markers={"protein": ("Comment [Gene Symbol]", r"^(.+)$")},
            # 31 planes of 3 channels, channels fastest: the middle plane of each (order unverified)
            pages={45: "protein", 46: "nucleus", 47: "cell body"},
            key=_atlas_key,
        ),
        magnification=40,
        tried="real metadata",
        images=20_160,
        formats=("tif",),
        organism="human",
        cell_type="hela",
        microscopy="confocal",
        pattern=r"^(?P<experiment>.*/)?(?P<cell>cell\d+_R\d+)/rawtif/(?P<name>[^/]*)_(?P<time>T\d+)$",
        stains={"": "protein"},
        skip=((r"(?i)(^|/)masktif/", "mask"), (r"(?i)(^|/)conctif/", "concentration map")),
        group=("experiment", "cell"),  # the movie of one dividing cell
    ),
    _idr(
        67,
        "Yeast Meiosis",
        "project-904",
        "CC BY 4.0",
        "King GA et al. (2019). Meiotic cellular rejuvenation is coupled to nuclear remodeling in budding yeast. "
        "eLife 8:e47156. doi:10.7554/eLife.47156",
        Study(
            plate="Dataset Name",
            image="Image Name",
            folders=("Comment [Image File Path]",),
            labels={},
            markers={"protein": ("Comment [Protein] 1", r"^(.+)$")},
            refuse=("Experimental Condition [Imaging Type]", r"(?i)electron", "electron microscopy"),
        ),
        tried="simulated",
        images=419,
        formats=("dv", "tif"),
        organism="yeast",
        pattern=r"^(?P<image>.*?)(?P<channel>_ref)?$",
        stains={"": "protein", "_ref": BRIGHTFIELD},
        apart=("_ref",),
        page=0,  # a stack of time, depth and channel: in every order of axes the first page shows protein 1
    ),
    _idr(
        72,
        "Subcellular Localization",
        "screen-2952",
        "CC BY 4.0",
        "Schormann W, Hariharan S, Andrews DW (2020). A reference library for assigning protein subcellular "
        "localizations by image-based machine learning. J Cell Biol 219:e201904090. doi:10.1083/jcb.201904090",
        Study(
            labels={
                "organism": "Characteristics [Organism]",
                **CELL_LINE,
                "gene": "Comment [Gene Symbol]",
            },
            markers={"protein": ("Comment [Protein Name Abbreviation]", r"^(.+)$")},
            pages={1: "nucleus", 0: "protein"},  # EGFP, then DRAQ5, as the Channels column lists them
        ),
        magnification=40,
        tried="real metadata",
        images=6_142,
        formats=("flex",),
        pattern=OPERA,
        stains={"": "protein"},
        skip=((r"(?i)ws_nmumg_", "left out by the authors"),),
    ),
    _idr(
        80,
        "Perturbation",
        "screen-2701",
        "CC0 1.0",
        "Way GP et al. (2021). Predicting cell health phenotypes using image-based morphology profiling. "
        "Mol Biol Cell 32:995. doi:10.1091/mbc.E20-12-0784",
        Study(labels={**CELL_LINE, "gene": "Gene Symbol"}),
        tables=CONTROLS,
        tried="real metadata",
        images=31_104,
        formats=("tiff",),
        organism="human",
        pattern=HARMONY,
        stains={  # in the order of the study's own channel labels
            "1": "nucleus",
            "2": "er",
            "3": "nucleoli/cytoplasmic rna",
            "4": "actin/golgi/cell membrane",
            "5": "mitochondria",
        },
        skip=(
            (
                r"(?i)illum_?corrected|(^|/)SQ\d{8}/",
                "illumination-corrected copy",
            ),  # the raw plates are SQ00014610__DATE
        ),
    ),
    _idr(
        81,
        "Adenovirus",
        "screen-2406",
        "CC BY 4.0",
        "Georgi F et al. (2020). High-content image-based drug screen identifies a clinical compound against cell "
        "transmission of adenovirus. Sci Data 7:265. doi:10.1038/s41597-020-00604-0",
        Study(labels={"compound": "Compound Name"}),
        tables=CONTROLS,
        tried="real metadata",
        images=14_592,
        formats=("tif",),
        organism="human",
        cell_type="a549",
        pattern=EITHER_SITE,
        stains={
            "1": "nucleus",
            "2": "infection",
            "dapi - dapi": "nucleus",
            "fitc - fitc": "infection",
        },
    ),
    _idr(
        88,
        "Phenomic Profiling",
        "screen-2651",
        "CC BY-NC 4.0",
        "Cox MJ et al. (2020). Tales of 1,008 small molecules: phenomic profiling through live-cell imaging in a panel "
        "of reporter cell lines. Sci Rep 10:13262. doi:10.1038/s41598-020-69354-8",
        Study(
            labels={**CELL_LINE, "compound": "Compound Name", "phenotype": "Compound MoA"},
            folders=("Plate Location",),
            markers={
                "green marker": ("Channels", r"Ch2[^:]*:\s*([^,]+)"),
                "red marker": ("Channels", r"Ch3[^:]*:\s*([^,]+)"),
            },
        ),
        tables=CONTROLS,
        magnification=20,
        tried="real metadata",
        images=793_575,
        formats=("tif",),
        organism="human",
        microscopy="confocal",
        pattern=CELLVOYAGER,
        stains={"1": "nucleus", "2": "green marker", "3": "red marker"},
    ),
    _idr(
        93,
        "siRNA screen for cell size and RNA production",
        "screen-2751",
        "CC BY 4.0",
        "Müller M, Pelkmans L, Berry S (2021). High content genome-wide siRNA screen to investigate the coordination "
        "of cell size and RNA production. Front Cell Dev Biol. doi:10.17867/10000157 (data)",
        Study(
            labels={"sirna": ("siRNA Pool Identifier", "siRNA Pool Identifier 1", "siRNA Identifier")},
            optional={"sirna.2": "siRNA Pool Identifier 2", "sirna.3": "siRNA Pool Identifier 3"},
        ),
        magnification=20,
        tried="simulated",
        images=233_505,
        formats=("tif",),
        organism="human",
        cell_type="hela",
        microscopy="confocal",
        pattern=CELLVOYAGER,
        # in the order of the study's rendering settings, which list four of the five files of a site; file 5 is left
        # out and counted
        stains={"1": "nucleus", "2": "rna", "3": "pcna", "4": "cell body"},
    ),
)
