"""Commands that read sources: sources, catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet catalog RAW --out catalog.parquet

  cytoimagenet catalog RAW --out catalog.parquet --source bbbc013 --source kag_hpa

  cytoimagenet catalog RAW --out catalog.parquet --explain
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("catalog", epilog=EXAMPLES)(catalog)


def catalog(
    raw: Annotated[Path, typer.Argument(metavar="RAW", help="Folder that holds one folder for each source.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    source: Annotated[list[str] | None, typer.Option(help="Read only this source; may be given several times.")] = None,
    explain: Annotated[bool, typer.Option(help="Show what each spelling rule changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Read all sources below RAW into one table of standard rows, one row an image.

    A source's files are found by walking its folder, or read from its `files.txt` (one path a line).
    """
    from ..catalog import write_catalog
    from ..console import emit, err
    from ..console import out as show

    made = write_catalog(raw, out, source)
    for name, what in made.unknown.items():
        err.print(f"Left out: {name}: {what}", markup=False)
    if as_json:
        emit([count.to_dict() for count in made.counts])
        return
    for count in made.counts:
        show.print(f"{count.source}: {count.rows:,} rows from {count.used:,} images", markup=False)
