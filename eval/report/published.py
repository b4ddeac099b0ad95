"""Which published scores are shown for a score of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..results.score import NAMES
from ..tasks.record import Presentation, Published
from ..tasks.registry import TASKS

AS_GIVEN = "as given"  # the preprocessing of a table that was not computed by this project
PUBLISHED_PREPROCESSING = "concat-norm"  # of the published scores (preprint, tables 2 to 4)
CONTROL_MODEL = "mean-intensity"


def presentations(entries: Iterable[Mapping[str, Any]], tasks: Iterable[Presentation] = ()) -> dict[str, Presentation]:
    """Return how to present each task of the entries, by name.

    The tasks of the preprint come first. A task that is neither one of them nor in `tasks` is presented by its name.
    """
    known: dict[str, Presentation] = {**TASKS, **{task.name: task for task in tasks}}
    names = {entry["task"] for entry in entries}
    ordered = [*(name for name in known if name in names), *sorted(names.difference(known))]
    return {name: known.get(name) or Presentation(name=name, title=name) for name in ordered}


def headline_score(task: Presentation, entries: Iterable[Mapping[str, Any]]) -> str:
    """Return the score of a task that is shown first: its headline, or the first one among its entries."""
    if task.headline:
        return task.headline
    scores = {entry["score"] for entry in entries if entry["task"] == task.name}
    return next((score for score in NAMES if score in scores), next(iter(sorted(scores)), ""))


def kind_of(model: str) -> str:
    """Return the kind of a model: one of `MODEL_KINDS`, or "" for the control, which was not published.

    Every training run is of the kind "cytoimagenet".

    Examples
    --------
    >>> kind_of("random:2"), kind_of("fusion of imagenet and first"), kind_of("first"), kind_of("mean-intensity")
    ('random', 'fusion', 'cytoimagenet', '')
    """
    first = model.partition(":")[0].partition(" ")[0]
    if first in ("random", "imagenet", "fusion"):
        return first
    return "" if model == CONTROL_MODEL else "cytoimagenet"


def kind_of_entry(entry: Mapping[str, Any]) -> str:
    """Return the kind of the model of an entry; "" for a table of features, whatever its name."""
    return "" if entry["preprocess"] == AS_GIVEN else kind_of(entry["model"])


def published_for(entry: Mapping[str, Any], task: Presentation) -> Published | None:
    """Return the published headline score for the model and test set of an entry, if there is one."""
    return task.published.get((entry["split"], kind_of_entry(entry)))
