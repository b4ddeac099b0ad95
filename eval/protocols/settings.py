"""The settings of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...builder.errors import UsageError
from ..scores.standardise import STANDARDISATIONS, Standardisation
from ..scores.votes import Ties

Taxol = Literal["all", "ljosa3"]
CyclopsLabels = Literal["clean", "published"]


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings of an evaluation; written to results.json with each score.

    Attributes
    ----------
    standardise : str, optional
        How features are brought to one scale, see `scores.standardise.MEANING`. None: the default of the task, see
        `Task.resolve`.
    taxol : "all" or "ljosa3"
        Taxol at 0.3 µM is the positive control on all 55 plates of BBBC021. Take all its 333 wells, as published, or
        the three wells of Ljosa et al. 2013.
    ties : "nearest" or "published"
        How equal numbers of votes are resolved, see `scores.votes.vote`.
    cyclops_labels : "clean" or "published"
        See `sets.cyclops.read`.
    probe : bool
        Also fit a linear probe, which takes most of the time of scoring.
    seed : int
        Random seed of bootstrap, permutations and folds.

    Raises
    ------
    UsageError
        If a setting has an unknown value.
    """

    standardise: Standardisation | None = None
    taxol: Taxol = "all"
    ties: Ties = "nearest"
    cyclops_labels: CyclopsLabels = "clean"
    probe: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        for name, value, allowed in (
            ("standardise", self.standardise, (None, *STANDARDISATIONS)),
            ("taxol", self.taxol, get_args(Taxol)),
            ("ties", self.ties, get_args(Ties)),
            ("cyclops-labels", self.cyclops_labels, get_args(CyclopsLabels)),
        ):
            if value not in allowed:
                raise UsageError(
                    f"--{name} {value} does not exist", next=f"Use one of {', '.join(filter(None, allowed))}"
                )
