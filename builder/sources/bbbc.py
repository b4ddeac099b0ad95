"""The 18 sources of the Broad Bioimage Benchmark Collection."""

from __future__ import annotations

from typing import Any

from . import bbbc_labels as labels
from .bbbc_boxes import malaria
from .bbbc_doses import translocation_of_fkhr, translocation_of_nfkb
from .record import BRIGHTFIELD, BROAD, Source

COLLECTION = (
    "Ljosa V, Sokolnicki KL, Carpenter AE (2012). Annotated high-throughput microscopy image sets for validation. "
    "Nature Methods 9:637."
)
ADDRESS = "https://data.broadinstitute.org/bbbc"
NOT_READ = "see the set's page"  # nobody has read the page yet
KIDNEY = "|".join(name.replace(".", "[.]") for name in labels.KIDNEY)
TRANSMITTED_TOO = "fluorescence|brightfield|darkfield"


def _bbbc(number: int, name: str, *, downloads: tuple[str, ...], **facts: Any) -> Source:
    """Return a record with the facts that all sets share; `downloads` are files below the set's address."""
    return Source(
        dir_name=f"bbbc{number:03}",
        database=BROAD,
        name=name,
        link=f"https://bbbc.broadinstitute.org/BBBC{number:03}",
        downloads=tuple(f"{ADDRESS}/BBBC{number:03}/{file}" for file in downloads),
        **{"licence": NOT_READ, "citation": COLLECTION, "microscopy": "fluorescence", **facts},
    )


RECORDS: tuple[Source, ...] = (
    _bbbc(
        5,
        "Synthetic cells",
        downloads=("BBBC005_v1_images.zip", "BBBC005_v1_ground_truth.zip"),
        tried="real metadata",
        images=9_600,
        formats=("tif",),
        organism="human",
        cell_type="u2os",
        pattern=r"^(?P<folder>.*/)?SIMCEPImages_(?P<well>[A-P]\d\d)_C(?P<cells>\d+)_F(?P<blur>\d+)_s(?P<site>\d+)_w(?P<channel>[12])$",
        stains={"1": "cell body", "2": "nucleus"},
    ),
    _bbbc(
        6,
        "Human U2OS cells (out of focus)",
        downloads=("BBBC006_v1_images_z_16.zip",),
        tried="real metadata",
        images=768,
        formats=("tif",),
        organism="human",
        cell_type="u2os",
        cell_visible="nucleus",
        microscopy="confocal",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<well>[a-p]\d\d)_s(?P<site>[12])_w(?P<channel>[12])[0-9a-f-]*$",
        stains={"1": "nucleus", "2": "actin"},
        # 34 focal planes were published; the preprint uses the one in focus
        skip=((r"(?i)_z_(0\d|1[0-5789]|[23]\d)/", "out of focus"),),
    ),
    _bbbc(
        10,
        "C. elegans live/dead assay",
        downloads=("BBBC010_v2_images.zip",),
        tried="real images",
        images=200,
        formats=("tif",),
        organism="nematode",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<row>[A-P])(?P<column>\d\d)_w(?P<channel>[12])_[^/]*$",
        stains={"1": "intestine", "2": BRIGHTFIELD},
        apart=("2",),
        labels=labels.dead_or_alive,
        tables={"control": "file names"},
    ),
    _bbbc(
        11,
        "C. elegans metabolism assay",
        downloads=("BBBC011_v1_images.zip",),
        tried="real images",
        images=50,
        formats=("png",),
        organism="nematode",
        microscopy=BRIGHTFIELD,
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)$",
        stains={"": BRIGHTFIELD},
        labels=labels.fat_or_not,
    ),
    _bbbc(
        12,
        "C. elegans infection marker",
        downloads=("BBBC012_v1_images.zip",),
        tried="real images",
        images=120,
        formats=("tif",),
        organism="nematode",  # file names do not distinguish wild type from infected: no phenotype
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<well>[A-P]\d\d)_w(?P<channel>[123])_[^/]*$",
        stains={"1": BRIGHTFIELD, "2": "intestine", "3": "pharynx"},
        apart=("1",),
    ),
    _bbbc(
        13,
        "Human U2OS cells cytoplasm–nucleus translocation",
        downloads=("BBBC013_v1_images_bmp.zip",),
        tried="real images",
        images=96,
        formats=("bmp",),
        organism="human",
        cell_type="u2os",
        cell_visible="nucleus",
        pattern=r"^(?P<folder>.*/)?Channel(?P<channel>[12])-(?P<number>\d\d)-(?P<well>[A-H]-\d\d)$",
        stains={"1": "fkhr-gfp", "2": "nucleus"},
        labels=translocation_of_fkhr,
        tables={"control": "plate map"},
    ),
    _bbbc(
        14,
        "Human U2OS cells cytoplasm–nucleus translocation (2)",
        downloads=("BBBC014_v1_images.zip", "BBBC014_v1_platemap_all.txt"),
        tried="real images",
        images=96,
        formats=("bmp",),
        organism="human",
        cell_visible="nucleus",
        pattern=r"^(?P<folder>.*/)?Channel (?P<channel>[12])-(?P<number>\d\d)-(?P<well>[A-H]-\d\d)-\d\d$",
        # seen in a real field: channel 2 shows only nuclei
        stains={"1": "nfkb", "2": "nucleus"},
        labels=translocation_of_nfkb,
    ),
    _bbbc(
        15,
        "Human U2OS cells transfluor",
        downloads=("BBBC015_v1_images.zip",),
        tried="real metadata",
        images=144,
        formats=("jpg",),
        organism="human",
        cell_type="u2os",
        cell_visible="nucleus|cell membrane",
        pattern=r"^(?P<folder>.*/)?(?P<number>\d+)_(?P<site>\d+)_(?P<channel>[01])$",
        stains={"0": "nucleus/cell membrane", "1": "arrestin-gfp"},
    ),
    _bbbc(
        17,
        "Human HT29 colon-cancer cells shRNAi screen",
        downloads=(
            *(f"BBBC017_v1_images_NIRHTa{sign}{number:03}.zip" for sign in "-+" for number in range(1, 15)),
            "BBBC017_v1_metadata.xls",
        ),
        tried="real metadata",
        images=21_504,
        formats=("dib",),
        organism="human",
        cell_type="ht29",
        cell_visible="nucleus|actin",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*\d{3})/(?P<run>[^/]*_)?(?P<well>[A-P]\d\d)f(?P<site>\d+)d(?P<channel>[012])$",
        stains={"0": "nucleus", "1": "phospho-h3", "2": "actin"},  # unverified
        labels=labels.genes_of_ht29,
    ),
    _bbbc(
        20,
        "Murine bone-marrow derived macrophages",
        downloads=("BBBC020_v1_images.zip",),
        tried="simulated",
        images=25,
        formats=("tif",),
        organism="mouse",
        cell_type="macrophage",
        cell_visible="nucleus|cell surface",
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)_c(?P<channel>[15])$",
        stains={"1": "cell surface", "5": "nucleus"},
        skip=((r"(?i)_\(c1\+c5\)\.", "channels merged by the publisher"), (r"(?i)(^|/)[^/]*_outlines_", "mask")),
    ),
    _bbbc(
        22,
        "Human U2OS cells - compound cell-painting experiment",
        downloads=(
            *(
                f"BBBC022_v1_images_{plate}w{channel}.zip"
                for plate in (
                    20585,
                    20586,
                    *range(20589, 20597),
                    20607,
                    20608,
                    20625,
                    20626,
                    20630,
                    20633,
                    *range(20639, 20642),
                    20646,
                )
                for channel in range(1, 6)
            ),
            "BBBC022_v1_image.csv",
        ),
        licence="CC0 1.0",
        licence_verified=True,  # in the study description of its copy in the Image Data Resource, idr0036
        tried="real metadata",
        images=69_120,
        formats=("tif",),
        organism="human",
        cell_type="u2os",
        pattern=r"^(?P<folder>(?:.*/)?[^/]*?)(?P<plate>\d+)(?:w[1-5]|-[a-z_]+)/[^/]*_(?P<well>[A-P]\d\d)_s(?P<site>\d+)_w(?P<channel>[1-5])[^/]*$",
        stains={"1": "nucleus", "2": "er", "3": "nucleoli", "4": "actin/golgi", "5": "mitochondria"},
        labels=labels.compounds_of_u2os,
        tables={"control": "table"},
        magnification=20,  # in the study description of idr0036
    ),
    _bbbc(
        25,
        "Human U2OS cells – RNAi Cell Painting experiment",
        downloads=tuple(
            f"DatasetS8/{plate}_{channel}.tar.gz"
            for plate in (37983, *range(38002, 38007), 38030, 38034)
            for channel in ("ERSyto", "ERSytoBleed", "Hoechst", "Mito", "PhGolgi")
        ),
        tried="simulated",
        images=27_000,
        formats=("tif",),
        organism="human",
        cell_type="u2os",
        microscopy="confocal",
        pattern=r"^(?P<folder>(?:.*/)?)(?P<plate>[^/_]+)_(?P<channel>ERSytoBleed|ERSyto|Hoechst|Mito|Ph)(?:_?Golgi)?/(?P<run>[^/]*)_(?P<well>[a-p]\d\d)_s(?P<site>\d+)_w\d[^/]*$",
        stains={
            "ersyto": "er",
            "ersytobleed": "nucleoli/rna",
            "hoechst": "nucleus",
            "mito": "mitochondria",
            "ph": "actin/golgi/cell membrane",
        },
    ),
    _bbbc(
        26,
        "Human Hepatocyte and Murine Fibroblast cells – Co-culture experiment",
        downloads=("BBBC026_v1_images.zip",),
        tried="real metadata",
        images=864,
        formats=("png",),
        organism="human|mouse",
        cell_type="hepatocyte|fibroblast",
        pattern=r"^(?P<folder>.*/)?(?P<plate>[^/]*)_(?P<well>[A-P]\d\d)_s(?P<site>\d+)_w1[^/]*$",
        stains={"": "nucleus"},
        magnification=20,  # in the file names
    ),
    _bbbc(
        38,
        "Kaggle 2018 Data Science Bowl",
        downloads=(
            *("stage1_train.zip", "stage1_test.zip", "stage2_test_final.zip", "metadata.xlsx"),
            *("stage1_train_labels.csv", "stage1_solution.csv", "stage2_solution_final.csv"),
        ),
        licence="CC0 1.0",
        tried="real images",
        images=3_754,
        formats=("png",),
        organism="human|mouse|fly",
        microscopy="brightfield|fluorescence",
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)/images/[^/]+$",
        stains={"": "nucleus"},
    ),
    _bbbc(
        41,
        "P. vivax (malaria) infected human blood smears",
        downloads=("malaria.zip",),
        licence="CC BY-NC-SA 3.0",
        tried="real metadata",
        images=86_035,
        formats=("png", "jpg"),
        organism="human",
        microscopy=BRIGHTFIELD,
        pattern=r"^(?P<folder>.*/)?(?P<image>[^/]+)$",
        stains={"": BRIGHTFIELD},
        labels=malaria,
    ),
    _bbbc(
        45,
        "Human White Blood Cells",
        downloads=("Stained_Montages.zip",),
        tried="simulated",
        images=147,
        formats=("tif",),
        organism="human",
        cell_type="white blood cell",
        microscopy=TRANSMITTED_TOO,
        # the kind of light of each channel number is not known: nothing is merged, each file is a row
        pattern=r"^(?P<folder>(?:.*/)?Stained_Montages/(?P<donor>[^/]+)/(?:.*/)?|.*/)?(?P<image>[^/]+_Ch\d+)$",
        group=("donor",),
        labels=labels.montage,
    ),
    _bbbc(
        48,
        "Cell Cycle Jurkat Cells",
        downloads=("BBBC048v1.zip", "Ground_truth.lst"),
        tried="real metadata",
        images=32_266,
        formats=("jpg",),
        organism="human",
        cell_type="jurkat",
        cell_visible="nucleus",
        microscopy=TRANSMITTED_TOO,
        pattern=r"^(?P<folder>.*/)?(?P<phase>Anaphase|G1|G2|Metaphase|Prophase|S|Telophase)/(?P<image>\d+)_merged$",
        stains={"": "nucleus/brightfield/darkfield"},
        labels=labels.phase,
    ),
    _bbbc(
        51,
        "Human kidney cortex cells",
        downloads=("Images.zip", "groundtruthlabels.txt"),
        tried="real metadata",
        images=230_000,
        formats=("tif",),
        organism="human",
        microscopy="confocal",
        pattern=rf"^(?P<folder>.*/)?(?P<marker>{KIDNEY})/All_3D/(?P<object>object_[0-9_]+)$",
        stains={"": "nucleus"},
        page=3,  # the middle one of seven slices
        labels=labels.part_of_kidney,
    ),
)
