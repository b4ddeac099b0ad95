"""What a run prints at its end: a table of scores, and one line per score with its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...builder.console import out as console
from ..results.score import Result, grouped_interval, in_words, line
from ..tasks.record import Presentation
from .published import PUBLISHED_PREPROCESSING, headline_score, kind_of, presentations, published_for
from .verdict import sentences

TABLE_CHARACTERS = 160  # width of the table in a file or a pipe
MAX_COMPARISONS = 6  # comparisons of two models that are printed; the report has all


def show(done: Sequence[Result], document: Mapping[str, Any], out: Path, tasks: Sequence[Presentation] = ()) -> None:
    """Print the scores of a run next to the published ones, and where the results are.

    Parameters
    ----------
    done : sequence of Result
        The results of this run.
    document : mapping
        The document of results.json, with the comparisons.
    out : Path
        The folder of the results.
    tasks : sequence of Presentation
        How to present tasks that are not those of the preprint.
    """
    entries = [entry for result in done for entry in result.entries]
    about = presentations(entries, tasks)
    headline = {name: headline_score(task, entries) for name, task in about.items()}
    table = Table(title="Scores", title_justify="left", caption_justify="left")
    for name, right in (
        ("task", False), ("score", False), ("model", False), ("preprocess", False), ("%", True), ("correct", True),
        ("95 % interval", False), ("grouped", False), ("published", True),
    ):  # fmt: skip
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for entry in entries:
        if not entry["beside"]:
            comparable = entry["score"] == headline[entry["task"]] and entry["preprocess"] == PUBLISHED_PREPROCESSING
            table.add_row(*_row(entry, about[entry["task"]] if comparable else None))
    table.caption = "grouped: bootstrap over compounds or wells, whose samples tend to be right or wrong together"
    # without a terminal there is no width to which the table would have to be cut
    wide = console if console.is_terminal else Console(width=TABLE_CHARACTERS, highlight=False)
    wide.print(table)
    first = entries[0]["preprocess"]
    headlines = [e for e in entries if e["score"] == headline[e["task"]] and e["preprocess"] == first]
    shown = headlines if len(done) > 1 else entries
    console.print("Scores with their settings (results.json and the report contain all of them):", markup=False)
    for entry in shown:
        console.print(line(entry), markup=False)
    keys = frozenset(entry["key"] for entry in shown)
    for text in comparison_lines(document["paired"], keys):
        console.print(text, markup=False)
    for sentence in sentences(document, list(about.values())):
        console.print(sentence, style="bold", markup=False, soft_wrap=True)
    console.print(f"Written: {out / 'results.json'}, {out / 'report.html'}", markup=False)


def _row(entry: Mapping[str, Any], task: Presentation | None) -> list[str]:
    """Return a score as cells of text, with the score that was published for `task`."""
    published = published_for(entry, task) if task else None
    spread, grouped = entry["bootstrap"], grouped_interval(entry)
    return [
        f"{entry['task']} {entry['split']}".strip(),
        in_words(entry["score"]),
        entry["model"],
        entry["preprocess"],
        f"{100 * entry['value']:.2f}",
        f"n = {entry['n']:,}" if entry["correct"] is None else f"{entry['correct']:,} of {entry['n']:,}",
        _interval(entry["interval"]),
        _interval(grouped) if grouped else f"{spread['n_groups']} {spread['groups']}" if spread else "",
        "" if published is None else f"{published.percent:g} ± {published.half_width:g}",
    ]


def _interval(interval: Mapping[str, Any]) -> str:
    return f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f}"


def comparison_lines(paired: Iterable[Mapping[str, Any]], keys: AbstractSet[str]) -> list[str]:
    """Return the comparisons to print, one line each, and a line for those that only the report shows.

    Those of two random networks, and with the control, are in the report only.
    """
    shown = []
    for comparison in paired:
        kinds = [kind_of(model) for model in comparison["models"]]
        if not keys.isdisjoint(comparison["keys"]) and "" not in kinds and kinds != ["random", "random"]:
            shown.append(("random" in kinds, _paired_line(comparison)))
    # first those between two trained networks, which the verdict counts
    lines = [text for _, text in sorted(shown, key=itemgetter(0))]
    more = len(lines) - MAX_COMPARISONS
    return [
        *lines[:MAX_COMPARISONS],
        *([f"  {more} more comparisons of two models are in the report"] if more > 0 else []),
    ]


def _paired_line(comparison: Mapping[str, Any]) -> str:
    """Return a comparison as one line of text."""
    first, second = comparison["models"]
    test, grouped = comparison["mcnemar"], comparison["grouped_p"]
    by_groups = "" if grouped is None else f", by groups p = {grouped:.2g}"
    corrected = comparison.get("p_holm")
    by_groups += "" if corrected is None else f", corrected (Holm) p = {corrected:.2g}"
    what = " ".join(comparison[name] for name in ("task", "split", "score", "preprocess") if comparison[name])
    return (
        f"  {what}: {first} against {second} {100 * comparison['difference']:+.2f} points; only one right: "
        f"{test['only_first']} and {test['only_second']} of {comparison['n']:,}, McNemar p = {test['p']:.2g}{by_groups}"
    )
