"""The table of scores at the top of the report: one row per test, one column per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..results.score import grouped_interval, in_words
from ..tasks.record import MODEL_KINDS, Presentation
from ..tasks.registry import TASKS
from .headline import headline_entries, model_in_words, name_of_test
from .page import Cell, Section, Table
from .published import CONTROL_MODEL, is_published_set, kind_of_entry

Entry = Mapping[str, Any]
BALANCED = "balanced accuracy"
OWN_MEASURES = (("knn", "value"), ("knn", "macro"), ("knn", "f1"), ("probe", "value"), ("probe", "macro"))
"""Of a task of a user's own, whose classes may differ much in size."""

MEASURES = {"value": "accuracy", "macro": BALANCED, "f1": "macro F1"}
PUBLISHED_NAMES = dict(zip(MODEL_KINDS, ("random", "ImageNet", "CytoImageNet", "fusion"), strict=True))
READING = (
    "In brackets: the 95 % interval, over groups where these are known (compounds, wells, donors: samples of one group "
    "tend to be right or wrong together), else Wilson's interval for independent samples. Balanced accuracy is the "
    "mean of the accuracies by class. Chance: always the largest class."
)


def overview(entries: Sequence[Entry], tasks: Sequence[Presentation]) -> Section:
    """Return the section of scores, with the published scores in a part of its own where they can be compared."""
    headlines = {task.name: headline_entries(entries, task) for task in tasks}
    columns = list(dict.fromkeys(_column(entry) for found in headlines.values() for entry in found))
    # the control comes last
    columns.sort(key=lambda name: name == model_in_words(CONTROL_MODEL))
    rows = []
    for task in tasks:
        for split in sorted({entry["split"] for entry in headlines[task.name]}):
            here = [entry for entry in headlines[task.name] if entry["split"] == split]
            for score, measure in [(here[0]["score"], "value")] if task.name in TASKS else OWN_MEASURES:
                rows += _row(task, here, entries, score, measure, columns)
    table = Table(["test", *columns, "chance"], rows, note=READING)
    compared = [entry for task in tasks for entry in headlines[task.name] if is_published_set(entry, task)]
    parts = [_published(compared, tasks)] if compared else []
    text = [task.reading for task in tasks if task.reading and any(e["task"] == task.name for e in compared)]
    return Section("Scores", text, tables=[table] if rows else [], parts=parts)


def _row(
    task: Presentation,
    headline: Sequence[Entry],
    entries: Sequence[Entry],
    score: str,
    measure: str,
    columns: Sequence[str],
) -> list[list[Cell | None]]:
    """Return the row of one measure, or none if no model has it."""
    methods = {entry["preprocess"] for entry in headline}
    split = headline[0]["split"]
    found: dict[str, list[Entry]] = {}
    for e in headline if score == headline[0]["score"] else _others(entries, task, split, score, methods):
        if e.get(measure) is not None:
            found.setdefault(_column(e), []).append(e)
    if not found:
        return []
    first = next(iter(found.values()))[0]
    words = in_words(score) if measure == "value" else f"{in_words(score)}, {MEASURES[measure]}"
    note = f"{words}; {first['n']:,} {task.unit}"
    cells: list[Cell | None] = [Cell(name_of_test(first, task), note=note)]
    cells += [_cell(found[column], measure) if column in found else None for column in columns]
    return [[*cells, _chance(first, measure)]]


def _others(entries: Sequence[Entry], task: Presentation, split: str, score: str, methods: set[str]) -> list[Entry]:
    of = {"task": task.name, "split": split, "score": score, "beside": False}
    return [e for e in entries if e["preprocess"] in methods and all(e[name] == value for name, value in of.items())]


def _column(entry: Entry) -> str:
    """Return the column of a model; all random networks share one."""
    return "random weights" if kind_of_entry(entry) == "random" else model_in_words(entry["model"])


def _cell(group: Sequence[Entry], measure: str) -> Cell:
    values = [entry[measure] for entry in group]
    value = sum(values) / len(values)
    if len(group) > 1:
        note = f"mean of {len(group)}: {100 * min(values):.1f} to {100 * max(values):.1f}"
    else:
        note = brackets(grouped_interval(group[0]) or group[0]["interval"]) if measure == "value" else ""
    return Cell(f"{100 * value:.1f} %", value, note)


def _chance(entry: Entry, measure: str) -> Cell | None:
    counts = [c["n"] for c in entry.get("by_class") or () if c["n"]]
    if not counts or measure == "f1" or entry["correct"] is None:
        return None
    chance = max(counts) / sum(counts) if measure == "value" else 1 / len(counts)
    return Cell(f"{100 * chance:.1f} %", chance, tone="quiet")


def _published(entries: Sequence[Entry], tasks: Sequence[Presentation]) -> Section:
    """Return the published scores of the tests whose complete published set was scored."""
    rows: list[list[Cell | None]] = []
    for task in tasks:
        tests = {entry["split"]: entry for entry in entries if entry["task"] == task.name}
        for split, entry in sorted(tests.items()):
            cells: list[Cell | None] = [Cell(name_of_test(entry, task))]
            for kind in MODEL_KINDS:
                found = task.published.get((split, kind))
                text = found and f"{found.percent:.2f}\u00a0±\u00a0{found.half_width:.2f}"
                cells.append(Cell(text, found.percent) if found and text else None)
            best = task.best.get((entry["score"], split))
            rows.append([*cells, Cell(f"{best.percent:.2f}", best.percent, best.publication) if best else None])
    note = (
        "Accuracy in %, ± half of Wald's 95 % interval, of the preprint (normalised channels, features concatenated). "
        "They were computed with other weights, and with the differences that the documentation lists."
    )
    names = [PUBLISHED_NAMES[kind] for kind in MODEL_KINDS]
    return Section(
        "Published scores of these sets", tables=[Table(["test", *names, "best of any method"], rows, note=note)]
    )


def brackets(interval: Mapping[str, Any]) -> str:
    """Return an interval of shares in per cent."""
    return f"[{100 * interval['low']:.1f},\u00a0{100 * interval['high']:.1f}]"  # a space at which lines do not break
