"""Commands that read sources: sources, catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import RawFolder, Sources, Strict, examples

if TYPE_CHECKING:
    from ..sources.catalog import Catalog
    from ..sources.record import Source

SOURCES = examples(
    "cytoimagenet sources",
    "cytoimagenet sources bbbc013 kag_hpa",
    "cytoimagenet sources RAW",
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
        list[str] | None,
        typer.Argument(
            metavar="[RAW] [NAME]...",
            help="A folder of sources, to list what it contains, your own sources included; or names, to list only "
            "these. Default: the 40.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all facts, with download addresses, as JSON.")] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the list as Markdown, as in docs/sources.md.")
    ] = False,
) -> None:
    """List the 40 sources, or those in RAW: images, stains, licence, link, and how each is read."""
    from ..console import emit, err
    from ..sources import overview, registry
    from ..storage import join

    if as_markdown:
        typer.echo(overview.markdown(), nl=False)
        return
    requested = list(names or registry.SOURCES)
    left_out: dict[str, str] = {}
    if requested[0] not in registry.SOURCES and _is_folder(requested[0]):
        listed, left_out = overview.facts_in(requested[0], requested[1:] or None)
    else:
        listed = [(source, overview.facts(source)) for source in registry.chosen(requested)]
    if as_json:
        emit([facts for _, facts in listed])
        return
    for name, reason in left_out.items():
        err.print(f"Left out: {join(requested[0], name)} ({reason})", markup=False)
    _print_sources(listed)


def _is_folder(name: str) -> bool:
    """Return whether a name is a path or URL rather than that of a source."""
    from ..storage import filesystem

    if "/" in name or "\\" in name:
        return True
    fs, inner = filesystem(name)
    return bool(fs.isdir(inner))


def _print_sources(listed: list[tuple[Source, dict[str, Any]]]) -> None:
    from ..console import out

    database = ""
    for source, fact in sorted(listed, key=lambda one: one[0].database):
        if source.database != database:
            database = source.database
            out.print(f"\n{database}", style="bold", markup=False)
        own = source.tried == "image table"
        shown = (
            f"{source.images:,} images ({', '.join(source.formats)})",
            ", ".join(fact["organism"]) or ("" if own else "several organisms"),
            ", ".join(fact["stains"]) or ("" if own else "stains differ"),
            ", ".join(fact["microscopy"]),
        )
        read = f"read from {fact['path']}" if own else f"reader tested with {source.tried}"
        out.print(f"  {source.dir_name:<15} {source.name}", markup=False)
        for line in (" · ".join(filter(None, shown)), f"licence: {source.licence_label}; {read}", source.link):
            if line:
                out.print(f"  {'':<15} {line}", markup=False, style="dim")
    out.print(f"\n{len(listed)} {'source' if len(listed) == 1 else 'sources'}", markup=False)


def catalog(
    raw: RawFolder,
    out: Annotated[str, typer.Option(help="Parquet file to write, local or a URL.")],
    source: Sources = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what the rules for a common vocabulary changed.")
    ] = False,
    strict: Strict = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all counts as JSON.")] = False,
) -> None:
    """Read the metadata of all sources in RAW into one table, the catalogue: one row per image.

    A folder or zip in RAW that contains a table `images.csv` is a source of your own; rows that can't be used are
    listed in OUT.rejected.csv. Names of organisms, cell types, compounds and so on are translated to a common
    vocabulary. The files of a source are found by listing its folder, or read from its `files.txt` (one path per line)
    if there is one.
    """
    from ..console import emit, err
    from ..sources.catalog import rejected_file, write_catalog
    from ..storage import join

    catalogue = write_catalog(raw, out, source, strict=strict)
    rejected = rejected_file(out) if len(catalogue.rejected) else ""
    if as_json:
        emit(
            {
                "out": out,
                "rows": sum(count.rows for count in catalogue.counts),
                "sources": [count.to_dict() for count in catalogue.counts],
                "left_out": dict(catalogue.unknown),
                "rules": catalogue.vocabulary.report(),
                "rejected_csv": rejected,
            }
        )
        return
    for name, what in catalogue.unknown.items():
        err.print(f"Left out: {join(raw, name)} ({what})", markup=False)
    _print_counts(catalogue, out)
    if rejected:
        err.print(f"{len(catalogue.rejected):,} rows of image tables can't be used: {rejected}", markup=False)
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
        for line in table_lines(count.to_dict()):
            out.print(line, markup=False)
    out.print(f"Wrote {totals[2]:,} rows to {path}", markup=False)


def table_lines(count: Mapping[str, Any]) -> list[str]:
    """Return the remarks about a source's tables, and the sum of the rows of a user's image table."""
    lines = list(count["remarks"])
    if count["offered"]:
        usable = count["offered"] - sum(count["rejected"].values())
        bad = "".join(f" + {number:,} {reason}" for reason, number in count["rejected"].items())
        lines.insert(0, f"{count['offered']:,} rows in the image table = {usable:,} usable{bad}")
    return [f"{count['source']}: {line}" for line in lines]


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
