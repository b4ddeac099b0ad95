"""Published numbers, to print beside ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published accuracy.

    Attributes
    ----------
    task, split, score : str
        As in results.json.
    model : str
        "random", "imagenet", "cytoimagenet", "fusion", or a name of its own.
    percent : float
    half_width : float or None
        Of the 95 % interval as printed (Wald).
    source : str
    """

    task: str
    split: str
    score: str
    model: str
    percent: float
    half_width: float | None
    source: str


_MODELS = ("random", "imagenet", "cytoimagenet", "fusion")
_PREPRINT = "CytoImageNet preprint (arXiv 2111.11646), normalised, concatenated"
_TABLE = {  # preprint, table of kNN accuracies
    ("bbbc021", "", "nsc"): ((27.18, 8.59), (83.5, 7.17), (83.5, 7.17), (86.41, 6.62)),
    ("cyclops", "", "knn"): ((53.06, 0.59), (68.47, 0.55), (65.19, 0.57), (77.97, 0.49)),
    ("coos7", "test1", "knn"): ((65.68, 0.91), (88.87, 0.61), (88.58, 0.61), (94.80, 0.43)),
    ("coos7", "test2", "knn"): ((67.81, 0.70), (88.93, 0.47), (89.37, 0.46), (95.07, 0.33)),
    ("coos7", "test3", "knn"): ((48.77, 0.54), (75.91, 0.46), (65.97, 0.51), (78.97, 0.44)),
    ("coos7", "test4", "knn"): ((51.88, 0.56), (82.19, 0.43), (78.52, 0.46), (87.47, 0.37)),
}
_BEST = (
    ("bbbc021", "", "nsc", "WS-DINO", 98.0, "Cross-Zamirski et al. 2022"),
    ("bbbc021", "", "nscb", "WS-DINO", 96.0, "Cross-Zamirski et al. 2022"),
    ("bbbc021", "", "nsc", "weakly supervised CNN with TVN", 97.09, "Caicedo et al."),
    ("bbbc021", "", "nscb", "weakly supervised CNN with TVN", 86.96, "Caicedo et al."),
    ("coos7", "test1", "knn", "Microsnoop", 97.25, "Microsnoop 2023"),
    ("coos7", "test2", "knn", "Microsnoop", 97.19, "Microsnoop 2023"),
    ("coos7", "test3", "knn", "Microsnoop", 89.72, "Microsnoop 2023"),
    ("coos7", "test4", "knn", "Microsnoop", 96.24, "Microsnoop 2023"),
    ("cyclops", "", "knn", "Microsnoop", 75.94, "Microsnoop 2023"),
)

PUBLISHED = (
    *(
        Published(*where, model, percent, half_width, _PREPRINT)
        for where, row in _TABLE.items()
        for model, (percent, half_width) in zip(_MODELS, row, strict=True)
    ),
    *(Published(task, split, score, model, p, None, source) for task, split, score, model, p, source in _BEST),
)


def role_of(model: str) -> str:
    """Return which published model one of ours stands beside: a training run beside "cytoimagenet"."""
    if model.startswith("random"):
        return "random"
    if model.startswith("fusion"):
        return "fusion"
    return model if model in ("imagenet", "features", "mean-intensity") else "cytoimagenet"


def beside(task: str, split: str, score: str, model: str) -> Published | None:
    """Return the preprint's number for the same task, split and score, and the kind of model, if it has one."""
    for number in PUBLISHED:
        if (number.task, number.split, number.score, number.model) == (task, split, score, role_of(model)):
            return number
    return None
