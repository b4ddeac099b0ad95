"""The command that assigns classes: label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..defaults import MAX_IMAGES, MIN_IMAGES
from .options import (
    Allocation,
    AllocationOption,
    Json,
    LabelRule,
    LabelsOption,
    MaxImages,
    MinImages,
    examples,
    seed_of,
)

EXAMPLES = examples(
    "cytoimagenet label catalog.parquet --out selection.parquet",
    "cytoimagenet label catalog.parquet --out selection.parquet --plot thresholds.png",
    "cytoimagenet label catalog.parquet --out small.parquet --min-images 4 --max-images 50 --allocation sqrt",
    "cytoimagenet label catalog.parquet --out as-in-the-paper.parquet --labels published",
)
LABELS_SHOWN = 12  # of those that rarer labels left too few rows; the report contains all


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("label", epilog=EXAMPLES)(label)


def label(
    catalog: Annotated[str, typer.Argument(metavar="CATALOG", help="Table that `cytoimagenet catalog` wrote.")],
    to: Annotated[
        str,
        typer.Option(
            "--out",
            help="Parquet file to write, e.g. selection.parquet. `selection.rejected.parquet` and "
            "`selection.report.json` are written to the same folder.",
        ),
    ],
    min_images: MinImages = MIN_IMAGES,
    max_images: MaxImages = MAX_IMAGES,
    seed: Annotated[int, seed_of("the samples of large classes")] = 0,
    allocation: AllocationOption = Allocation.proportional,
    labels: LabelsOption = LabelRule.unambiguous,
    plot: Annotated[
        str | None, typer.Option(help="PNG file to write: the number of labels that each --min-images would keep.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Give each image at most one class, from its metadata.

    Rare labels are assigned first: an image of a frequent cell type and a rare compound gets the compound as its class.
    Large classes are downsampled. Images without a class are listed with the reason.
    """
    from ..console import emit, err, out
    from ..labels.report import nothing_selected, remarks
    from ..labels.report import plot as plot_thresholds
    from ..labels.select import select
    from ..storage import sibling

    report = select(
        catalog,
        to,
        min_images=min_images,
        max_images=max_images,
        seed=seed,
        allocation=allocation.value,
        labels=labels.value,
    )
    if plot:
        sizes = [line["rows"] for line in (*report["classes"], *report["skipped"])]
        plot_thresholds(sizes, min_images, plot)
    if as_json:
        emit(report)
        return
    _print_tables(report)
    if not report["selected"]:
        advice = nothing_selected(report, catalog)
        err.print(f"Note: {advice.what}. {advice.next}", markup=False)
    out.print(
        f"{report['rows']:,} rows = {report['selected']:,} in {len(report['classes']):,} classes"
        f" + {report['not_selected']:,} not selected",
        markup=False,
    )
    for line in remarks(report):
        out.print(line, markup=False)
    out.print(f"Wrote {to}, {sibling(to, 'rejected.parquet')}, {sibling(to, 'report.json')}", markup=False)


def _print_tables(report: dict[str, Any]) -> None:
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
    table = Table(title="Labels with at least this many rows", title_justify="left")
    table.add_column("rows", justify="right")
    table.add_column("labels", justify="right")
    min_images = report["settings"]["min_images"]
    for line in report["thresholds"]:
        style = "bold" if line["min_images"] == min_images else ""
        table.add_row(f"{line['min_images']:,}", f"{line['labels']:,}", style=style)
    out.print(table)
    missed = [line for line in report["skipped"] if line["rows"] >= min_images]
    if missed:
        out.print(f"{len(missed):,} labels have enough rows, but rarer labels left them too few:")
        for line in missed[:LABELS_SHOWN]:
            numbers = f"{line['rows']:,} rows, {line['left']:,} left"
            out.print(f"  {line['label']} ({line['category']}): {numbers}", markup=False)
    rest = len(report["skipped"]) - len(missed)
    out.print(f"{rest:,} labels have fewer than {min_images:,} rows; the report lists all")
