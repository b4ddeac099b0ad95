"""BBBC021: find the mechanism of action of a treatment."""

from __future__ import annotations

from os import PathLike

from ..protocols import bbbc021 as protocol
from ..protocols.settings import EvaluationSettings
from ..sets import bbbc021 as files
from ..sets.samples import Samples
from ..tables.align_treatments import align_treatments
from .record import Best, Published, Task


def _read(root: str | PathLike[str], settings: EvaluationSettings, *, images: bool = True) -> Samples:
    return files.read(root, images=images)


BBBC021 = Task(
    name="bbbc021",
    title="BBBC021: mechanism of action",
    question="Is a treatment most similar to a treatment of another compound with the same mechanism of action?",
    unit="treatments",
    how_to_get=files.HOW_TO_GET,
    read=_read,
    align=align_treatments,
    score=protocol.score,
    score_alternatives=protocol.score_alternatives,
    standardisations=protocol.STANDARDISATIONS,
    network_standardisation="all",  # preprint, 4.1
    options=("taxol",),
    headline="nsc",
    reading=(
        "On BBBC021 the published 83.50 % is 86 of 103 treatments and 86.41 % is 89: three treatments separate fusion "
        "from ImageNet, far inside the interval of either."
    ),
    published={  # preprint (arXiv 2111.11646), tables 2 to 4: normalised channels, features concatenated
        ("", "random"): Published(27.18, 8.59),
        ("", "imagenet"): Published(83.5, 7.17),
        ("", "cytoimagenet"): Published(83.5, 7.17),
        ("", "fusion"): Published(86.41, 6.62),
    },
    published_n={"": (103, 103)},  # treatments
    best={
        ("nsc", ""): Best(98.0, "WS-DINO, Cross-Zamirski et al. 2022"),
        ("nscb", ""): Best(96.0, "WS-DINO, Cross-Zamirski et al. 2022"),
    },
)
