"""Commands that plot figures about data and models: explore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...builder.commands.options import Json, examples
from .options import Chosen, Engine, Model, Threads

if TYPE_CHECKING:
    import pandas as pd

explore = typer.Typer(
    help="Figures about data and models: maps of features, diversity of classes, composition, classes never correct.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

# Typer reads the options of a command from its own signature: these are repeated there by name, defined once here
Folder = Annotated[str, typer.Argument(metavar="DIR", help="The dataset folder, local or a URL.")]
Classes = Annotated[int, typer.Option(min=1, help="Number of classes, sampled at random.")]
Images = Annotated[int, typer.Option(min=1, help="Largest number of images of each class, sampled at random.")]
Label = Annotated[list[str] | None, typer.Option("--label", help="Take this class; may be given several times.")]
Size = Annotated[int, typer.Option(min=8, help="Side in pixels to which images are resized for the network.")]
Seed = Annotated[int, typer.Option(help="Random seed of the sampling and of the map.")]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder that stores computed features. Default: features-cache in the folder of OUT."),
]
Figure = Annotated[Path, typer.Option(help="The figure to write (PNG).")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(explore, name="explore")


@explore.command(
    "umap",
    epilog=examples(
        "cytoimagenet explore umap cytoimagenet --out umap.png",
        "cytoimagenet explore umap cytoimagenet --model runs/first --label actin --label nucleus",
        "cytoimagenet explore umap evaldata/coos7 --task coos7 --features features.parquet",
    ),
)
def umap(
    data: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="The dataset folder; with --task the folder of the task.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The figure to write (PNG). Its points are written to a .csv with the same name.")
    ] = Path("umap.png"),
    features: Annotated[
        Path | None, typer.Option(help="Map this table (.parquet, .csv, .npz) instead of computing features.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="With --features: the task to which the rows belong.")] = None,
    rows: Annotated[
        int, typer.Option(min=5, help="With --features: largest number of rows, sampled at random.")
    ] = 5000,
    colour: Annotated[
        list[str] | None,
        typer.Option(
            help="With --features: column of the table to colour by, such as group; may be given several times. "
            "Default: label and two other columns that vary."
        ),
    ] = None,
    model: Model = "imagenet",
    classes: Classes = 20,
    images: Images = 50,
    label: Label = None,
    size: Size = 224,
    seed: Seed = 0,
    cache: Cache = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Map features to two dimensions by UMAP, coloured by class, source and resolution (or the columns of a task)."""
    from ...builder.errors import UsageError
    from ..explore import figures, maps
    from ..features import backbones

    if colour and features is None:
        raise UsageError("--colour names columns of a table", next="Name the table with --features")
    if features is not None:
        table = maps.map_of_table(features, data, task=task, rows=rows, colours=colour or (), seed=seed)
        model = features.name
    elif data is None or task is not None:
        raise UsageError(
            "--task can only be used with --features" if task else "There is nothing to map",
            next="Name a dataset folder, or a table with --features",
        )
    else:
        table = maps.map_of_dataset(
            data,
            backbones.load(model),
            _cache(cache, out),
            classes=classes,
            images=images,
            labels=label,
            size=size,
            seed=seed,
            engine=engine,
        )
    panels = maps.panels(table, colour or ())
    if not panels:
        raise UsageError("The table has no column to colour the map by", where=features, next="Name DIR, or add label")
    _write(out, figures.maps(panels, f"UMAP of {len(table):,} rows, features of {model}"))
    _write_csv(out, table)
    count = {"classes": int(table["label"].nunique())} if "label" in table else {}
    _report(as_json, {"figure": str(out), "images": len(table), **count, "model": model})


@explore.command(
    "upsampling", epilog=examples("cytoimagenet explore upsampling cytoimagenet --raw RAW --out upsampling.png")
)
def upsampling(
    data: Folder,
    raw: Annotated[Path, typer.Option(help="Folder of the raw sources from which the dataset was built.")],
    out: Figure = Path("upsampling.png"),
    model: Model = "imagenet",
    classes: Classes = 20,
    images: Images = 50,
    size: Size = 224,
    seed: Seed = 0,
    cache: Cache = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Map features of random classes before and after cropping, as in the published figure of upsampling."""
    from ..explore import figures, maps
    from ..features import backbones

    before, after = maps.before_and_after_cropping(
        data,
        raw,
        backbones.load(model),
        _cache(cache, out),
        classes=classes,
        images=images,
        size=size,
        seed=seed,
        engine=engine,
    )
    titles = (f"before: {len(before):,} source images", f"after: {len(after):,} images of the dataset")
    _write(out, figures.maps([(titles[0], before, "label"), (titles[1], after, "label")]))
    _report(as_json, {"figure": str(out), "before": len(before), "after": len(after), "model": model})


@explore.command(
    "diversity",
    epilog=examples(
        "cytoimagenet explore diversity cytoimagenet --out diversity.png",
        'cytoimagenet train cytoimagenet --set "labels=$(cat diversity.labels.json)"',
    ),
)
def diversity(
    data: Folder,
    out: Annotated[
        Path, typer.Option(help="The figure to write (PNG); .csv and .labels.json with the same name are written too.")
    ] = Path("diversity.png"),
    model: Model = "imagenet",
    threshold: Annotated[
        float,
        typer.Option(min=-1, max=1, help="List the classes with a mean cosine similarity above this; published: 0.8."),
    ] = 0.8,
    classes: Annotated[
        int | None, typer.Option(min=1, help="Number of classes, sampled at random. Default: all.")
    ] = None,
    images: Images = 100,
    size: Size = 224,
    seed: Seed = 0,
    cache: Cache = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Compute how similar the images of each class are, and list the classes above a threshold."""
    import json

    from ..explore import diversity as analysis
    from ..explore import figures, maps
    from ..features import backbones
    from ..features.dataset_images import choose

    chosen = choose(data, classes=classes, images=images, seed=seed)
    features = maps.features_of(chosen, backbones.load(model), _cache(cache, out), size=size, engine=engine)
    table = analysis.diversity(features.values, chosen.table["label"])
    uniform = analysis.above(table, threshold)
    labels = out.with_suffix(".labels.json")
    _write(out, figures.diversity(table, threshold))
    _write_csv(out, table)
    _write(labels, json.dumps(uniform, ensure_ascii=False).encode())
    counts = {"classes": len(table), "above": len(uniform), "threshold": threshold}
    _report(as_json, {"figure": str(out), **counts, "labels": str(labels)})


@explore.command(
    "atlas",
    epilog=examples(
        "cytoimagenet explore atlas cytoimagenet",
        "cytoimagenet explore atlas cytoimagenet --embeddings imagenet --images 20000 --out atlas.html",
    ),
)
def atlas(
    data: Folder,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("atlas.html"),
    embeddings: Chosen = None,
    images: Annotated[int, typer.Option(min=5, help="Largest number of images, sampled at random.")] = 100_000,
    seed: Seed = 0,
    workers: Threads = None,
    as_json: Json = False,
) -> None:
    """Write a page with a map of the images: zoom, hover to see an image, search, select a region and save it as CSV.

    The page is one file and needs no network. Needs embeddings: run `cytoimagenet embed DIR` first.
    """
    from ...loaders.cores import default_workers
    from ..explore.atlas import write_atlas

    threads = workers or default_workers()
    _report(as_json, write_atlas(data, out, model=embeddings, images=images, seed=seed, workers=threads))


@explore.command("composition", epilog=examples("cytoimagenet explore composition cytoimagenet --out composition.png"))
def composition(data: Folder, out: Figure = Path("composition.png"), as_json: Json = False) -> None:
    """Plot the numbers of images and classes by category, database and source."""
    from ..explore import composition as analysis
    from ..explore import figures

    tables = analysis.composition(data)
    _write(out, figures.composition(tables))
    _report(as_json, {"figure": str(out), **{name: table.to_dict("records") for name, table in tables.items()}})


@explore.command("per-class", epilog=examples("cytoimagenet explore per-class runs/first --out per-class.png"))
def per_class(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run, or its per_class.csv.")],
    out: Annotated[
        Path, typer.Option(help="The figure to write (PNG). Classes never correct are written to a .csv.")
    ] = Path("per-class.png"),
    as_json: Json = False,
) -> None:
    """Plot the accuracy of each class, and list the classes of which a training run gets no validation image right."""
    from ...training.plots import plot_per_class
    from ..explore.per_class import by_category, missed_classes, read_per_class

    table = read_per_class(run)
    missed = missed_classes(table)
    plot_per_class(table, out)
    _write(out.with_suffix(".csv"), missed.to_csv(index=False).encode())
    counts = {"classes": int((table["evaluated"] > 0).sum()), "never_right": len(missed)}
    labels = missed["label"].tolist()
    _report(as_json, {"figure": str(out), **counts, "by_category": by_category(table), "labels": labels})


@explore.command(
    "grid",
    epilog=examples(
        "cytoimagenet explore grid cytoimagenet --label actin --out actin.png",
        "cytoimagenet explore grid cytoimagenet --images 900 --out classes.png",
    ),
)
def grid(
    data: Folder,
    out: Figure = Path("grid.png"),
    label: Annotated[
        str | None, typer.Option(help="Show images of this class. Default: one image of every class.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Largest number of images; published: 81 of a class.")] = 81,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Show images of one class, or one image of every class, in a square grid."""
    import math

    from ..explore import figures
    from ..features.dataset_images import choose

    chosen = choose(data, classes=images, images=images if label else 1, labels=[label] if label else None, seed=seed)
    shown = [chosen.load(i)[0] for i in range(len(chosen))]
    captions = None if label else chosen.table["label"].tolist()
    _write(out, figures.grid(shown, math.ceil(math.sqrt(len(shown))), captions=captions))
    _report(as_json, {"figure": str(out), "images": len(shown), "classes": int(chosen.table["label"].nunique())})


def _cache(cache: Path | None, out: Path) -> Path:
    return cache or out.parent / "features-cache"


def _write(path: Path, content: bytes) -> None:
    from ...builder.storage import write_atomic

    write_atomic(path, content)


def _write_csv(figure: Path, table: pd.DataFrame) -> None:
    _write(figure.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g").encode())


def _report(as_json: bool, result: dict[str, Any]) -> None:
    from ...builder.console import emit, out

    if as_json:
        emit(result)
        return
    for name, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            out.print(f"{name}:", markup=False)
            for row in value:
                out.print("  " + ", ".join(f"{key} {cell}" for key, cell in row.items()), markup=False)
        else:
            shown = ", ".join(value) or "none" if isinstance(value, list) else value
            out.print(f"{name.replace('_', ' ')}: {shown}", markup=False)
