"""The command that scores features: eval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...builder.commands.options import Json, examples
from .options import Data, Engine, InputSize, Workers, listed, pixels

if TYPE_CHECKING:
    from ..tasks.record import Task

EXAMPLES = examples(
    "cytoimagenet eval --data evaldata",
    "cytoimagenet eval --tasks cyclops --models random,imagenet,runs/first,fusion --out results",
    "cytoimagenet eval --tasks bbbc021 --features profiles.csv.gz --metadata evaldata/bbbc021 --standardise plate-dmso",
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    data: Data = None,
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks.")] = "bbbc021,coos7,cyclops",
    models: Annotated[
        str,
        typer.Option(
            help="Comma-separated models: random, imagenet, RUN (the newest below ./runs), a training run, any image "
            "model of transformers, fusion (the features of imagenet and a training run side by side)."
        ),
    ] = "random,imagenet,RUN,fusion",
    out: Annotated[Path, typer.Option(help="Folder for results.json, predictions and report.html.")] = Path("results"),
    features: Annotated[
        Path | None,
        typer.Option(help="Score this table of features (.parquet, .csv, .npz) on one task, instead of models."),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="With --features: folder of the task. Default: its folder below --data, if any.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --features: name of the features in the results. Default: the file's name.")
    ] = None,
    preprocess: Annotated[
        str,
        typer.Option(
            help="Comma-separated views of an image: concat (each channel separately) or merge (mean of the channels), "
            "norm (contrast stretched) or raw (as measured). The report shows the first one."
        ),
    ] = "concat-norm,concat-raw,merge-norm,merge-raw",
    input_size: InputSize = "native",
    standardise: Annotated[
        str | None,
        typer.Option(
            help="Scaling of the features: none, all, train, plate-dmso, sphere-dmso or tvn. "
            "Default: as published for models, none for a table."
        ),
    ] = None,
    taxol: Annotated[
        str, typer.Option(help="Wells of taxol at 0.3 µM in BBBC021: all (published), or ljosa3 (three wells).")
    ] = "all",
    ties: Annotated[
        str,
        typer.Option(help="Class that wins equal votes: that of the nearest neighbour, or published (the first one)."),
    ] = "nearest",
    cyclops_labels: Annotated[
        str, typer.Option(help="Labels of CYCLoPs: clean, or published (shifted by a mistake in the published code).")
    ] = "clean",
    probe: Annotated[bool, typer.Option(help="Also fit a linear probe, which is slow.")] = True,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that stores computed features. Default: OUT/features.")
    ] = None,
    engine: Engine = "auto",
    workers: Workers = 2,
    seed: Annotated[int, typer.Option(help="Random seed of bootstrap, shuffled labels and folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Score features of networks, or a table of features, on the transfer tasks.

    Runs every task whose data it finds, and prints how to get the data of the others. Running the command again
    computes only what is missing, and replaces scores with the same settings.
    """
    from ...builder.console import emit
    from ...builder.errors import UsageError
    from ..features.views import METHODS
    from ..protocols.settings import EvaluationSettings
    from ..report.summary import show
    from ..run import data_root, finish, score_models, score_table, task_roots
    from ..tasks.registry import TASKS

    chosen = [TASKS[word] for word in listed(tasks, "--tasks", TASKS)]
    settings = EvaluationSettings(standardise, taxol, ties, cyclops_labels, probe, seed)  # type: ignore[arg-type]
    root = data_root(data)
    roots, missing = task_roots(root, chosen)
    if features is not None:
        if len(chosen) != 1:
            raise UsageError("A table of features belongs to one task", next="Name it, such as --tasks bbbc021")
        run = score_table(features, chosen[0], metadata or roots.get(chosen[0]), out, settings, name)
    else:
        if metadata is not None or name is not None:
            raise UsageError("--metadata and --name can only be used with --features")
        _print_missing(missing, root)
        if not roots:
            raise UsageError(
                "There is no data for any task", where=root, next="Name its folder with --data or CYTOIMAGENET_EVALDATA"
            )
        run = score_models(
            roots,
            [model.strip() for model in models.split(",") if model.strip()],
            out,
            settings,
            methods=listed(preprocess, "--preprocess", METHODS),
            size=pixels(input_size),
            cache=cache,
            engine=engine,
            workers=workers,
        )
    if not run.main:
        return
    document = finish(run)
    if as_json:
        emit(document)
    else:
        show(run.done, document, out, run.tasks)


def _print_missing(missing: list[Task], root: Path) -> None:
    from ...builder.console import err

    for task in missing:
        err.print(f"{task.name}: no data in {root / task.name}. {task.how_to_get}.", markup=False)
