"""What an evaluation returns: scores, each with all it stands on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

NAMES = {
    "nsc": "not same compound",
    "nscb": "not same compound or batch",
    "knn": "11 nearest neighbours",
    "knn-17": "11 nearest neighbours, 17 classes",
    "probe": "linear probe",
    "map": "mean average precision",
    "shuffled": "control: shuffled labels",
}
"""The scores and their names in words."""


class Score(float):
    """A score as a fraction, that knows what it stands on.

    It is a number (`score > 0.8`), and `score.n`, `score.correct`, `score.low`, `score.high`, `score.settings` say how
    it came about; `score.entry` is everything, as written to results.json.
    """

    entry: Mapping[str, Any]

    def __new__(cls, entry: Mapping[str, Any]) -> Score:
        """Make the number of an entry of results.json."""
        score = super().__new__(cls, entry["value"])
        score.entry = entry
        return score

    def __getattr__(self, name: str) -> Any:
        """Fetch a figure of the entry."""
        if name == "low" or name == "high":
            return self.entry["interval"][name]
        try:
            return self.entry[name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Score, (self.entry,)


@dataclass(frozen=True)
class Result:
    """All scores of one table of features on one task.

    Attributes
    ----------
    entries : list of dict
        As in results.json; see `docs/evaluation.md` for every field.
    predictions : dict of str to DataFrame
        For each entry with predictions, by its key: id, label, predicted, group.
    """

    entries: list[dict[str, Any]]
    predictions: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Score]:
        """The scores under the settings asked for: "nsc", "nscb" ..., for COOS-7 "test1" ..., "probe test1" ..."""
        return {name_of(entry): Score(entry) for entry in self.entries if not entry["beside"]}

    def to_frame(self) -> pd.DataFrame:
        """Return a row per score, with those beside the settings asked for."""
        import pandas as pd

        return pd.DataFrame(
            {
                "task": entry["task"],
                "split": entry["split"],
                "score": entry["score"],
                "model": entry["model"],
                "preprocess": entry["preprocess"],
                "standardise": entry["settings"]["standardise"],
                "value": entry["value"],
                "low": entry["interval"]["low"],
                "high": entry["interval"]["high"],
                "correct": entry["correct"],
                "n": entry["n"],
                "beside": entry["beside"],
            }
            for entry in self.entries
        )

    def summary(self) -> str:
        """Return the scores as text, one a line, with n, interval and settings."""
        return "\n".join(line(entry) for entry in self.entries)


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the short name of a score: `nsc`, `test1` (its kNN), `probe test1`."""
    if entry["split"] and entry["score"] == "knn":
        return entry["split"]
    return f"{entry['score']} {entry['split']}".strip()


def line(entry: Mapping[str, Any]) -> str:
    """Return a score in one line."""
    count = f"{entry['correct']} of {entry['n']:,}" if entry["correct"] is not None else f"n {entry['n']:,}"
    low, high = (100 * entry["interval"][side] for side in ("low", "high"))
    beside = "  (beside) " if entry["beside"] else "  "
    of = f"{entry['task']} {name_of(entry)} of {entry['model']}, {entry['preprocess'] or 'as given'}"
    return (
        f"{beside}{of}: {100 * entry['value']:.2f} % ({count}), 95 % interval {low:.1f} to {high:.1f}; "
        f"{settings_in_words(entry)}"
    )


def settings_in_words(entry: Mapping[str, Any]) -> str:
    """Return the settings a number belongs to, in words."""
    from ..scores.standardise import MEANING

    settings = entry["settings"]
    words = [MEANING[settings["standardise"]]]
    words += [settings["metric"]] if settings.get("metric") else []
    words += [f"k = {settings['k']}"] if settings.get("k") else []
    words += [f"{settings['features']:,} features"]
    words += [f"{settings['dropped']:,} constant or not finite left out"] if settings.get("dropped") else []
    words += [f"taxol {settings['taxol']}"] if settings.get("taxol", "all") != "all" else []
    words += [f"ties {settings['ties']}"] if settings.get("ties", "nearest") != "nearest" else []
    words += [f"labels {settings['cyclops_labels']}"] if settings.get("cyclops_labels", "clean") != "clean" else []
    words += [f"input {settings['input_size']}"] if settings.get("input_size") else []
    words += [f"{settings['constant_channels']:,} constant channels"] if settings.get("constant_channels") else []
    return ", ".join(words)


IDENTITY = ("task", "split", "score", "model", "preprocess")


CHOICES = ("standardise", "taxol", "ties", "cyclops_labels", "input_size", "seed")


def key_of(entry: Mapping[str, Any]) -> str:
    """Name a score by what it is of and the choices it rests on: a rerun of the same replaces it."""
    chosen = {name: entry["settings"][name] for name in CHOICES if name in entry["settings"]}
    said = json.dumps([[entry[name] for name in IDENTITY], chosen], sort_keys=True)
    words = "-".join(w for w in (entry["task"], entry["split"], entry["score"]) if w)
    return f"{words}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
