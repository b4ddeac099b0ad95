"""The command that extracts features: features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet features --model imagenet --tasks bbbc021 --data evaldata --out imagenet.parquet

  cytoimagenet features --model runs/first --tasks coos7,cyclops --preprocess concat-norm,merge-norm

  torchrun --nproc-per-node 4 -m cytoimagenet.eval.commands.features --model runs/first --tasks coos7
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("features", epilog=EXAMPLES)(features)


def features(
    model: Annotated[
        str, typer.Option(help="random, random:SEED, imagenet, a training run, or any transformers model.")
    ] = "imagenet",
    tasks: Annotated[str, typer.Option(help="Tasks, by comma.")] = "bbbc021",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of bbbc021/, coos7/, cyclops/. Default: $CYTOIMAGENET_EVALDATA, else ./evaldata."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Parquet file; of several tables, -TASK-PREPROCESS goes into each name.")
    ] = Path("features.parquet"),
    preprocess: Annotated[
        str, typer.Option(help="concat-norm, concat-raw, merge-norm, merge-raw; by comma.")
    ] = "concat-norm",
    input_size: Annotated[str, typer.Option(help="native (as published: no resize) or pixels a side.")] = "native",
    cache: Annotated[
        Path | None, typer.Option(help="Where computed features are kept. Default: features-cache beside OUT.")
    ] = None,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode ahead.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was made as JSON.")] = False,
) -> None:
    """Compute the features a network gives the samples of a task: a row per sample, with its id.

    The tables are what `cytoimagenet eval --features` takes. The same command again goes on where it was stopped.
    """
    from ...builder.console import emit
    from ...builder.console import out as screen
    from .. import tasks as sets
    from ..features import backbones
    from ..features.extract import extract, is_main_process
    from ..features.views import METHODS
    from ..run import data_root
    from .run import listed, pixels

    wanted = listed(tasks, "--tasks", sets.TASKS)
    methods = listed(preprocess, "--preprocess", METHODS)
    root = data_root(data)
    found = {task: sets.read(task, root / task) for task in wanted}  # all are checked before anything is computed
    network = backbones.load(model)
    made = []
    for task, samples in found.items():
        tables = extract(
            samples,
            network,
            methods=methods,
            size=pixels(input_size),
            cache=cache or out.parent / "features-cache",
            engine=engine,
            workers=workers,
        )
        for (_, method), table in tables.items():
            single = len(wanted) * len(methods) == 1
            path = out if single else out.with_name(f"{out.stem}-{task}-{method}{out.suffix or '.parquet'}")
            if is_main_process():
                table.save(path)
            rows, columns = table.values.shape
            made.append({"path": str(path), "rows": rows, "features": columns, **table.settings})
    if as_json and is_main_process():
        emit(made)
    elif is_main_process():
        for one in made:
            screen.print(f"{one['path']}: {one['rows']:,} rows of {one['features']:,} features", markup=False)
            screen.print(
                f"  cytoimagenet eval --tasks {one['task']} --features {one['path']} --data {root}", markup=False
            )


if __name__ == "__main__":  # one process of several, started by a launcher that takes no console script
    from ...builder import console

    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    add_to(alone)
    console.run(alone)
