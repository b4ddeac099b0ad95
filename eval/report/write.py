"""results.json as one HTML page that people would rather look at than read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from ..results.score import NAMES, settings_in_words
from .page import Cell, Figure, Section, Table, write_page
from .plots import by_class_plot, score_plot
from .published import AS_GIVEN, BEST, HEADLINE, PUBLISHED, kind_of

Entry = Mapping[str, Any]
TITLES = {
    "bbbc021": "BBBC021: mechanism of action",
    "coos7": "COOS-7: protein localisation",
    "cyclops": "CYCLoPs: yeast",
}
ASKS = {
    "bbbc021": "Does a treatment lie closest to a treatment of another compound with the same mechanism of action?",
    "coos7": "Do the 11 nearest training cells name the protein's place, in four test sets of growing shift?",
    "cyclops": "Do the 11 nearest other yeast cells name the protein's place?",
}
_PLOT_CAPTION = "Filled: ours with its 95 % interval. Hollow: published. Dotted: always naming the largest class."
PUBLISHED_METHOD = "concat-norm"  # preprint, tables 2 to 4
SIGNIFICANT = 0.05
ORDER = ("random", "imagenet", "cytoimagenet", "fusion", "")
PUBLISHED_NAMES = {
    "random": "random",
    "imagenet": "ImageNet",
    "cytoimagenet": "CytoImageNet",
    "fusion": "fusion",
}
READING = (
    "A score is the share of samples classified right. In brackets: Wilson's 95 % interval, which takes samples as "
    "independent. Cells of one well and doses of one compound are not: the grouped interval resamples whole groups, "
    "and is the one to believe where it is wider.",
    "Published numbers stand beside ours for orientation: they were computed on the full sets, with other weights, "
    "and with the deviations named in the documentation.",
)
THREE_TREATMENTS = (
    "On BBBC021 the published 83.50 % is 86 of 103 treatments and 86.41 % is 89: three treatments separate fusion from "
    "ImageNet, far inside the interval of either."
)


def write_report(
    results: Mapping[str, Any],
    out: str | PathLike[str],
    *,
    title: str = "CytoImageNet: transfer scores",
    extra_sections: Sequence[Section] = (),
    notes: Sequence[str] = (),
    steps: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write the report of an evaluation.

    Parameters
    ----------
    results : mapping
        The document of results.json, as `results.read` returns it.
    out : path
        A folder, which gets `report.html`, or the HTML file itself. The file is whole in itself.
    title : str
        Its heading.
    extra_sections : sequence of Section
        Shown before the scores, such as a dataset's pictures and the curves of its training; see `page.Section`.
    notes : sequence of str
        What was left out, and why.
    steps : sequence of mapping
        What took how long and how much memory: `step`, `seconds`, `peak_gb`.

    Returns
    -------
    Path
        The file.
    """
    entries = [entry for entry in results["results"] if entry["score"] != "shuffled"]
    controls = [entry for entry in results["results"] if entry["score"] == "shuffled"]
    tasks = [task for task in TITLES if any(entry["task"] == task for entry in entries)]
    sections = [
        *extra_sections,
        _headline(entries, tasks, notes),
        *(_task(task, results, entries, controls) for task in tasks),
        _stands_on(results, entries, steps),
    ]
    path = Path(out)
    facts = {
        "tasks": ", ".join(tasks) or "none",
        "models": ", ".join(dict.fromkeys(entry["model"] for entry in entries)) or "none",
        "cytoimagenet": results["versions"].get("cytoimagenet", "unknown"),
    }
    return write_page(path if path.suffix == ".html" else path / "report.html", title, sections, facts=facts)


def _headline(entries: Sequence[Entry], tasks: Sequence[str], notes: Sequence[str]) -> Section:
    chosen = [entry for task in tasks for entry in _headline_entries(entries, task)]
    columns = list(dict.fromkeys(_column(entry) for entry in chosen))
    rows = []
    for task in tasks:
        for split in sorted({entry["split"] for entry in chosen if entry["task"] == task}):
            here = [entry for entry in chosen if entry["task"] == task and entry["split"] == split]
            found = {name: [entry for entry in here if _column(entry) == name] for name in columns}
            best = max(_mean(group) for group in found.values() if group)
            first = here[0]
            said = f"{first['n']:,} {_samples(task)}, {first['preprocess']}"
            row: list[Cell | None] = [Cell(f"{task} {split}".strip(), note=f"{NAMES[first['score']]}; {said}")]
            row += [_beside_published(found[name], best) for name in columns]
            record = BEST.get((task, first["score"], split))
            rows.append([*row, Cell(f"{record[0]:.2f} %", record[0], record[1]) if record else None])
    text = [*READING, *([THREE_TREATMENTS] if "bbbc021" in tasks else []), *notes]
    table = Table(["task", *columns, "best published"], rows, note="Green: our best of a row.")
    return Section("Scores", text, tables=[table])


def _headline_entries(entries: Sequence[Entry], task: str) -> list[Entry]:
    """Return the entries of the published kind: its score and, where it was run, its preprocessing."""
    found = [e for e in entries if e["task"] == task and e["score"] == HEADLINE[task] and not e["beside"]]
    methods = list(dict.fromkeys(entry["preprocess"] for entry in found))
    chosen = PUBLISHED_METHOD if PUBLISHED_METHOD in methods else next(iter(methods), "")
    # a table of somebody's features has no preprocessing of ours: it stands beside the networks
    found = [entry for entry in found if entry["preprocess"] in (chosen, AS_GIVEN)]
    return sorted(found, key=lambda e: (ORDER.index(_kind(e)), e["model"], e["split"], e["key"]))


def _rank(entry: Entry) -> tuple:
    """Sort scores as they are read: the published one first, controls last, networks in the published order."""
    score = list(NAMES).index(entry["score"]) if entry["score"] in NAMES else len(NAMES)
    return score, entry["split"], entry["beside"], entry["preprocess"], ORDER.index(_kind(entry)), entry["model"]


def _column(entry: Entry) -> str:
    """Return the model; the seeds of random weights are one."""
    return "random" if _kind(entry) == "random" else entry["model"]


def _kind(entry: Entry) -> str:
    return "" if entry["preprocess"] == AS_GIVEN else kind_of(entry["model"])


def _mean(group: Sequence[Entry]) -> float:
    return sum(entry["value"] for entry in group) / len(group)


def _beside_published(group: Sequence[Entry], best: float) -> Cell | None:
    if not group:
        return None
    value, first = _mean(group), group[0]
    if len(group) > 1:
        lowest, highest = (100 * pick(entry["value"] for entry in group) for pick in (min, max))
        note = f"mean of {len(group)}, {lowest:.1f} to {highest:.1f}"
    else:
        note = _brackets(first["interval"])
    published = PUBLISHED.get((first["task"], first["split"], _kind(first)))
    if published:
        note += f"\npublished {PUBLISHED_NAMES[_kind(first)]} {published.value:.2f}\u00a0±\u00a0{published.half:.2f}"
    return Cell(_percent(value), value, note, "good" if value == best else "")


def _task(task: str, results: Mapping[str, Any], entries: Sequence[Entry], controls: Sequence[Entry]) -> Section:
    mine = [entry for entry in entries if entry["task"] == task]
    headline = _headline_entries(entries, task)
    figures, parts = [], []
    if headline:
        last = max(entry["split"] for entry in headline)  # COOS-7: the hardest set
        figures.append(Figure(score_plot(headline), NAMES[HEADLINE[task]], _PLOT_CAPTION))
        title = f"Accuracy by class{f', {last}' if last else ''}"
        figures.append(
            Figure(
                by_class_plot([e for e in headline if e["split"] == last]), title, "Percent right, best class on top."
            )
        )
    every = [*mine, *(entry for entry in controls if entry["task"] == task)]
    methods = {entry["preprocess"] for entry in headline}
    paired = [pair for pair in results["paired"] if pair["task"] == task]
    # one initialisation stands for all of them; the others are folded away
    seeds = sorted({entry["model"] for entry in headline if _kind(entry) == "random"})[1:]
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
    return Section(TITLES[task], [ASKS[task]], figures, [table for table in tables if table.rows], parts)


def _all_scores(entries: Iterable[Entry], title: str) -> Table:
    rows = []
    for e in sorted(entries, key=_rank):
        spread = e["bootstrap"]
        name = NAMES.get(e["score"], e["score"])
        tone = "" if e["score"] != "shuffled" else "quiet" if e["at_chance"] else "bad"
        rows.append(
            [
                Cell(str(name), note=_remark(e)),
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
    columns = ["score", "set", "model", "preprocessing", "micro", "grouped", "macro", "F1", "right", "n", "settings"]
    note = (
        "micro: every sample counts alike; macro: every class counts alike; grouped: 95 % interval over groups. "
        "Shuffled labels must score at chance; one that does not is red. Below the settings: the key in results.json."
    )
    return Table(columns, rows, title, note)


def _remark(entry: Entry) -> str:
    if entry["score"] == "map":
        return f"p = {entry['p']:.2g} against random rankings" if "p" in entry else ""
    return "beside the settings asked for" if entry["beside"] else entry.get("of", "")


def _paired(paired: Iterable[Mapping[str, Any]], title: str) -> Table:
    rows = []
    for pair in paired:
        exact, grouped = pair["mcnemar"], pair["grouped_p"]
        rows.append(
            [
                NAMES.get(pair["score"], pair["score"]),
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
            ]
        )
    columns = ["score", "set", "preprocessing", "first", "second", "difference, points", "first alone", "second alone"]
    note = (
        "McNemar's exact test looks at the samples that one model alone gets right; the other lets whole groups swap "
        "models. Grey: p of 0.05 or more. Not corrected for the number of comparisons."
    )
    return Table([*columns, "p, McNemar", "p, groups"], rows, title, note)


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
    note = f"Never right: {', '.join(never)}." if never else "Every class is right at least once."
    return Table(["class", "n", "right", "accuracy", "precision", "F1"], rows, "By class", note)


def _stands_on(results: Mapping[str, Any], entries: Sequence[Entry], steps: Sequence[Mapping[str, Any]]) -> Section:
    """Say what was read, by what, in how much time."""
    made = {(e["task"], e["model"], e["preprocess"], e["digest"]): e for e in entries}
    rows = []
    for (task, model, method, digest), entry in sorted(made.items(), key=lambda item: item[0]):
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
        note = "Of the last run; what was cached took no time. Memory is the most the process used until then."
        tables.append(Table(["step", "seconds", "memory, GB"], taken_by, "Time and memory", note))
    tables.append(Table(["package", "version"], [list(pair) for pair in results["versions"].items()], "Versions"))
    return Section("What the numbers stand on", tables=tables)


def _brackets(interval: Mapping[str, Any]) -> str:
    return f"[{100 * interval['low']:.1f},\u00a0{100 * interval['high']:.1f}]"  # never broken over two lines


def _samples(task: str) -> str:
    return "treatments" if task == "bbbc021" else "cells"


def _share(entry: Entry, name: str) -> Cell:
    return Cell(_percent(entry[name]), entry[name]) if entry.get(name) is not None else Cell("–", "", tone="quiet")


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"
