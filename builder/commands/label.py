"""The command that gives classes: label."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet label catalog.parquet --out selection.parquet

  cytoimagenet label catalog.parquet --out selection.parquet --plot thresholds.png

  cytoimagenet label catalog.parquet --out small.parquet --min-images 4 --max-images 50 --allocation sqrt
"""
SHOWN = 12  # lines of each table; all are in the report


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("label", epilog=EXAMPLES)(label)


def label(
    catalog: Annotated[str, typer.Argument(metavar="CATALOG", help="Table that `cytoimagenet catalog` wrote.")],
    to: Annotated[
        str,
        typer.Option("--out", help="Table to write; `.rejected.parquet` and `.report.json` are written beside it."),
    ],
    min_images: Annotated[int, typer.Option(help="Fewest rows of a class.")] = 287,
    max_images: Annotated[int, typer.Option(help="Most rows of a class.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    allocation: Annotated[
        Literal["proportional", "sqrt"], typer.Option(help="How samples are shared; sqrt favours rare conditions.")
    ] = "proportional",
    plot: Annotated[str | None, typer.Option(help="PNG to draw: labels kept at every threshold.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, for machines.")] = False,
) -> None:
    """Give every image at most one class: rare labels choose first, classes are balanced, the rest is written down."""
    from ..console import emit, out
    from ..labels import report as label_report
    from ..labels.select import select
    from ..storage import beside

    report = select(catalog, to, min_images=min_images, max_images=max_images, seed=seed, allocation=allocation)
    if plot:
        sizes = [line["rows"] for line in (*report["classes"], *report["skipped"])]
        label_report.plot(sizes, min_images, plot)
    if as_json:
        emit(report)
        return
    _tables(report)
    out.print(
        f"{report['rows']:,} rows = {report['selected']:,} in {len(report['classes']):,} classes"
        f" + {report['not_selected']:,} not selected",
        markup=False,
    )
    out.print(f"Written: {to}, {beside(to, 'rejected.parquet')}, {beside(to, 'report.json')}", markup=False)


def _tables(report: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ..console import out

    for title, key in (("category", "by_category"), ("database", "by_database")):
        table = Table(title=f"Classes by {title}", title_justify="left")
        for column, justify in ((title, "left"), ("classes", "right"), ("images", "right")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for name, count in report[key].items():
            table.add_row(escape(name) or "(none)", f"{count['classes']:,}", f"{count['images']:,}")
        out.print(table)
    table = Table(title="Labels with at least so many rows", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("labels", justify="right")
    mine = report["settings"]["min_images"]
    for line in report["thresholds"]:
        table.add_row(
            f"{line['min_images']:,}", f"{line['labels']:,}", style="bold" if line["min_images"] == mine else ""
        )
    out.print(table)
    missed = [line for line in report["skipped"] if line["rows"] >= mine]
    if missed:
        out.print(f"{len(missed):,} labels have enough rows, but rarer labels left them too few:")
        for line in missed[:SHOWN]:
            said = f"  {line['label']} ({line['category']}): {line['rows']:,} rows, {line['left']:,} left"
            out.print(said, markup=False)
    rest = len(report["skipped"]) - len(missed)
    out.print(f"{rest:,} labels have fewer than {mine:,} rows; all are in the report")
