"""What can be chosen about an evaluation, and the choices of the publication."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...builder.errors import UsageError
from ..scores.standardise import WAYS, Way
from ..scores.votes import Ties

Taxol = Literal["all", "ljosa3"]
CyclopsLabels = Literal["clean", "published"]

PUBLISHED_WAY: dict[str, Way] = {"bbbc021": "all", "coos7": "train", "cyclops": "all"}
"""How the publication standardised features of networks (preprint, 4.1)."""


@dataclass(frozen=True)
class Settings:
    """The choices of one evaluation; printed and written with each number.

    Attributes
    ----------
    standardise : Way
        See `standardise.MEANING`.
    taxol : "all" or "ljosa3"
        Taxol at 0.3 µM is the positive control of all 55 plates of BBBC021: take all its 333 wells (as published), or
        the three of Ljosa et al. 2013.
    ties : "nearest" or "published"
        See `scores.votes.vote`.
    cyclops_labels : "clean" or "published"
        See `tasks.cyclops.read`.
    probe : bool
        Also fit a linear probe, by far the longest part of scoring.
    draws, seed : int
        Of bootstrap, permutations and folds.
    """

    standardise: Way = "none"
    taxol: Taxol = "all"
    ties: Ties = "nearest"
    cyclops_labels: CyclopsLabels = "clean"
    probe: bool = True
    draws: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a choice that does not exist."""
        for name, value, choices in (
            ("standardise", self.standardise, WAYS),
            ("taxol", self.taxol, get_args(Taxol)),
            ("ties", self.ties, get_args(Ties)),
            ("cyclops-labels", self.cyclops_labels, get_args(CyclopsLabels)),
        ):
            if value not in choices:
                raise UsageError(f"--{name} {value} does not exist", next=f"It is one of {', '.join(choices)}")
