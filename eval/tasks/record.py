"""What a task is: the one record that all of `eval` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...builder.errors import UsageError

if TYPE_CHECKING:
    from ..protocols.entries import Scored
    from ..protocols.settings import EvaluationSettings
    from ..scores.standardise import Standardisation
    from ..sets.samples import Samples
    from ..tables.feature_table import FeatureTable

MODEL_KINDS = ("random", "imagenet", "cytoimagenet", "fusion")
"""The kinds of model with published scores, in the order of the preprint's tables."""


class Published(NamedTuple):
    """A published accuracy and half the width of its 95 % interval (Wald's), both in per cent."""

    percent: float
    half_width: float


class Best(NamedTuple):
    """The best published score, in per cent, and its publication."""

    percent: float
    publication: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Presentation:
    """How the scores of a task are presented.

    Attributes
    ----------
    name : str
        Short name: on the command line, in results.json, and of the task's folder below `--data`.
    title : str
        Heading of the task in the report.
    question : str
        The scientific question, as one sentence.
    unit : str
        What is counted in `n`, in the plural.
    headline : str
        The score shown first; "" for the first one there is, in the order of `results.score.NAMES`.
    reading : str
        How to read the scores of this task; printed in the report.
    published : mapping of (split, kind of model) to Published
        The published values of the headline score.
    published_n : mapping of split to (low, high)
        Numbers of samples between which a test set is the published one. Of other sets no published score is shown.
    best : mapping of (score, split) to Best
        The best published scores of any method.
    """

    name: str
    title: str
    question: str = ""
    unit: str = "samples"
    headline: str = ""
    reading: str = ""
    published: Mapping[tuple[str, str], Published] = field(default_factory=dict)
    published_n: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    best: Mapping[tuple[str, str], Best] = field(default_factory=dict)


class _Read(Protocol):
    def __call__(self, root: str | PathLike[str], settings: EvaluationSettings, *, images: bool = True) -> Samples: ...


class _Align(Protocol):
    def __call__(self, features: FeatureTable, samples: Samples | None) -> FeatureTable: ...


class _Score(Protocol):
    def __call__(self, features: FeatureTable, settings: EvaluationSettings) -> list[Scored]: ...


class _ScoreAlternatives(Protocol):
    def __call__(
        self, features: FeatureTable, settings: EvaluationSettings
    ) -> list[tuple[Standardisation, list[Scored]]]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Task(Presentation):
    """A task: how to get, read, align, score and present it.

    The tasks of the preprint are in `registry.TASKS`. A task of one's own is another instance; every function of `eval`
    takes it.

    Attributes
    ----------
    how_to_get : str
        Where to download the set, and how to store it.
    read : function (root, settings, images=True) -> Samples
        Find, check and list the samples below a folder. With `images=False` only what a table of features needs.
    align : function (features, samples) -> FeatureTable
        Give each row of a table the label and groups of its sample. Without samples the table must contain them.
    score : function (features, settings) -> list of Scored
        The protocol: all scores of an aligned table.
    score_alternatives : function (features, settings) -> list of (standardisation, list of Scored), optional
        Scores under standardisations that were not chosen, where they are usually reported too.
    standardisations : sequence of str
        The standardisations that this task allows.
    network_standardisation : str
        The published one for features of networks; used unless another is chosen.
    table_standardisation : str
        The one for tables of features; used unless another is chosen.
    input_size : int or None
        Side in pixels to which images are resized unless another is chosen; None for the size of the images.
    options : sequence of str
        The fields of `EvaluationSettings` that apply to this task, in addition to `standardise`, `probe` and `seed`.
    """

    how_to_get: str
    read: _Read
    align: _Align
    score: _Score
    score_alternatives: _ScoreAlternatives | None = None
    standardisations: Sequence[Standardisation]
    network_standardisation: Standardisation
    table_standardisation: Standardisation = "none"
    input_size: int | None = None
    options: Sequence[str] = ()

    def resolve(self, settings: EvaluationSettings, default: Standardisation | None = None) -> EvaluationSettings:
        """Return the settings with `default`, else that for tables, as the standardisation where none was chosen.

        Raises
        ------
        UsageError
            If the task does not allow the chosen standardisation.
        """
        chosen = settings.standardise or default or self.table_standardisation
        if chosen not in self.standardisations:
            raise UsageError(
                f"--standardise {chosen} does not exist for {self.name}",
                next=f"Use one of {', '.join(self.standardisations)}",
            )
        return replace(settings, standardise=chosen)
