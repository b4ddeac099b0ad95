"""What a run prints at its end: a table to read, and a line per score with all it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ...builder.console import out as console
from ..results.score import NAMES, Result, line
from .published import HEADLINE, PUBLISHED, kind_of

PUBLISHED_VIEW = "concat-norm"  # the preprocessing the published numbers are of
WIDE = 160  # characters of the table in a file or a pipe


def show(done: Sequence[Result], document: Mapping[str, Any], out: Path) -> None:
    """Print the scores of this run, ours beside published, then where everything lies."""
    entries = [entry for result in done for entry in result.entries]
    table = Table(title="Scores", title_justify="left", caption_justify="left")
    for name, right in (
        ("task", False), ("score", False), ("model", False), ("preprocess", False), ("%", True), ("right", True),
        ("95 % interval", False), ("grouped", False), ("published", True),
    ):  # fmt: skip
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for entry in entries:
        if not entry["beside"]:
            table.add_row(*row(entry))
    table.caption = "grouped: bootstrap over compounds or wells, which are right or wrong together"
    # a table is never cut to the width of a terminal that is not there
    wide = console if console.is_terminal else Console(width=WIDE, highlight=False)
    wide.print(table)
    headline = [e for e in entries if e["score"] == HEADLINE[e["task"]] and e["preprocess"] == entries[0]["preprocess"]]
    shown = headline if len(done) > 1 else entries
    console.print("With their settings (all in results.json and the report):", markup=False)
    for entry in shown:
        console.print(line(entry), markup=False)
    keys = {entry["key"] for entry in shown}
    for comparison in document["paired"]:
        # one random network against another, or the control, teaches nobody anything: they stay in the report
        kinds = [kind_of(model) for model in comparison["models"]]
        if keys.intersection(comparison["keys"]) and "" not in kinds and kinds != ["random", "random"]:
            console.print(paired_line(comparison), markup=False)
    console.print(f"Written: {out / 'results.json'}, {out / 'report.html'}", markup=False)


def row(entry: Mapping[str, Any]) -> list[str]:
    """Return a score as cells of text."""
    published = None
    if entry["score"] == HEADLINE[entry["task"]] and entry["preprocess"] == PUBLISHED_VIEW:
        published = PUBLISHED.get((entry["task"], entry["split"], kind_of(entry["model"])))
    spread = entry["bootstrap"]
    return [
        f"{entry['task']} {entry['split']}".strip(),
        NAMES[entry["score"]],
        entry["model"],
        entry["preprocess"],
        f"{100 * entry['value']:.2f}",
        f"n = {entry['n']:,}" if entry["correct"] is None else f"{entry['correct']:,} of {entry['n']:,}",
        _interval(entry["interval"]),
        _interval(spread) if spread else "",
        "" if published is None else f"{published.value:g} ± {published.half:g}",
    ]


def _interval(found: Mapping[str, Any]) -> str:
    return f"{100 * found['low']:.1f} to {100 * found['high']:.1f}"


def paired_line(comparison: Mapping[str, Any]) -> str:
    """Return a comparison in one line."""
    first, second = comparison["models"]
    test, grouped = comparison["mcnemar"], comparison["grouped_p"]
    by_groups = "" if grouped is None else f", by groups p = {grouped:.2g}"
    what = " ".join(comparison[name] for name in ("task", "split", "score", "preprocess") if comparison[name])
    return (
        f"  {what}: {first} against {second} {100 * comparison['difference']:+.2f} points; right alone "
        f"{test['only_first']} and {test['only_second']} of {comparison['n']:,}, McNemar p = {test['p']:.2g}{by_groups}"
    )
