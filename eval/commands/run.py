"""The command that scores: eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet eval --data evaldata

  cytoimagenet eval --tasks cyclops --models random,imagenet,runs/first,fusion --out results

  cytoimagenet eval --tasks bbbc021 --features profiles.csv.gz --metadata evaldata/bbbc021 --standardise plate-dmso
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of bbbc021/, coos7/, cyclops/. Default: $CYTOIMAGENET_EVALDATA, else ./evaldata."),
    ] = None,
    tasks: Annotated[str, typer.Option(help="Tasks, by comma.")] = "bbbc021,coos7,cyclops",
    models: Annotated[
        str,
        typer.Option(help="random, imagenet, RUN (the newest below ./runs), your run or model, fusion; by comma."),
    ] = "random,imagenet,RUN,fusion",
    out: Annotated[Path, typer.Option(help="Folder for results.json, predictions and report.html.")] = Path("results"),
    features: Annotated[
        Path | None, typer.Option(help="Score this table (.parquet, .csv, .npz) on the one task instead of networks.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="With --features: the task's folder. Default: its place below --data, if any.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="With --features: what to call them.")] = None,
    preprocess: Annotated[
        str, typer.Option(help="Views of the image, by comma; the first is the headline.")
    ] = "concat-norm,concat-raw,merge-norm,merge-raw",
    input_size: Annotated[str, typer.Option(help="native (as published: no resize) or pixels a side.")] = "native",
    standardise: Annotated[
        str | None,
        typer.Option(help="none, all, train, plate-dmso, sphere-dmso or tvn. Default: as published; none for tables."),
    ] = None,
    taxol: Annotated[str, typer.Option(help="Taxol 0.3 µM of BBBC021: all its wells (published), or ljosa3.")] = "all",
    ties: Annotated[str, typer.Option(help="Ties of votes go to the nearest, or (published) lowest code.")] = "nearest",
    cyclops_labels: Annotated[str, typer.Option(help="clean, or the shifted labels that were published.")] = "clean",
    probe: Annotated[bool, typer.Option(help="Fit the linear probe too (slow).")] = True,
    cache: Annotated[Path | None, typer.Option(help="Where features are kept. Default: OUT/features.")] = None,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode ahead.")] = 2,
    seed: Annotated[int, typer.Option(help="Of bootstrap, shuffles and folds.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Score features on the transfer tasks: networks on images, or a table of features.

    Runs every task it finds data for and says how to get the others. The same command again computes what is missing
    and replaces scores of the same settings.
    """
    from ...builder.console import emit
    from ...builder.errors import UsageError
    from .. import run as orchestrate
    from ..protocols.settings import Settings
    from ..report.summary import show
    from ..tasks import TASKS

    wanted = listed(tasks, "--tasks", TASKS)
    choices = orchestrate.Choices(standardise, taxol, ties, cyclops_labels, probe, seed)  # type: ignore[arg-type]
    Settings(standardise or "none", taxol, ties, cyclops_labels)  # type: ignore[arg-type]  # refuses unknown ones early
    root = orchestrate.data_root(data)
    roots, missing = orchestrate.task_roots(root, wanted)
    if features is not None:
        if len(wanted) != 1:
            raise UsageError("A table of features belongs to one task", next="Name it, such as --tasks bbbc021")
        where = metadata or roots.get(wanted[0])
        run = orchestrate.score_table(features, wanted[0], where, out, choices, name)
    else:
        from ..features.views import METHODS

        if metadata is not None or name is not None:
            raise UsageError("--metadata and --name go with --features")
        for task, how in missing.items():
            _say_missing(task, root / task, how)
        if not roots:
            raise UsageError(
                "There is no data for any task", where=root, next="Name its folder with --data or CYTOIMAGENET_EVALDATA"
            )
        run = orchestrate.score_models(
            roots,
            [model.strip() for model in models.split(",") if model.strip()],
            out,
            choices,
            methods=listed(preprocess, "--preprocess", METHODS),
            size=pixels(input_size),
            cache=cache,
            engine=engine,
            workers=workers,
        )
    if not run.main:
        return
    document = orchestrate.finish(run)
    if as_json:
        emit(document)
    else:
        show(run.done, document, out)


def listed(given: str, option: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of an option that takes several, or say which is unknown."""
    from ...builder.errors import UsageError

    found = tuple(dict.fromkeys(word.strip() for word in given.split(",") if word.strip()))
    unknown = [word for word in found if word not in known]
    if unknown or not found:
        raise UsageError(f"{option} {given!r}: {', '.join(unknown) or 'nothing named'}", next=f"Use {', '.join(known)}")
    return found


def pixels(given: str) -> int | None:
    """Return the number of pixels `--input-size` names; None is the images' own."""
    from ...builder.errors import UsageError

    if given == "native":
        return None
    if not given.isdigit() or not 8 <= int(given) <= 4096:
        raise UsageError(f"--input-size {given!r} is neither native nor a number of pixels from 8 to 4096")
    return int(given)


def _say_missing(task: str, where: Path, how: str) -> None:
    from ...builder.console import err

    err.print(f"{task}: no data in {where}. {how}.", markup=False)
