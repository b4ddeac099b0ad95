"""Published numbers, to print beside ours."""

from __future__ import annotations

from dataclasses import dataclass

HEADLINE = {"bbbc021": "nsc", "coos7": "knn", "cyclops": "knn"}
"""The score that was published for each task."""


@dataclass(frozen=True)
class Published:
    """A published accuracy, in per cent, with half the width of its 95 % interval as printed (Wald's)."""

    value: float
    half: float


KINDS = ("random", "imagenet", "cytoimagenet", "fusion")
_ACCURACY = {  # preprint: kNN accuracy on normalised, concatenated features
    ("bbbc021", ""): ((27.18, 8.59), (83.5, 7.17), (83.5, 7.17), (86.41, 6.62)),
    ("cyclops", ""): ((53.06, 0.59), (68.47, 0.55), (65.19, 0.57), (77.97, 0.49)),
    ("coos7", "test1"): ((65.68, 0.91), (88.87, 0.61), (88.58, 0.61), (94.80, 0.43)),
    ("coos7", "test2"): ((67.81, 0.70), (88.93, 0.47), (89.37, 0.46), (95.07, 0.33)),
    ("coos7", "test3"): ((48.77, 0.54), (75.91, 0.46), (65.97, 0.51), (78.97, 0.44)),
    ("coos7", "test4"): ((51.88, 0.56), (82.19, 0.43), (78.52, 0.46), (87.47, 0.37)),
}
PUBLISHED = {
    (task, split, kind): Published(*numbers)
    for (task, split), row in _ACCURACY.items()
    for kind, numbers in zip(KINDS, row, strict=True)
}
"""(task, split, kind of model) -> the preprint's headline score (arXiv 2111.11646)."""

BEST = {
    ("bbbc021", "nsc", ""): (98.0, "WS-DINO, Cross-Zamirski et al. 2022"),
    ("bbbc021", "nscb", ""): (96.0, "WS-DINO, Cross-Zamirski et al. 2022"),
    ("coos7", "knn", "test1"): (97.25, "Microsnoop 2023"),
    ("coos7", "knn", "test2"): (97.19, "Microsnoop 2023"),
    ("coos7", "knn", "test3"): (89.72, "Microsnoop 2023"),
    ("coos7", "knn", "test4"): (96.24, "Microsnoop 2023"),
    ("cyclops", "knn", ""): (75.94, "Microsnoop 2023; the preprint's fusion has 77.97"),
}
"""(task, score, split) -> the best published per cent and by whom."""

AS_GIVEN = "as given"  # the preprocessing of a table somebody else made


def kind_of(model: str) -> str:
    """Return the kind of a model: one of `KINDS`, or "" for what was never published (a table, the control).

    A training run, whatever its name, stands beside "cytoimagenet".
    """
    first = model.partition(":")[0].partition(" ")[0]
    if first in ("random", "imagenet", "fusion"):
        return first
    return "" if model == "mean-intensity" else "cytoimagenet"
