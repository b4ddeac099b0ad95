"""What the report shows of a task on request: all scores, all comparisons, classes and their confusion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..results.score import NAMES, grouped_interval, in_words, settings_in_words
from ..tasks.record import Presentation
from .headline import ORDER, headline_entries, model_in_words
from .overview import brackets
from .page import Cell, Figure, Section, Table
from .plots import by_class_plot, score_plot
from .published import is_published_set, kind_of_entry
from .verdict import SIGNIFICANT

Entry = Mapping[str, Any]


def details(task: Presentation, results: Mapping[str, Any]) -> Section:
    """Return the section of a task, collapsed at first."""
    every = [entry for entry in results["results"] if entry["task"] == task.name]
    headline = headline_entries(every, task)
    paired = [pair for pair in results["paired"] if pair["task"] == task.name]
    refused = [pair for pair in results.get("not_compared", ()) if pair["task"] == task.name]
    methods = {entry["preprocess"] for entry in headline}
    here = [entry for entry in every if entry["preprocess"] in methods]
    others = [entry for entry in every if entry["preprocess"] not in methods]
    parts = []
    if headline:
        parts.append(Section("Plots: scores and accuracy by class", figures=_figures(headline, task)))
    for some, title in ((here, "All scores"), (others, "Scores with other preprocessing")):
        if some:
            parts.append(Section(f"{title} ({len(some)})", tables=[_all_scores(some, task)]))
    if paired or refused:
        points = [f"{' and '.join(one['models'])}, {in_words(one['score'])}: {one['reason']}." for one in refused]
        text = ["Not compared:"] if refused else []
        tables = [_paired(paired, task)] if paired else []
        parts.append(Section(f"Comparisons of two models ({len(paired)})", text, points=points, tables=tables))
    parts += [
        Section(
            f"Confusion and classes: {model_in_words(e['model'])} {e['split']}".rstrip(),
            tables=[_confusion(e), _classes(e)],
        )
        for e in headline
    ]
    text = [task.question] if task.question else []
    return Section(f"Details: {task.title}", text, parts=parts, folded=True)


def _figures(headline: Sequence[Entry], task: Presentation) -> list[Figure]:
    caption = (
        "Filled: the score with its 95 % interval, over groups where they are known. "
        "Dotted: accuracy of always predicting the largest class."
    )
    if any(is_published_set(entry, task) for entry in headline):
        caption += " Hollow: published."
    last = max(entry["split"] for entry in headline)  # COOS-7: the hardest set
    return [
        Figure(score_plot(headline, task), in_words(headline[0]["score"]), caption),
        Figure(
            by_class_plot([e for e in headline if e["split"] == last]),
            f"Accuracy by class{f', {last}' if last else ''}",
            "Per cent correct, best class on top.",
        ),
    ]


def _all_scores(entries: Iterable[Entry], task: Presentation) -> Table:
    rows = []
    for e in sorted(entries, key=_rank):
        tone = "" if e["score"] != "shuffled" else "quiet" if e["at_chance"] else "bad"
        note = "; ".join(filter(None, (_remark(e), settings_in_words(e))))
        rows.append(
            [
                Cell(f"{in_words(e['score'])}{', ' if e['split'] else ''}{e['split']}", note=note),
                Cell(model_in_words(e["model"]), note=e["preprocess"]),
                Cell(_percent(e["value"]), e["value"], brackets(e["interval"]), tone),
                _over_groups(e),
                _share(e, "macro"),
                _share(e, "f1"),
                Cell(f"{e['correct']:,} of {e['n']:,}", e["correct"])
                if e["correct"] is not None
                else Cell(f"n {e['n']:,}", e["n"]),
            ]
        )
    columns = ["score", "model", "accuracy", "over groups", "balanced accuracy", "macro F1", "correct"]
    note = (
        "Accuracy with Wilson's 95 % interval, and the interval over groups (none with fewer than 5). Mean average "
        "precision is shown as accuracy. Shuffled labels must score at chance; a control that does not is red."
    )
    return Table(columns, rows, note=note)


def _over_groups(entry: Entry) -> Cell | None:
    spread, interval = entry["bootstrap"], grouped_interval(entry)
    if not spread:
        return None
    note = f"{spread['n_groups']} {spread['groups']}"
    return Cell(brackets(interval), interval["low"], note) if interval else Cell("–", "", note, "quiet")


def _remark(entry: Entry) -> str:
    if entry["score"] == "map":
        return f"p = {entry['p']:.2g} against random rankings" if "p" in entry else ""
    return "with a standardisation that was not chosen" if entry["beside"] else entry.get("of", "")


def _paired(paired: Iterable[Mapping[str, Any]], task: Presentation) -> Table:
    rows = []
    for pair in paired:
        exact = pair["mcnemar"]
        what = ", ".join(filter(None, (in_words(pair["score"]), pair["split"])))
        left_out = f"; {pair['left_out']:,} scored by one of them only" if pair.get("left_out") else ""
        interval = pair.get("interval")
        first, second = map(model_in_words, pair["models"])
        rows.append(
            [
                Cell(f"{first} – {second}", note=f"{what}, {pair['preprocess']}; {pair['n']:,} {task.unit}{left_out}"),
                Cell(f"{100 * pair['difference']:+.2f}", pair["difference"], brackets(interval) if interval else ""),
                Cell(f"{exact['only_first']:,} : {exact['only_second']:,}", exact["only_first"]),
                *(_p(p) for p in (exact["p"], pair["grouped_p"], pair.get("p_holm"))),
            ]
        )
    columns = ["models", "difference, points", "only one right", "p, McNemar", "p, groups", "p, Holm"]
    note = (
        "Difference: first minus second, with its 95 % interval over groups where they are known. McNemar's exact test "
        "uses the samples that only one model classifies correctly; the test by groups swaps the models of complete "
        "groups. Holm: the p-value by groups (else McNemar's), corrected for all comparisons of this score and "
        "preprocessing in results.json, without those of two random networks and with mean intensity. Grey: p of 0.05 "
        "or more."
    )
    return Table(columns, rows, note=note)


def _p(p: float | None) -> Cell | None:
    return None if p is None else Cell(f"{p:.3g}", p, tone="" if p < SIGNIFICANT else "quiet")


def _confusion(entry: Entry) -> Table:
    labels, counts = entry["confusion"]["labels"], entry["confusion"]["counts"]
    columns = [*labels, "unclassified"] if any(row[-1] for row in counts) else labels
    rows = []
    for label, row in zip(labels, counts, strict=True):
        total = max(1, sum(row))
        cells = [Cell(f"{c:,}" if c else "", heat=c / total) for c in row[: len(columns)]]
        rows.append([Cell(label), *cells])
    return Table(["true \\ predicted", *columns], rows, "Confusion", "Rows are true classes.", matrix=True)


def _classes(entry: Entry) -> Table:
    rows = [
        [c["label"], c["n"], c["correct"], *(Cell(_percent(c[k]), c[k]) for k in ("accuracy", "precision", "f1"))]
        for c in entry["by_class"]
    ]
    never = [c["label"] for c in entry["by_class"] if c["n"] and not c["correct"]]
    note = f"Never correct: {', '.join(never)}." if never else "Every class is correct at least once."
    return Table(["class", "n", "correct", "accuracy", "precision", "F1"], rows, "By class", note)


def _rank(entry: Entry) -> tuple[Any, ...]:
    """Return the sort key of a score: the headline first, controls last, networks in the published order."""
    score = list(NAMES).index(entry["score"]) if entry["score"] in NAMES else len(NAMES)
    return (
        score,
        entry["split"],
        entry["beside"],
        entry["preprocess"],
        ORDER.index(kind_of_entry(entry)),
        entry["model"],
    )


def _share(entry: Entry, name: str) -> Cell:
    return Cell(_percent(entry[name]), entry[name]) if entry.get(name) is not None else Cell("–", "", tone="quiet")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
