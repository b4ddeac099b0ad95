"""CYCLoPs: find the place of a protein in a yeast cell."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from ...builder.errors import UsageError
from ..protocols import cyclops as protocol
from ..protocols.settings import EvaluationSettings
from ..sets import cyclops as files
from ..sets.samples import Samples
from ..tables.align import align_cells, take
from .record import Best, Published, Task

if TYPE_CHECKING:
    from ..tables.feature_table import FeatureTable


def _read(root: str | PathLike[str], settings: EvaluationSettings, *, images: bool = True) -> Samples:
    return files.read(root, labels=settings.cyclops_labels)  # labels and images are in the same files


def _align(features: FeatureTable, samples: Samples | None) -> FeatureTable:
    """Give each row its label; of a table with its own labels, DEAD and GHOST are dropped as they are from the set."""
    aligned = align_cells(features, samples, task="cyclops", columns=("label",))
    if samples is not None:
        return aligned
    rows = (~aligned.keys["label"].isin(files.DROPPED)).to_numpy().nonzero()[0]
    if not len(rows):
        raise UsageError("All cells are DEAD or GHOST, which are not scored", where=features.source)
    return take(aligned, rows, aligned.keys.iloc[rows])


CYCLOPS = Task(
    name="cyclops",
    title="CYCLoPs: yeast",
    question="Do the 11 nearest other yeast cells have the protein in the same place?",
    unit="cells",
    how_to_get=files.HOW_TO_GET,
    read=_read,
    align=_align,
    score=protocol.score,
    standardisations=protocol.STANDARDISATIONS,
    network_standardisation="all",  # preprint, 4.1
    options=("ties", "cyclops_labels"),
    headline="knn",
    published={  # preprint (arXiv 2111.11646), tables 2 to 4: normalised channels, features concatenated
        ("", "random"): Published(53.06, 0.59),
        ("", "imagenet"): Published(68.47, 0.55),
        ("", "cytoimagenet"): Published(65.19, 0.57),
        ("", "fusion"): Published(77.97, 0.49),
    },
    published_n={"": (27_000, 28_200)},  # the preprint scored 27,058; without its mistake there are about 28,160
    best={("knn", ""): Best(75.94, "Microsnoop 2023; the preprint's fusion has 77.97")},
)
