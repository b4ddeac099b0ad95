"""COOS-7: find the place of a protein in a mouse cell, when day, plate and microscope change."""

from __future__ import annotations

from functools import partial
from os import PathLike

from ..protocols import coos7 as protocol
from ..protocols.settings import EvaluationSettings
from ..sets import coos7 as files
from ..sets.samples import Samples
from ..tables.align import align_cells
from .record import Best, Published, Task


def _read(root: str | PathLike[str], settings: EvaluationSettings, *, images: bool = True) -> Samples:
    return files.read(root)  # labels and images are in the same files


COOS7 = Task(
    name="coos7",
    title="COOS-7: protein localisation",
    question=(
        "Do the 11 nearest training cells have the protein in the same place, in four test sets that differ more and "
        "more from the training set?"
    ),
    unit="cells",
    how_to_get=files.HOW_TO_GET,
    read=_read,
    align=partial(align_cells, task="coos7", columns=("label", "split")),
    score=protocol.score,
    standardisations=protocol.STANDARDISATIONS,
    network_standardisation="train",  # preprint, 4.1
    options=("ties",),
    headline="knn",
    published={  # preprint (arXiv 2111.11646), tables 2 to 4: normalised channels, features concatenated
        ("test1", "random"): Published(65.68, 0.91),
        ("test1", "imagenet"): Published(88.87, 0.61),
        ("test1", "cytoimagenet"): Published(88.58, 0.61),
        ("test1", "fusion"): Published(94.80, 0.43),
        ("test2", "random"): Published(67.81, 0.70),
        ("test2", "imagenet"): Published(88.93, 0.47),
        ("test2", "cytoimagenet"): Published(89.37, 0.46),
        ("test2", "fusion"): Published(95.07, 0.33),
        ("test3", "random"): Published(48.77, 0.54),
        ("test3", "imagenet"): Published(75.91, 0.46),
        ("test3", "cytoimagenet"): Published(65.97, 0.51),
        ("test3", "fusion"): Published(78.97, 0.44),
        ("test4", "random"): Published(51.88, 0.56),
        ("test4", "imagenet"): Published(82.19, 0.43),
        ("test4", "cytoimagenet"): Published(78.52, 0.46),
        ("test4", "fusion"): Published(87.47, 0.37),
    },
    # the preprint's intervals imply numbers that differ by up to 1 % from those of the files
    published_n={
        "test1": (10_200, 10_460),
        "test2": (17_000, 17_200),
        "test3": (32_500, 33_000),
        "test4": (30_500, 30_800),
    },
    best={
        ("knn", "test1"): Best(97.25, "Microsnoop 2023"),
        ("knn", "test2"): Best(97.19, "Microsnoop 2023"),
        ("knn", "test3"): Best(89.72, "Microsnoop 2023"),
        ("knn", "test4"): Best(96.24, "Microsnoop 2023"),
    },
)
