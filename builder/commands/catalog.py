"""Commands that read sources: sources, catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import RawFolder, Sources, examples

if TYPE_CHECKING:
    from ..sources.catalog import Catalog

SOURCES = examples(
    "cytoimagenet sources",
    "cytoimagenet sources bbbc013 kag_hpa",
    "cytoimagenet sources --json > sources.json",
)
CATALOG = examples(
    "cytoimagenet catalog RAW --out catalog.parquet",
    "cytoimagenet catalog RAW --out catalog.parquet --source bbbc013 --source kag_hpa",
    "cytoimagenet catalog RAW --out catalog.parquet --explain",
    "cytoimagenet catalog s3://lab/raw --out s3://lab/catalog.parquet",
)
LONGEST_SPELLING = 40  # characters shown of a text by --explain


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("sources", epilog=SOURCES)(sources)
    app.command("catalog", epilog=CATALOG)(catalog)


def sources(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Only these sources, by folder name. Default: all.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all facts, with download addresses, as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the list as Markdown, as in docs/sources.md.")
    ] = False,
) -> None:
    """List the 40 sources: images, stains, licence, link, and the data that each reader was tested with."""
    from ..console import emit, out
    from ..sources import overview, registry

    if as_markdown:
        typer.echo(overview.markdown(), nl=False)
        return
    records = registry.chosen(names or registry.SOURCES)
    if as_json:
        emit([overview.facts(source) for source in records])
        return
    database = ""
    for source in sorted(records, key=lambda source: source.database):
        if source.database != database:
            database = source.database
            out.print(f"\n{database}", style="bold", markup=False)
        fact = overview.facts(source)
        shown = (
            f"{source.images:,} images ({', '.join(source.formats)})",
            ", ".join(fact["organism"]) or "several organisms",
            ", ".join(fact["stains"]) or "stains differ",
            ", ".join(fact["microscopy"]),
        )
        out.print(f"  {source.dir_name:<15} {source.name}", markup=False)
        out.print(f"  {'':<15} {' · '.join(shown)}", markup=False, style="dim")
        out.print(
            f"  {'':<15} licence: {source.licence_label}; reader tested with {source.tried}", markup=False, style="dim"
        )
        out.print(f"  {'':<15} {source.link}", markup=False, style="dim")
    out.print(f"\n{len(records)} sources", markup=False)


def catalog(
    raw: RawFolder,
    out: Annotated[str, typer.Option(help="Parquet file to write, local or a URL.")],
    source: Sources = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what the rules for a common vocabulary changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all counts as JSON.")] = False,
) -> None:
    """Read the metadata of all sources in RAW into one table, the catalogue: one row per image.

    Names of organisms, cell types, compounds and so on are translated to a common vocabulary. The files of a source
    are found by listing its folder, or read from its `files.txt` (one path per line) if there is one.
    """
    from ..console import emit, err
    from ..sources.catalog import write_catalog
    from ..storage import join

    catalogue = write_catalog(raw, out, source)
    if as_json:
        emit(
            {
                "out": out,
                "rows": sum(count.rows for count in catalogue.counts),
                "sources": [count.to_dict() for count in catalogue.counts],
                "left_out": dict(catalogue.unknown),
                "rules": catalogue.vocabulary.report(),
            }
        )
        return
    for name, what in catalogue.unknown.items():
        err.print(f"Left out: {join(raw, name)} ({what})", markup=False)
    _print_counts(catalogue, out)
    if explain:
        _print_changes(catalogue)


def _print_counts(catalogue: Catalog, path: str) -> None:
    from rich.table import Table

    from ..console import out

    shown = Table(box=None, pad_edge=False)
    for title in ("source", "files", "images", "rows", "rows unlabelled", "labels without image", "files skipped"):
        shown.add_column(title, justify="left" if title == "source" else "right")
    totals = [0] * 6
    for count in catalogue.counts:
        numbers = (
            *(count.listed, count.used, count.rows, count.unlabelled, count.labels_without_image),
            sum(count.skipped.values()),
        )
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        shown.add_row(count.source, *(f"{number:,}" for number in numbers))
    shown.add_row("all", *(f"{number:,}" for number in totals), style="bold")
    out.print(shown)
    for count in catalogue.counts:
        for reason, number in sorted(count.skipped.items()):
            out.print(f"{count.source}: {number:,} files skipped: {reason}", markup=False)
        for note, number in sorted(count.notes.items()):
            out.print(f"{count.source}: {note}: {number:,}", markup=False)
    out.print(f"Wrote {totals[2]:,} rows to {path}", markup=False)


def _print_changes(catalogue: Catalog) -> None:
    from ..console import out

    out.print("\nWhat the rules for a common vocabulary changed", style="bold")
    rule = ""
    for entry in catalogue.vocabulary.report():
        if entry["rule"] != rule:
            rule = entry["rule"]
            out.print(f"{rule} [{entry['origin']}]", markup=False)
        example = f"{_short(entry['before'])} -> {_short(entry['after']) or '(none)'}"
        numbers = f"{entry['rows']:>11,} rows {entry['values']:>6,} spellings"
        out.print(f"  {entry['column']:<13}{numbers}   {example}", markup=False)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SPELLING else f"{text[: LONGEST_SPELLING - 3]}..."
