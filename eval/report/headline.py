"""The scores that are shown first: which they are, and how tests and models are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results.score import in_words
from ..tasks.record import MODEL_KINDS, Presentation
from .published import AS_GIVEN, CONTROL_MODEL, PUBLISHED_PREPROCESSING, headline_score, kind_of_entry

ORDER = (*MODEL_KINDS, "")


def headline_entries(entries: Sequence[Mapping[str, Any]], task: Presentation) -> list[Mapping[str, Any]]:
    """Return the entries of the headline score of a task, with the published preprocessing if there are any."""
    of_task = [entry for entry in entries if entry["task"] == task.name and entry["score"] != "shuffled"]
    headline = headline_score(task, of_task)
    found = [entry for entry in of_task if entry["score"] == headline and not entry["beside"]]
    methods = list(dict.fromkeys(entry["preprocess"] for entry in found))
    chosen = PUBLISHED_PREPROCESSING if PUBLISHED_PREPROCESSING in methods else next(iter(methods), "")
    # a table of features has no preprocessing of ours: it is shown next to the networks
    found = [entry for entry in found if entry["preprocess"] in (chosen, AS_GIVEN)]
    return sorted(found, key=lambda e: (ORDER.index(kind_of_entry(e)), e["model"], e["split"], e["key"]))


def name_of_test(entry: Mapping[str, Any], task: Presentation) -> str:
    """Return the name of the test that an entry is a score of."""
    title = task.title.partition(":")[0]
    return f"{title}, {entry['split']}" if entry["split"] else title


def details_in_words(entry: Mapping[str, Any]) -> str:
    """Return score and preprocessing of an entry in words."""
    return ", ".join(filter(None, (in_words(entry["score"]), entry["preprocess"])))


def model_in_words(model: str) -> str:
    """Return how a model is called in a sentence.

    Examples
    --------
    >>> model_in_words("imagenet"), model_in_words("random:0"), model_in_words("fusion of imagenet and first")
    ('ImageNet', 'random weights (seed 0)', 'fusion of ImageNet and first')
    """
    if model == CONTROL_MODEL:
        return "mean intensity"
    if model.startswith("random:"):
        return f"random weights (seed {model.partition(':')[2]})"
    if model.startswith("fusion of imagenet and "):
        return model.replace("imagenet", "ImageNet", 1)
    return {"imagenet": "ImageNet", "random": "random weights"}.get(model, model)
