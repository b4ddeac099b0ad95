"""Write results.json as one HTML page: a verdict, the scores, and everything else on request."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

from ..tasks.record import Presentation
from .details import details
from .headline import headline_entries, model_in_words
from .overview import overview
from .page import Section, Table, write_page
from .published import CONTROL_MODEL, is_published_set, presentations
from .verdict import differences, how_it_was_tested, verdicts

Entry = Mapping[str, Any]
FILES = ("results.json", "predictions", "timing.json")


def write_report(
    results: Mapping[str, Any],
    out: str | PathLike[str],
    *,
    tasks: Iterable[Presentation] = (),
    title: str = "CytoImageNet: transfer scores",
    extra_sections: Sequence[Section] = (),
    notes: Sequence[str] = (),
    steps: Sequence[Mapping[str, Any]] = (),
    facts: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
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
        Shown after the scores, such as the pictures of a dataset and the curves of its training; see `page.Section`.
    notes : sequence of str
        What was left out, and why.
    steps : sequence of mapping
        Duration and peak memory of each step: `step`, `seconds`, `peak_gb`.
    facts : mapping, optional
        Further pairs of name and value for the top of the page, such as the date and the command.
    links : mapping, optional
        Files and folders to link to: their name and relative address. By default those of the results that are next to
        the page.

    Returns
    -------
    Path
        The file.
    """
    path = Path(out)
    path = path if path.suffix == ".html" else path / "report.html"
    entries = [entry for entry in results["results"] if entry["score"] != "shuffled"]
    shown = list(presentations(entries, tasks).values())
    sections = [
        _verdict(results, shown, notes),
        overview(entries, shown),
        *extra_sections,
        *(details(task, results) for task in shown),
        _provenance(results, entries, steps),
    ]
    about = {**(facts or {}), "cytoimagenet": results["versions"].get("cytoimagenet", "unknown")}
    if links is None:
        links = {name: name for name in FILES if (path.parent / name).exists()}
    return write_page(path, title, sections, facts=about, links=links)


def today() -> str:
    """Return the date as it is written on a page: `26 November 2026`."""
    now = datetime.now().astimezone()
    return f"{now.day} {now:%B %Y}"


def command_line() -> str:
    """Return the command that this process was started by, as it would be typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _verdict(results: Mapping[str, Any], tasks: Sequence[Presentation], notes: Sequence[str]) -> Section:
    """Return the section that answers whether a model is better than the baseline, and what a reader must know."""
    found = differences(results, tasks)
    every = verdicts(found)
    text = (
        [] if found else ["There is only one model to look at. Score another one into the same folder to compare them."]
    )
    parts = [Section(one.sentence, verdicts=[replace(one, sentence="")]) for one in every[1:]]
    return Section(
        "Verdict",
        text,
        verdicts=every[:1],
        points=_points(results, tasks, notes),
        note=how_it_was_tested(found) if found else "",
        parts=parts,
    )


def _points(results: Mapping[str, Any], tasks: Sequence[Presentation], notes: Sequence[str]) -> list[str]:
    """Return what a reader must know before believing a score."""
    points = []
    for entry in results["results"]:
        if entry["score"] == "shuffled" and not entry["at_chance"]:
            points.append(
                f"{entry['task']} {entry['split']}".strip() + f": shuffled labels score above chance for "
                f"{model_in_words(entry['model'])}. Something leaks; do not rely on these scores."
            )
    for task in tasks:
        headline = headline_entries(results["results"], task)
        for control in (entry for entry in headline if entry["model"] == CONTROL_MODEL):
            same = [e for e in headline if e["split"] == control["split"] and e["model"] != CONTROL_MODEL]
            beaten = [e["model"] for e in same if e["value"] <= control["value"]]
            if beaten:
                points.append(
                    f"{task.name} {control['split']}".strip() + f": mean intensity alone scores "
                    f"{100 * control['value']:.1f} %, no less than {', '.join(map(model_in_words, beaten))}: "
                    "brightness may be all that is recognised."
                )
    for pair in results.get("not_compared", ()):
        points.append(f"{pair['task']}: {' and '.join(pair['models'])} are not compared: {pair['reason']}.")
    # also those of earlier runs into the same folder, which are not among the notes of this one
    remarks = [f"{entry['task']}: {remark}" for entry in results["results"] for remark in entry.get("remarks", ())]
    others = [
        task.name
        for task in tasks
        if task.published and not any(is_published_set(e, task) for e in headline_entries(results["results"], task))
    ]
    unpublished = [f"{', '.join(others)}: not the complete published set, so no published scores are shown."]
    return list(dict.fromkeys([*points, *notes, *remarks, *(unpublished if others else [])]))


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
    return Section("How the scores were computed", tables=tables, folded=True)
