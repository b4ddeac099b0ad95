"""The command that shows everything once: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet demo

  cytoimagenet demo --out /tmp/demo --seed 1
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("demo", epilog=EXAMPLES)(run)


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of drawing, labels, crops and training.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the quick recipe's.")] = None,
) -> None:
    """Simulate sources, build the dataset, load it, train on it, score it: one page to look at, in minutes.

    Needs no network and two cores. The same command again goes on where it stopped.
    """
    from ...builder.console import out as printed
    from ..demo import demo

    report = demo(out, seed=seed, epochs=epochs)
    printed.print(f"Open {report}", style="bold green", markup=False)
