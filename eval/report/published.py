"""Which published scores are shown for a score of ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
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
    Title and question of a task of the preprint are about its cells: other samples that were scored by its protocol
    are presented as such.
    """
    known: dict[str, Presentation] = {**TASKS, **{task.name: task for task in tasks}}
    entries = list(entries)
    names = {entry["task"] for entry in entries}
    ordered = [*(name for name in known if name in names), *sorted(names.difference(known))]
    found = {}
    for name in ordered:
        task = known.get(name) or Presentation(name=name, title=name)
        mine = [entry for entry in entries if entry["task"] == name]
        own = any(entry.get("own_labels") for entry in mine)
        if own and name in TASKS and not any(is_published_set(entry, task) for entry in mine):
            title = f"Your samples, by the protocol of {task.title.partition(':')[0]}"
            task = replace(task, title=title, question="", unit="samples")
        found[name] = task
    return found


def is_published_set(entry: Mapping[str, Any], task: Presentation) -> bool:
    """Return whether an entry is a score on the set with published scores, judged by its number of samples."""
    low, high = task.published_n.get(entry["split"], (1, 0))
    return low <= int(entry["n"]) <= high


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
    """Return the published headline score for the model and test set of an entry, if there is one.

    There is none for simulated samples, for a part of the set, or for other samples.
    """
    if not is_published_set(entry, task):
        return None
    return task.published.get((entry["split"], kind_of_entry(entry)))
