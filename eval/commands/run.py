"""The command that scores features: eval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...builder.commands.options import Json, Pattern, Strict, examples
from .options import Data, Engine, FeaturesPrefix, Group, IdColumn, Label, OwnTasks, Split, Workers, listed, pixels

if TYPE_CHECKING:
    from ..leaderboard import Benchmark
    from ..own_images import OwnImages
    from ..own_tables import Columns
    from ..protocols.settings import EvaluationSettings
    from ..run import EvaluationRun
    from ..tasks.record import Task

MODELS = "random,imagenet,RUN,fusion"
OWN_PREPROCESS = "concat-norm"
EXAMPLES = examples(
    "cytoimagenet eval --task cells.zip --models random,imagenet,runs/first",
    "cytoimagenet eval --task plate1/images.csv --label phenotype --group plate --input-size 128 --out results",
    "cytoimagenet eval --features imagenet.parquet --features cellprofiler.csv --label moa --group plate",
    "cytoimagenet eval --data evaldata",
    "cytoimagenet eval --data evaldata --models runs/first --benchmark lab/transfer-tasks",
    "cytoimagenet eval --tasks bbbc021 --features profiles.csv.gz --metadata evaldata/bbbc021 --standardise plate-dmso",
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    data: Data = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Comma-separated tasks. Default: bbbc021,coos7,cyclops, or none with --task or --features."),
    ] = None,
    task: OwnTasks = None,
    label: Label = None,
    group: Group = None,
    split: Split = None,
    id_column: IdColumn = None,
    features_prefix: FeaturesPrefix = None,
    pattern: Pattern = None,
    strict: Strict = False,
    models: Annotated[
        list[str] | None,
        typer.Option(
            help="Comma-separated models; may be given several times. A path that exists is one model, even if it has "
            "a comma. Models: random, imagenet, RUN (the newest below ./runs), a training run, any image "
            "model of transformers, fusion (the features of imagenet and a training run side by side). Default: "
            "random,imagenet,RUN,fusion."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results.json, predictions and report.html.")] = Path("results"),
    features: Annotated[
        list[Path] | None,
        typer.Option(
            help="Score this table of features (.parquet, .csv, .npz) instead of models. May be given several times: "
            "the tables are compared with each other."
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="With --features and --tasks: folder of the task. Default: its folder below --data."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="With --features: name of the features in the results. Default: the file's name."),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated views of an image: concat (each channel separately) or merge (mean of the channels), "
            "norm (contrast stretched) or raw (as measured). The report shows the first one. Default: concat-norm for "
            "your own images, all four for --tasks."
        ),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(
            help="Side of the images shown to the network, in pixels, or native: not resized. Default: 224 for your "
            "own images, native (published) for --tasks."
        ),
    ] = None,
    standardise: Annotated[
        str | None,
        typer.Option(
            help="Scaling of the features: none, all, train, plate-dmso, sphere-dmso or tvn. Default: train (the "
            "training part of each fold) for your own images and tables, as published for models, none for a table."
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
    workers: Workers = None,
    benchmark: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME[@REVISION]",
            help="Dataset repository on the Hugging Face Hub with a leaderboard of the tasks. Writes the scores of "
            "each training run to RUN/.eval_results, which push-model uploads, and the list of tasks to OUT/eval.yaml.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of bootstrap, shuffled labels and folds.")] = 0,
    as_json: Json = False,
) -> None:
    """Score features of networks, or tables of features, on your own labelled images or on the transfer tasks.

    With --task IMAGES, each sample is classified by its 11 nearest neighbours and by a linear probe: fitted on `train`
    where there is a split, else on other groups than its own, else on other samples.

    Without it, runs every transfer task whose data it finds, and prints how to get the data of the others. Running the
    command again computes only what is missing, and replaces scores with the same settings.
    """
    from ...builder.console import emit
    from ..own_tables import Columns
    from ..protocols.settings import EvaluationSettings
    from ..report.summary import show
    from ..run import finish
    from ..tasks.registry import TASKS

    settings = EvaluationSettings(standardise, taxol, ties, cyclops_labels, probe, seed)  # type: ignore[arg-type]
    prefixes = tuple(word.strip() for word in (features_prefix or "").split(",") if word.strip())
    columns = Columns(label, group, split, id_column, prefixes)
    chosen = [TASKS[word] for word in listed(tasks, "--tasks", TASKS)] if tasks is not None else []
    if not (chosen or task or features):
        chosen = list(TASKS.values())
    network_options = {"--models": models, "--preprocess": preprocess, "--input-size": input_size}
    _check_tables(features or [], chosen, task or [], name or [], metadata, network_options)
    _check_own(columns, chosen, task or [], features or [], pattern, strict=strict)
    board = _benchmark(benchmark, chosen, features or [])
    if features:
        run = _tables(features, name or [], chosen, metadata, data, task, columns, pattern, strict, out, settings)
    else:
        run = _models(
            chosen,
            data,
            [_images(one, columns, pattern, strict) for one in task or []],
            models or [MODELS],
            preprocess,
            input_size,
            strict,
            cache,
            engine,
            workers,
            out,
            settings,
        )
    if not run.main:
        return
    document = finish(run)
    if as_json:
        emit(document)
    else:
        show(run.done, document, out, run.tasks)
    if board:
        _write_leaderboard(run, board)


def _check_tables(
    features: Sequence[Path],
    chosen: Sequence[Task],
    own: Sequence[str],
    names: Sequence[str],
    metadata: Path | None,
    network_options: Mapping[str, object],
) -> None:
    """Refuse combinations of options with and without `--features` that would be ignored."""
    from ...builder.errors import UsageError

    if not features:
        if metadata is not None or names:
            raise UsageError("--metadata and --name can only be used with --features")
        return
    if len(chosen) + len(own) > 1:
        raise UsageError("Tables of features belong to one task", next="Name one of --tasks, or one --task IMAGES")
    if metadata is not None and not chosen:
        raise UsageError("--metadata is the folder of a task", next="Name it, such as --tasks bbbc021")
    given = [option for option, value in network_options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} can't be used with --features: nothing is computed from images")


def _benchmark(text: str | None, chosen: Sequence[Task], features: Sequence[Path]) -> Benchmark | None:
    """Read --benchmark; it needs a transfer task and networks."""
    from ...builder.errors import UsageError
    from ..leaderboard import Benchmark

    if text is None:
        return None
    if features or not chosen:
        raise UsageError("--benchmark lists scores of networks on the transfer tasks", next="Name a task with --tasks")
    return Benchmark.parse(text)


def _write_leaderboard(run: EvaluationRun, benchmark: Benchmark) -> None:
    from ...builder.console import err
    from ..leaderboard import write_leaderboard

    written = write_leaderboard(run, benchmark)
    err.print(f"Wrote for the Hub: {', '.join(map(str, written))}", markup=False)
    if len(written) == 1:
        err.print("No scores: no training run was evaluated. Name one with --models", markup=False)


def _check_own(
    columns: Columns,
    chosen: Sequence[Task],
    own: Sequence[str],
    features: Sequence[Path],
    pattern: str | None,
    *,
    strict: bool,
) -> None:
    """Refuse options for a user's own samples where there are none."""
    from ...builder.errors import UsageError

    named = [f"--{key}" for key in columns.named]
    if named and chosen and not own:
        raise UsageError(
            f"{', '.join(named)} can't be used with --tasks", next="Leave out --tasks, or name your images with --task"
        )
    if columns.features and not features:
        raise UsageError("--features-prefix is for tables of features", next="Name the table with --features")
    if columns.id and not features:
        raise UsageError("--id is a column of a table of features", next="Name the table with --features")
    if (pattern or strict) and not own:
        raise UsageError("--pattern and --strict are for your own images", next="Name them with --task")


def _images(images: str, columns: Columns, pattern: str | None, strict: bool) -> OwnImages:
    from ..own_images import own_images

    return own_images(images, columns, pattern=pattern, strict=strict)


def _tables(
    features: Sequence[Path],
    names: Sequence[str],
    chosen: Sequence[Task],
    metadata: Path | None,
    data: Path | None,
    own: Sequence[str] | None,
    columns: Columns,
    pattern: str | None,
    strict: bool,
    out: Path,
    settings: EvaluationSettings,
) -> EvaluationRun:
    from ..run import data_root, task_roots
    from ..run_tables import names_of, score_own_tables, score_tables

    tables = names_of(features, names)
    if chosen:
        roots, _ = task_roots(data_root(data), chosen)
        return score_tables(
            tables, chosen[0], metadata or roots.get(chosen[0]), out, settings, prefixes=columns.features
        )
    images = _images(own[0], columns, pattern, strict) if own else None
    return score_own_tables(tables, columns, out, settings, images)


def _names(words: str) -> list[str]:
    """Return the models that an option names: a path that exists is one, else commas separate them."""
    if Path(words).exists():
        return [words]
    return [name.strip() for name in words.split(",") if name.strip()]


def _models(
    chosen: Sequence[Task],
    data: Path | None,
    own: Sequence[OwnImages],
    models: list[str],
    preprocess: str | None,
    input_size: str | None,
    strict: bool,
    cache: Path | None,
    engine: str,
    workers: int | None,
    out: Path,
    settings: EvaluationSettings,
) -> EvaluationRun:
    from ...builder.errors import UsageError
    from ...loaders.cores import default_workers
    from ..features.views import METHODS
    from ..run import data_root, score_models, task_roots

    methods = listed(preprocess or (",".join(METHODS) if chosen else OWN_PREPROCESS), "--preprocess", METHODS)
    size: int | Literal["native"] | None = None if input_size is None else pixels(input_size) or "native"
    root = data_root(data)
    roots, missing = task_roots(root, chosen)
    _print_missing(missing, root)
    if not roots and not own:
        raise UsageError(
            "There is no data for any task",
            where=root,
            next="Name its folder with --data or CYTOIMAGENET_EVALDATA, or your own labelled images with --task",
        )
    return score_models(
        roots,
        [name for words in models for name in _names(words)],
        out,
        settings,
        methods=methods,
        size=size,
        own=own,
        strict=strict,
        cache=cache,
        engine=engine,
        workers=workers or default_workers(),
    )


def _print_missing(missing: Sequence[Task], root: Path) -> None:
    from ...builder.console import err

    for task in missing:
        err.print(f"{task.name}: no data in {root / task.name}. {task.how_to_get}.", markup=False)
