"""The command that computes features: features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Data, Engine, InputSize, Model, Workers, listed, pixels

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet features --model imagenet --tasks bbbc021 --data evaldata --out imagenet.parquet

  cytoimagenet features --model runs/first --tasks coos7,cyclops --preprocess concat-norm,merge-norm

  torchrun --no-python --nproc-per-node 4 cytoimagenet features --model runs/first --tasks coos7
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("features", epilog=EXAMPLES)(features)


def features(
    model: Model = "imagenet",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks: bbbc021,coos7,cyclops.")] = "bbbc021",
    data: Data = None,
    out: Annotated[
        Path, typer.Option(help="Parquet file to write; for several tables, -TASK-PREPROCESS is added to its name.")
    ] = Path("features.parquet"),
    preprocess: Annotated[
        str,
        typer.Option(
            help="Comma-separated views of an image: concat-norm, concat-raw, merge-norm, merge-raw. concat: each "
            "channel separately; merge: mean of the channels; norm: contrast stretched; raw: as measured."
        ),
    ] = "concat-norm",
    input_size: InputSize = "native",
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that stores computed features. Default: features-cache in the folder of OUT."),
    ] = None,
    engine: Engine = "auto",
    workers: Workers = 2,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print path, size and settings of the tables as JSON.")
    ] = False,
) -> None:
    """Compute the features of a network for the samples of a task: one row per sample, with its id.

    `cytoimagenet eval --features` scores such a table. Running an interrupted command again resumes it.
    """
    from ...builder.console import emit
    from ...builder.console import out as screen
    from ..features import backbones
    from ..features.extract import extract
    from ..features.processes import is_main_process
    from ..features.views import METHODS
    from ..protocols.settings import EvaluationSettings
    from ..run import data_root
    from ..tasks.registry import TASKS

    names = listed(tasks, "--tasks", TASKS)
    methods = listed(preprocess, "--preprocess", METHODS)
    root = data_root(data)
    # all tasks are read and checked before anything is computed
    samples_of = {name: TASKS[name].read(root / name, EvaluationSettings()) for name in names}
    network = backbones.load(model)
    written = []
    for task, samples in samples_of.items():
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
            single = len(names) * len(methods) == 1
            path = out if single else out.with_name(f"{out.stem}-{task}-{method}{out.suffix or '.parquet'}")
            if is_main_process():
                table.save(path)
            rows, columns = table.values.shape
            written.append({"path": str(path), "rows": rows, "features": columns, **table.settings})
    if as_json and is_main_process():
        emit(written)
    elif is_main_process():
        for one in written:
            screen.print(f"{one['path']}: {one['rows']:,} rows of {one['features']:,} features", markup=False)
            screen.print(
                f"  cytoimagenet eval --tasks {one['task']} --features {one['path']} --data {root}", markup=False
            )


if __name__ == "__main__":  # one of several processes, started by a launcher that needs a module
    from ...builder import console

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    add_to(app)
    console.run(app)
