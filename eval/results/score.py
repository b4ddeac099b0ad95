"""What an evaluation returns: scores, each with its sample size, interval and settings."""

from __future__ import annotations

import hashlib
import json
import re
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
"""The scores and their names in words, in the order in which they are shown."""

IDENTITY = ("task", "split", "score", "model", "preprocess")
"""The fields of an entry that name the score."""

MAX_WORDS = 80  # characters of a key in front of its hash
CHOICES = (
    "standardise",
    "taxol",
    "ties",
    "cyclops_labels",
    "input_size",
    "seed",
    "label",
    "group",
    "split",
    "features_prefix",
)
"""The settings that are part of the key of an entry: a score with others is another entry."""


class Score(float):
    """A score as a fraction, with its sample size, interval and settings.

    It is a number, so `score > 0.8` works. `entry` contains everything that is written to results.json; the fields of
    `docs/evaluation.md` are properties. A field that this kind of score does not have raises an `AttributeError`.

    Examples
    --------
    >>> score = Score({"value": 0.84, "correct": 84, "n": 100, "interval": {"low": 0.76, "high": 0.9}, "settings": {}})
    >>> score > 0.8, score.correct, score.n, score.low
    (True, 84, 100, 0.76)
    """

    entry: Mapping[str, Any]

    def __new__(cls, entry: Mapping[str, Any]) -> Score:
        """Create the score of an entry of results.json."""
        score = super().__new__(cls, entry["value"])
        score.entry = entry
        return score

    def __reduce__(self) -> tuple[Any, ...]:
        return Score, (self.entry,)

    def _field(self, name: str) -> Any:
        try:
            return self.entry[name]
        except KeyError:
            raise AttributeError(f"The score {self.entry.get('score', '')!r} has no {name!r}") from None

    @property
    def key(self) -> str:
        """The key of the entry in results.json."""
        found: str = self._field("key")
        return found

    @property
    def n(self) -> int:
        """The number of samples."""
        found: int = self._field("n")
        return found

    @property
    def correct(self) -> int | None:
        """The number of samples classified correctly; None for scores that do not count samples."""
        found: int | None = self._field("correct")
        return found

    @property
    def unclassified(self) -> int:
        """The number of samples without a candidate; they count as wrong."""
        found: int = self._field("unclassified")
        return found

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        found: float = self._field("interval")["low"]
        return found

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""
        found: float = self._field("interval")["high"]
        return found

    @property
    def interval(self) -> dict[str, Any]:
        """The 95 % interval: method, level, low, high."""
        found: dict[str, Any] = self._field("interval")
        return found

    @property
    def bootstrap(self) -> dict[str, Any] | None:
        """The interval from resampling groups; None where no groups are known, without ends for fewer than five."""
        found: dict[str, Any] | None = self._field("bootstrap")
        return found

    @property
    def macro(self) -> float:
        """The mean of the accuracies by class."""
        found: float = self._field("macro")
        return found

    @property
    def f1(self) -> float:
        """The mean F1 of the classes."""
        found: float = self._field("f1")
        return found

    @property
    def by_class(self) -> list[dict[str, Any]]:
        """The figures of each class."""
        found: list[dict[str, Any]] = self._field("by_class")
        return found

    @property
    def confusion(self) -> dict[str, Any]:
        """The confusion matrix: labels, and counts with one row per true class."""
        found: dict[str, Any] = self._field("confusion")
        return found

    @property
    def p(self) -> float:
        """The p-value of mean average precision or of a shuffled control."""
        found: float = self._field("p")
        return found

    @property
    def chance(self) -> float:
        """Of a shuffled control: the accuracy of always predicting the largest class."""
        found: float = self._field("chance")
        return found

    @property
    def at_chance(self) -> bool:
        """Of a shuffled control: whether it scores no better than chance, as it must."""
        found: bool = self._field("at_chance")
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the features and of the score."""
        found: dict[str, Any] = self._field("settings")
        return found


@dataclass(frozen=True)
class Result:
    """All scores of one table of features on one task.

    Attributes
    ----------
    entries : list of dict
        As in results.json; `docs/evaluation.md` documents every field.
    predictions : dict of str to DataFrame
        The predictions of each entry that has any, by its key: id, label, predicted, group.
    """

    entries: list[dict[str, Any]]
    predictions: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Score]:
        """The scores under the chosen settings: "nsc", "nscb" ...; for COOS-7 "test1" ..., "probe test1" ..."""
        return {name_of(entry): Score(entry) for entry in self.entries if not entry["beside"]}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per score, including those under settings that were not chosen (`beside`)."""
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
        """Return the scores as text, one per line, with n, interval and settings."""
        return "\n".join(line(entry) for entry in self.entries)


def name_of(entry: Mapping[str, Any]) -> str:
    """Return the short name of a score: `nsc`, `test1` (its kNN), `probe test1`.

    Examples
    --------
    >>> name_of({"score": "knn", "split": "test1"}), name_of({"score": "probe", "split": "test1"})
    ('test1', 'probe test1')
    """
    score, split = str(entry["score"]), str(entry["split"])
    return split if split and score == "knn" else f"{score} {split}".strip()


def grouped_interval(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the interval over groups of an entry; None where no or few groups are known."""
    spread: Mapping[str, Any] | None = entry.get("bootstrap")
    return spread if spread and spread["low"] is not None else None


def in_words(score: str) -> str:
    """Return the name of a score in words, or the score itself if it has none."""
    return NAMES.get(score, score)


def line(entry: Mapping[str, Any]) -> str:
    """Return a score as one line of text."""
    count = f"{entry['correct']} of {entry['n']:,}" if entry["correct"] is not None else f"n {entry['n']:,}"
    low, high = (100 * entry["interval"][side] for side in ("low", "high"))
    mark = "  (not chosen) " if entry["beside"] else "  "
    of = f"{entry['task']} {name_of(entry)} of {entry['model']}, {entry['preprocess'] or 'as given'}"
    return (
        f"{mark}{of}: {100 * entry['value']:.2f} % ({count}), 95 % interval {low:.1f} to {high:.1f}; "
        f"{settings_in_words(entry)}"
    )


def settings_in_words(entry: Mapping[str, Any]) -> str:
    """Return the settings of a score in words."""
    from ..scores.standardise import MEANING

    settings = entry["settings"]
    words = [MEANING[settings["standardise"]]]
    words += [settings["metric"]] if settings.get("metric") else []
    words += [f"k = {settings['k']}"] if settings.get("k") else []
    words += [f"{settings['features']:,} features"]
    words += [settings["folds"]] if settings.get("folds") else []
    words += [f"{settings['dropped']:,} constant or not finite left out"] if settings.get("dropped") else []
    words += [f"taxol {settings['taxol']}"] if settings.get("taxol", "all") != "all" else []
    words += [f"ties {settings['ties']}"] if settings.get("ties", "nearest") != "nearest" else []
    words += [f"labels {settings['cyclops_labels']}"] if settings.get("cyclops_labels", "clean") != "clean" else []
    words += [f"input {settings['input_size']}"] if settings.get("input_size") else []
    words += [f"{settings['constant_channels']:,} constant channels"] if settings.get("constant_channels") else []
    return ", ".join(words)


def key_of(entry: Mapping[str, Any]) -> str:
    """Return the key of an entry: a rerun of the same score with the same choices gets the same key."""
    chosen = {name: entry["settings"][name] for name in CHOICES if name in entry["settings"]}
    identity = json.dumps([[entry[name] for name in IDENTITY], chosen], sort_keys=True)
    words = "-".join(w for w in (entry["task"], entry["split"], entry["score"]) if w)
    # a user's task or split may be called anything, and this becomes the name of a file
    safe = re.sub(r"[^\w.+() -]", "-", words)[:MAX_WORDS].strip(". ")
    return f"{safe}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
