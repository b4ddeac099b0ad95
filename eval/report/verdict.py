"""Is a model better than the baseline? One difference per test, with its interval, and a verdict in words.

The baseline is ImageNet where it was scored, else random weights, else the first table in alphabetical order. The
p-values are those of the tests over groups (McNemar's where no groups are known), corrected by Holm's method for all
comparisons with a baseline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..results.paired import corrected
from ..tasks.record import Presentation
from .headline import headline_entries, model_in_words, name_of_test
from .page import Contrast, Verdict
from .published import CONTROL_MODEL, kind_of_entry

SIGNIFICANT = 0.05

Outcome = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Difference:
    """A model against the baseline in one test.

    Attributes
    ----------
    test : str
        The test in words.
    model, baseline : str
    value : float
        Accuracy of the model minus that of the baseline, from -1 to 1.
    low, high : float or None
        Its 95 % interval; None where there are too few groups.
    n : int
        Number of samples.
    n_groups : int
        Number of groups; 0 where none are known.
    grouped_by : str
        Name of the groups, in the plural.
    p : float
        p-value, corrected for all comparisons with a baseline.
    """

    test: str
    model: str
    baseline: str
    value: float
    low: float | None
    high: float | None
    n: int
    n_groups: int
    grouped_by: str
    p: float

    @property
    def groups(self) -> str:
        """Number and name of the groups; "" where none are known."""
        return f"{self.n_groups} {self.grouped_by}" if self.n_groups else ""

    @property
    def outcome(self) -> Outcome:
        """What the test says."""
        if self.p >= SIGNIFICANT:
            return "not distinguishable"
        return "better" if self.value > 0 else "worse"


def differences(results: Mapping[str, Any], tasks: Iterable[Presentation]) -> list[Difference]:
    """Return the differences of all models from their baseline in the headline scores.

    Parameters
    ----------
    results : mapping
        The document of results.json.
    tasks : iterable of Presentation
    """
    found = []
    for task in tasks:
        entries = headline_entries(results["results"], task)
        tests: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
        for entry in entries:
            tests.setdefault((entry["split"], entry["preprocess"]), []).append(entry)
        for here in tests.values():
            baseline, models = _baseline(here)
            for entry in here:
                if entry["model"] in models:
                    found += [_difference(pair, entry, task) for pair in _pairs(results, entry, baseline)]
    p_values = corrected([one.p for one in found])
    return [replace(one, p=p) for one, p in zip(found, p_values, strict=True)]


def _baseline(entries: Sequence[Mapping[str, Any]]) -> tuple[str, set[str]]:
    """Return the baseline of a test and the models that are compared with it."""
    models = sorted({entry["model"] for entry in entries} - {CONTROL_MODEL})
    random = sorted({entry["model"] for entry in entries if kind_of_entry(entry) == "random"})
    trained = [model for model in models if model not in random]
    if "imagenet" in trained and len(trained) > 1:
        return "imagenet", set(trained) - {"imagenet"}
    if random:
        return random[0], set(trained)
    return (trained[0], set(trained[1:])) if trained else ("", set())


def _pairs(results: Mapping[str, Any], entry: Mapping[str, Any], baseline: str) -> list[Mapping[str, Any]]:
    """Return the comparisons of an entry with the baseline, as first minus second for the entry as the first."""
    found: list[Mapping[str, Any]] = []
    for pair in results["paired"]:
        if entry["key"] not in pair["keys"] or baseline not in pair["models"]:
            continue
        if pair["keys"][0] == entry["key"]:
            found.append(pair)
        else:
            interval = pair.get("interval")
            turned = interval and {"low": -interval["high"], "high": -interval["low"]}
            found.append(
                {**pair, "models": pair["models"][::-1], "difference": -pair["difference"], "interval": turned}
            )
    return found


def _difference(pair: Mapping[str, Any], entry: Mapping[str, Any], task: Presentation) -> Difference:
    interval = pair.get("interval") or {"low": None, "high": None}
    by_groups = pair["grouped_p"] is not None
    spread = entry["bootstrap"] or {}
    n_groups = pair.get("n_groups") or spread.get("n_groups", 0)
    return Difference(
        test=name_of_test(entry, task),
        model=entry["model"],
        baseline=pair["models"][1],
        value=pair["difference"],
        low=interval["low"],
        high=interval["high"],
        n=pair["n"],
        n_groups=n_groups if by_groups else 0,
        grouped_by=spread.get("groups", "groups"),
        p=pair["grouped_p"] if by_groups else pair["mcnemar"]["p"],
    )


def verdicts(found: Sequence[Difference]) -> list[Verdict]:
    """Return one verdict per model and baseline, to be shown on the page."""
    by_model: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        by_model.setdefault((one.model, one.baseline), []).append(one)
    return [
        Verdict(
            sentence=sentence(some),
            left=f"{model_in_words(baseline)} better",
            right=f"{model_in_words(model)} better",
            rows=[_contrast(one) for one in some],
        )
        for (model, baseline), some in by_model.items()
    ]


def sentences(results: Mapping[str, Any], tasks: Iterable[Presentation]) -> list[str]:
    """Return the verdict on each model as a sentence."""
    return [one.sentence for one in verdicts(differences(results, tasks))]


def sentence(some: Sequence[Difference]) -> str:
    """Return the verdict on one model as a sentence.

    Examples
    --------
    >>> one = Difference("COOS-7, test1", "first", "imagenet", 0.1, 0.05, 0.15, 500, 30, "wells", 0.001)
    >>> sentence([one])
    'Your model first is better than ImageNet on COOS-7, test1.'
    >>> sentence([one, replace(one, value=-0.1), replace(one, p=0.5)])
    'Your model first is better than ImageNet on 1 of 3 tests, worse on 1, not distinguishable on 1.'
    """
    first = some[0]
    known = first.model == "imagenet" or first.model.startswith(("random", "fusion of "))
    model, baseline = model_in_words(first.model), model_in_words(first.baseline)
    if known:
        subject = model[:1].upper() + model[1:]
    else:  # among one's own tables alone, none is more one's own than the other
        subject = f"Your model {model}" if first.baseline.startswith(("imagenet", "random")) else model
    if len(some) == 1:
        if first.outcome == "not distinguishable":
            return f"{subject} is not distinguishable from {baseline} on {first.test}."
        return f"{subject} is {first.outcome} than {baseline} on {first.test}."
    count = {
        outcome: sum(one.outcome == outcome for one in some) for outcome in ("better", "worse", "not distinguishable")
    }
    n = len(some)
    if count["not distinguishable"] == n:
        return f"{subject} is not distinguishable from {baseline} on any of {n} tests."
    if count["better"]:
        words = f"{subject} is better than {baseline} on {count['better']} of {n} tests"
        words += f", worse on {count['worse']}"
    else:
        words = f"{subject} is worse than {baseline} on {count['worse']} of {n} tests, better on none"
    return f"{words}, not distinguishable on {count['not distinguishable']}."


def how_it_was_tested(found: Sequence[Difference]) -> str:
    """Return how the differences were tested, as sentences."""
    with_groups = [one for one in found if one.groups]
    words = "Dot: difference in correctly classified samples, in percentage points. Bar: its 95 % interval. "
    if len(with_groups) == len(found):
        words += "Both the interval and the test resample complete groups"
    elif with_groups:
        words += "Interval and test resample complete groups where groups are known, else single samples"
    else:
        words += "No groups are known: samples are taken as independent, which may make the intervals too narrow"
    many = len(found)
    words += f"; p is corrected for {many} comparisons (Holm)." if many > 1 else "."
    few = [one for one in with_groups if one.low is None]
    if few:
        words += f" No interval is shown for fewer than 5 groups ({few[0].test}: {few[0].groups})."
    words += f" Better or worse means p below {SIGNIFICANT}."
    if any(one.outcome == "not distinguishable" and (one.low or 0) * (one.high or 0) > 0 for one in found):
        words += (
            " Where the bar does not reach zero but p is larger, trust p: bars are not corrected for the number of "
        )
        words += "comparisons, and are too short with few groups."
    hopeless = next((one for one in with_groups if 2.0 ** (1 - one.n_groups) >= SIGNIFICANT), None)
    if hopeless:
        smallest = 2.0 ** (1 - hopeless.n_groups)
        words += f" With {hopeless.groups} ({hopeless.test}), p can't be below {smallest:.2g} whatever the difference."
    return words


def _contrast(one: Difference) -> Contrast:
    tone = {"better": "good", "worse": "bad", "not distinguishable": "quiet"}[one.outcome]
    note = f"{one.n:,} samples, {one.groups}" if one.groups else f"{one.n:,} samples"
    low, high = (None if value is None else 100 * value for value in (one.low, one.high))
    return Contrast(one.test, note, 100 * one.value, low, high, one.outcome, _p(one.p), tone)


def _p(p: float) -> str:
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"
