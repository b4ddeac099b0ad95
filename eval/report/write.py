"""Write results.json as one HTML page of tables and figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..results.score import NAMES, in_words, settings_in_words
from ..tasks.record import MODEL_KINDS, Presentation
from .page import Cell, Figure, Section, Table, write_page
from .plots import by_class_plot, score_plot
from .published import (
    AS_GIVEN,
    PUBLISHED_PREPROCESSING,
    headline_score,
    kind_of_entry,
    presentations,
    published_for,
)

Entry = Mapping[str, Any]
_PLOT_CAPTION = (
    "Filled: ours with its 95 % interval. Hollow: published. Dotted: accuracy of always predicting the largest class."
)
SIGNIFICANT = 0.05
ORDER = (*MODEL_KINDS, "")
PUBLISHED_NAMES = {
    "random": "random",
    "imagenet": "ImageNet",
    "cytoimagenet": "CytoImageNet",
    "fusion": "fusion",
}
READING = (
    "A score is the share of samples that are classified correctly. In brackets: Wilson's 95 % interval, which assumes "
    "independent samples. Cells of one well and doses of one compound are not independent: the grouped interval "
    "resamples complete groups, and is the more reliable one where it is wider.",
    "Published scores are shown for orientation: they were computed on the full sets, with other weights, and with the "
    "differences listed in the documentation.",
)


def write_report(
    results: Mapping[str, Any],
    out: str | PathLike[str],
    *,
    tasks: Iterable[Presentation] = (),
    title: str = "CytoImageNet: transfer scores",
    extra_sections: Sequence[Section] = (),
    notes: Sequence[str] = (),
    steps: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the report of an evaluation.

    Parameters
    ----------
    results : mapping
        The document of results.json, as `results.document.read` returns it.
    out : path
        A folder, in which `report.html` is written, or the HTML file itself. The file is self-contained.
    tasks : iterable of Presentation
        How to present tasks that are not those of the preprint; others are presented by their name.
    title : str
        The heading.
    extra_sections : sequence of Section
        Shown before the scores, such as the pictures of a dataset and the curves of its training; see `page.Section`.
    notes : sequence of str
        What was left out, and why.
    steps : sequence of mapping
        Duration and peak memory of each step: `step`, `seconds`, `peak_gb`.

    Returns
    -------
    Path
        The file.
    """
    entries = [entry for entry in results["results"] if entry["score"] != "shuffled"]
    controls = [entry for entry in results["results"] if entry["score"] == "shuffled"]
    shown = list(presentations(entries, tasks).values())
    sections = [
        *extra_sections,
        _headline(entries, shown, notes),
        *(_task(task, results, entries, controls) for task in shown),
        _provenance(results, entries, steps),
    ]
    path = Path(out)
    facts = {
        "tasks": ", ".join(task.name for task in shown) or "none",
        "models": ", ".join(dict.fromkeys(entry["model"] for entry in entries)) or "none",
        "cytoimagenet": results["versions"].get("cytoimagenet", "unknown"),
    }
    return write_page(path if path.suffix == ".html" else path / "report.html", title, sections, facts=facts)


def _headline(entries: Sequence[Entry], tasks: Sequence[Presentation], notes: Sequence[str]) -> Section:
    chosen = [entry for task in tasks for entry in _headline_entries(entries, task)]
    columns = list(dict.fromkeys(_column(entry) for entry in chosen))
    rows = []
    for task in tasks:
        for split in sorted({entry["split"] for entry in chosen if entry["task"] == task.name}):
            here = [entry for entry in chosen if entry["task"] == task.name and entry["split"] == split]
            found = {column: [entry for entry in here if _column(entry) == column] for column in columns}
            best = max(_mean(group) for group in found.values() if group)
            first = here[0]
            note = f"{in_words(first['score'])}; {first['n']:,} {task.unit}, {first['preprocess']}"
            row: list[Cell | None] = [Cell(f"{task.name} {split}".strip(), note=note)]
            row += [_with_published(found[column], best, task) for column in columns]
            record = task.best.get((first["score"], split))
            rows.append([*row, Cell(f"{record.percent:.2f} %", record.percent, record.publication) if record else None])
    # also those of earlier runs into the same folder, which are not among the notes of this one
    remarks = [f"{entry['task']}: {remark}" for entry in entries for remark in entry.get("remarks", ())]
    text = [*READING, *(task.reading for task in tasks if task.reading), *dict.fromkeys([*notes, *remarks])]
    table = Table(["task", *columns, "best published"], rows, note="Green: our best score of a row.")
    return Section("Scores", text, tables=[table])


def _headline_entries(entries: Sequence[Entry], task: Presentation) -> list[Entry]:
    """Return the entries of the headline score, with the published preprocessing if there are any."""
    headline = headline_score(task, entries)
    found = [e for e in entries if e["task"] == task.name and e["score"] == headline and not e["beside"]]
    methods = list(dict.fromkeys(entry["preprocess"] for entry in found))
    chosen = PUBLISHED_PREPROCESSING if PUBLISHED_PREPROCESSING in methods else next(iter(methods), "")
    # a table of features has no preprocessing of ours: it is shown next to the networks
    found = [entry for entry in found if entry["preprocess"] in (chosen, AS_GIVEN)]
    return sorted(found, key=lambda e: (ORDER.index(kind_of_entry(e)), e["model"], e["split"], e["key"]))


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


def _column(entry: Entry) -> str:
    """Return the model; all random networks share one column."""
    return "random" if kind_of_entry(entry) == "random" else entry["model"]


def _mean(group: Sequence[Entry]) -> float:
    return sum(entry["value"] for entry in group) / len(group)


def _with_published(group: Sequence[Entry], best: float, task: Presentation) -> Cell | None:
    if not group:
        return None
    value, first = _mean(group), group[0]
    if len(group) > 1:
        lowest, highest = (100 * pick(entry["value"] for entry in group) for pick in (min, max))
        note = f"mean of {len(group)}, {lowest:.1f} to {highest:.1f}"
    else:
        note = _brackets(first["interval"])
    published = published_for(first, task)
    if published:
        name = PUBLISHED_NAMES[kind_of_entry(first)]
        note += f"\npublished {name} {published.percent:.2f}\u00a0±\u00a0{published.half_width:.2f}"
    return Cell(_percent(value), value, note, "good" if value == best else "")


def _task(
    task: Presentation, results: Mapping[str, Any], entries: Sequence[Entry], controls: Sequence[Entry]
) -> Section:
    mine = [entry for entry in entries if entry["task"] == task.name]
    headline = _headline_entries(entries, task)
    figures, parts = [], []
    if headline:
        last = max(entry["split"] for entry in headline)  # COOS-7: the hardest set
        score = headline[0]["score"]
        figures.append(Figure(score_plot(headline, task), in_words(score), _PLOT_CAPTION))
        title = f"Accuracy by class{f', {last}' if last else ''}"
        figures.append(
            Figure(
                by_class_plot([e for e in headline if e["split"] == last]),
                title,
                "Per cent correct, best class on top.",
            )
        )
    every = [*mine, *(entry for entry in controls if entry["task"] == task.name)]
    methods = {entry["preprocess"] for entry in headline}
    paired = [pair for pair in results["paired"] if pair["task"] == task.name]
    # comparisons with one of the random networks are shown; those with the others are collapsed
    seeds = sorted({entry["model"] for entry in headline if kind_of_entry(entry) == "random"})[1:]
    keys = {entry["key"] for entry in headline if entry["model"] not in seeds}
    first = [pair for pair in paired if keys.issuperset(pair["keys"])]
    tables = [
        _all_scores([entry for entry in every if entry["preprocess"] in methods], "Scores"),
        _paired(first, "Two models on the same samples"),
    ]
    rest = _all_scores([entry for entry in every if entry["preprocess"] not in methods], "")
    if rest.rows:
        parts.append(Section(f"{len(rest.rows)} scores with other preprocessing", tables=[rest]))
    others = _paired([pair for pair in paired if pair not in first], "")
    if others.rows:
        parts.append(Section(f"{len(others.rows)} more comparisons of two models", tables=[others]))
    parts += [
        Section(f"Confusion and classes: {e['model']} {e['split']}".rstrip(), tables=[_confusion(e), _classes(e)])
        for e in headline
    ]
    return Section(
        task.title, [task.question] if task.question else [], figures, [table for table in tables if table.rows], parts
    )


def _all_scores(entries: Iterable[Entry], title: str) -> Table:
    rows = []
    for e in sorted(entries, key=_rank):
        spread = e["bootstrap"]
        tone = "" if e["score"] != "shuffled" else "quiet" if e["at_chance"] else "bad"
        rows.append(
            [
                Cell(in_words(e["score"]), note=_remark(e)),
                e["split"] or "–",
                e["model"],
                e["preprocess"],
                Cell(_percent(e["value"]), e["value"], _brackets(e["interval"]), tone),
                Cell(_brackets(spread), spread["low"], f"{spread['n_groups']} {spread['groups']}") if spread else None,
                _share(e, "macro"),
                _share(e, "f1"),
                Cell(f"{e['correct']:,} of {e['n']:,}", e["correct"]) if e["correct"] is not None else None,
                e["n"],
                Cell(settings_in_words(e), note=e["key"]),
            ]
        )
    columns = ["score", "set", "model", "preprocessing", "micro", "grouped", "macro", "F1", "correct", "n", "settings"]
    note = (
        "micro: every sample has the same weight; macro: every class has the same weight; grouped: 95 % interval over "
        "groups. Shuffled labels must score at chance; a control that does not is red. Below the settings: the key in "
        "results.json."
    )
    return Table(columns, rows, title, note)


def _remark(entry: Entry) -> str:
    if entry["score"] == "map":
        return f"p = {entry['p']:.2g} against random rankings" if "p" in entry else ""
    return "with a standardisation that was not chosen" if entry["beside"] else entry.get("of", "")


def _paired(paired: Iterable[Mapping[str, Any]], title: str) -> Table:
    rows = []
    for pair in paired:
        exact, grouped, corrected = pair["mcnemar"], pair["grouped_p"], pair.get("p_holm")
        rows.append(
            [
                in_words(pair["score"]),
                pair["split"] or "–",
                pair["preprocess"],
                *pair["models"],
                Cell(f"{100 * pair['difference']:+.2f}", pair["difference"]),
                exact["only_first"],
                exact["only_second"],
                Cell(f"{exact['p']:.3g}", exact["p"], tone="" if exact["p"] < SIGNIFICANT else "quiet"),
                Cell(f"{grouped:.3g}", grouped, tone="" if grouped < SIGNIFICANT else "quiet")
                if grouped is not None
                else None,
                Cell(f"{corrected:.3g}", corrected, tone="" if corrected < SIGNIFICANT else "quiet")
                if corrected is not None
                else None,
            ]
        )
    columns = ["score", "set", "preprocessing", "first", "second", "difference, points", "only first", "only second"]
    note = (
        "McNemar's exact test uses the samples that only one model classifies correctly; the test by groups swaps the "
        "models of complete groups. Holm: the p-value by groups (else McNemar's), corrected for all comparisons of "
        "this score and preprocessing, without those of two random networks and with mean intensity. Grey: p of 0.05 "
        "or more."
    )
    return Table([*columns, "p, McNemar", "p, groups", "p, Holm"], rows, title, note)


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


def _provenance(results: Mapping[str, Any], entries: Sequence[Entry], steps: Sequence[Mapping[str, Any]]) -> Section:
    """Return the section on features, duration and versions."""
    tables_of_features = {(e["task"], e["model"], e["preprocess"], e["digest"]): e for e in entries}
    rows = []
    for (task, model, method, digest), entry in sorted(tables_of_features.items(), key=lambda item: item[0]):
        settings = entry["settings"]
        weights = settings.get("weights", "–")
        weights = " + ".join(one[:12] for one in ([weights] if isinstance(weights, str) else weights))
        row = [task, model, method, str(settings.get("input_size", "–")), settings.get("engine", "–")]
        images = settings.get("images", "–")[:12]
        constant = settings.get("constant_channels")
        rows.append([*row, entry["rows"], entry["left_out"], constant, weights, images, digest[:12]])
    columns = ["task", "model", "preprocessing", "input size", "computed by", "rows", "left out", "constant channels"]
    digests = ["weights", "images", "features"]
    tables = [Table([*columns, *digests], rows, "Features", "The last three: the first 12 digits of their SHA-256.")]
    if steps:
        taken_by = [[step["step"], step["seconds"], step["peak_gb"]] for step in steps]
        note = "Of the last run; cached features took no time. Memory is the peak of the process until then."
        tables.append(Table(["step", "seconds", "memory, GB"], taken_by, "Time and memory", note))
    tables.append(Table(["package", "version"], [list(pair) for pair in results["versions"].items()], "Versions"))
    return Section("How the scores were computed", tables=tables)


def _brackets(interval: Mapping[str, Any]) -> str:
    return f"[{100 * interval['low']:.1f},\u00a0{100 * interval['high']:.1f}]"  # a space at which lines do not break


def _share(entry: Entry, name: str) -> Cell:
    return Cell(_percent(entry[name]), entry[name]) if entry.get(name) is not None else Cell("–", "", tone="quiet")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
