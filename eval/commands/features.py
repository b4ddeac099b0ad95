"""The command that computes features: features."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ...builder.commands.options import Json, Pattern, Strict, examples
from .options import Data, Engine, Models, listed, pixels

EXAMPLES = examples(
    "cytoimagenet features plate1/images.csv --model imagenet --out plate1.parquet",
    "cytoimagenet features plate1 --pattern imagexpress --aggregate Metadata_Plate,Metadata_Well --out wells.csv.gz",
    "cytoimagenet features cells.zip --model imagenet --model runs/first --out cells.h5ad",
    "cytoimagenet features --model runs/first --tasks coos7,cyclops --preprocess concat-norm,merge-norm",
    "torchrun --no-python --nproc-per-node 4 cytoimagenet features plate1 --pattern phenix",
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("features", epilog=EXAMPLES)(features)


def features(
    images: Annotated[
        str | None,
        typer.Argument(
            metavar="IMAGES",
            help="Your own images: a table (.csv, .tsv, .parquet) with the column `file` or one column `file_CHANNEL` "
            "per channel, a folder, or a .zip. Without it, --tasks.",
        ),
    ] = None,
    model: Models = None,
    pattern: Pattern = None,
    out: Annotated[
        Path,
        typer.Option(
            help="File to write: .parquet, .csv, .csv.gz, .npz or .h5ad. With --tasks a .parquet; of several tasks, "
            "models or preprocessings there are several, with their names added."
        ),
    ] = Path("features.parquet"),
    preprocess: Annotated[
        str,
        typer.Option(
            help="Comma-separated views of an image: concat-norm, concat-raw, merge-norm, merge-raw. concat: each "
            "channel separately; merge: mean of the channels; norm: contrast stretched; raw: as measured."
        ),
    ] = "concat-norm",
    input_size: Annotated[
        str | None,
        typer.Option(
            help="Side of the images shown to the network, in pixels, or native: not resized. Default: 224 for your "
            "own images, native for tasks."
        ),
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            min=8, max=4096, help="Cut large images into tiles of this side in pixels, and average over the tiles."
        ),
    ] = None,
    every_tile: Annotated[bool, typer.Option("--every-tile", help="With --tile: write one row per tile.")] = False,
    aggregate: Annotated[
        str,
        typer.Option(help="Comma-separated columns, such as Metadata_Plate,Metadata_Well: average rows that agree."),
    ] = "",
    strict: Strict = False,
    tasks: Annotated[
        str | None, typer.Option(help="Comma-separated tasks instead of IMAGES: bbbc021,coos7,cyclops.")
    ] = None,
    data: Data = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder that stores computed features, from which the same command resumes. Default: features-cache "
            "in the folder of OUT."
        ),
    ] = None,
    engine: Engine = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that decode images; more than 4 are processes. Default: one per core."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the features of networks for your own images: one row per image, or per well.

    The table has Metadata_ columns and one column per feature, as pycytominer and copairs take them. Samples that can't
    be used are listed with reasons in OUT.rejected.csv. Running an interrupted command again resumes it.

    With --tasks, the features of the samples of an evaluation task, for `cytoimagenet eval --features`.
    """
    from ...builder.errors import UsageError
    from ...loaders.cores import usable_cores

    common: dict[str, Any] = {
        "models": [name.strip() for one in model or ["imagenet"] for name in one.split(",") if name.strip()],
        "out": out,
        "preprocess": preprocess,
        "cache": cache or out.parent / "features-cache",
        "engine": engine,
        "workers": workers or usable_cores(),
        "as_json": as_json,
    }
    if images is None:
        if pattern or tile or every_tile or aggregate or strict:
            raise UsageError(
                "--pattern, --tile, --every-tile, --aggregate and --strict are for your own images",
                next="Name a table, folder or zip of images, or leave them out",
            )
        _tasks(tasks or "bbbc021", data, pixels(input_size or "native"), **common)
        return
    if tasks is not None or data is not None:
        raise UsageError("--tasks and --data are for evaluation tasks, not for your own images")
    if tile and input_size is not None:
        raise UsageError("Images are either resized or cut into tiles", next="Leave out --input-size or --tile")
    _own_images(
        images,
        pattern,
        None if tile else pixels(input_size or "224"),
        tile,
        every_tile,
        [name.strip() for name in aggregate.split(",") if name.strip()],
        strict,
        **common,
    )


def _own_images(
    images: str,
    pattern: str | None,
    size: int | None,
    tile: int | None,
    every_tile: bool,
    aggregate: list[str],
    strict: bool,
    *,
    models: list[str],
    out: Path,
    preprocess: str,
    cache: Path,
    engine: str,
    workers: int,
    as_json: bool,
) -> None:
    from ...builder.console import emit, err
    from ...builder.console import out as screen
    from ...builder.image_table.table import read_image_table
    from ..features import backbones
    from ..features.own_images import profile
    from ..features.processes import is_main_process
    from ..features.views import METHODS
    from ..features.write_profiles import check_suffix, write

    methods = listed(preprocess, "--preprocess", METHODS)
    check_suffix(out)
    table = read_image_table(images, pattern=pattern, strict=strict)
    networks = [backbones.load(name) for name in models]
    begun = time.perf_counter()
    profiles, usable = profile(
        table,
        networks,
        methods=methods,
        size=size,
        tile=tile,
        every_tile=every_tile,
        aggregate=aggregate,
        cache=cache,
        engine=engine,
        workers=workers,
        strict=strict,
    )
    if not is_main_process():
        return
    write(profiles, out)
    rejected = usable.write_rejected(out)
    seconds = time.perf_counter() - begun
    if as_json:
        counts = {"samples": len(usable), "offered": usable.offered, "rejected_csv": rejected}
        emit({"path": str(out), "rows": len(profiles), "features": len(profiles.names), **counts, **profiles.settings})
        return
    for note in usable.notes:
        err.print(f"Note: {note}", markup=False)
    columns = ", ".join(profiles.metadata.columns)
    screen.print(f"{out}: {len(profiles):,} rows of {len(profiles.names):,} features; {columns}", markup=False)
    screen.print(f"  {len(usable):,} of {usable.offered:,} samples in {seconds:,.0f} s", markup=False)
    if rejected:
        err.print(f"{len(usable.rejected):,} samples can't be used: {rejected}", markup=False)


def _tasks(
    tasks: str,
    data: Path | None,
    size: int | None,
    *,
    models: list[str],
    out: Path,
    preprocess: str,
    cache: Path,
    engine: str,
    workers: int,
    as_json: bool,
) -> None:
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
    networks = [backbones.load(name) for name in models]
    written = []
    for task, samples in samples_of.items():
        tables = extract(samples, networks, methods=methods, size=size, cache=cache, engine=engine, workers=workers)
        for (model, method), table in tables.items():
            single = len(names) * len(methods) * len(models) == 1
            parts = [out.stem, task, *([model.replace("/", "-")] if len(models) > 1 else []), method]
            path = out if single else out.with_name("-".join(parts) + (out.suffix or ".parquet"))
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
