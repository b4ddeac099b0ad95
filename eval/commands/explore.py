"""Commands that draw the figures around the scores: explore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..explore import composition as looks_composition
from ..explore import diversity as looks_diversity
from ..explore import per_class as looks_per_class

explore = typer.Typer(
    help="Figures around the scores: maps of features, diversity of classes, composition, what is never right.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

Folder = Annotated[str, typer.Argument(metavar="DIR", help="The dataset folder, local or a URL.")]
Model = Annotated[str, typer.Option(help="random, random:SEED, imagenet, a training run, or any transformers model.")]
Classes = Annotated[int, typer.Option(min=1, help="How many classes, drawn at random.")]
Images = Annotated[int, typer.Option(min=1, help="How many images of each at most, drawn at random.")]
Label = Annotated[list[str] | None, typer.Option("--label", help="Take this class; repeat it.")]
Size = Annotated[int, typer.Option(min=8, help="Pixels a side that the network sees.")]
Seed = Annotated[int, typer.Option(help="Of the drawing and of the map.")]
Cache = Annotated[Path | None, typer.Option(help="Where features are kept. Default: features-cache beside OUT.")]
Engine = Annotated[str, typer.Option(help="auto, torch or openvino.")]
Json = Annotated[bool, typer.Option("--json", help="Print what the figure shows as JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(explore, name="explore")


@explore.command("umap")
def umap(
    data: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="The dataset folder; with --task the folder of the task.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The figure; its points go beside it as .csv.")] = Path("umap.png"),
    features: Annotated[
        Path | None, typer.Option(help="Map this table (.parquet, .csv, .npz) instead of computing features.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="With --features: the task whose samples its rows are.")] = None,
    rows: Annotated[int, typer.Option(min=5, help="With --features: how many rows at most, at random.")] = 5000,
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
    """Map features to the plane, coloured by class, source and resolution (of a task: set, week, plate, compound).

    [bold]Examples[/bold]

      cytoimagenet explore umap cytoimagenet --out umap.png

      cytoimagenet explore umap cytoimagenet --model runs/first --label actin --label nucleus

      cytoimagenet explore umap evaldata/coos7 --task coos7 --features features.parquet
    """
    from ...builder.errors import UsageError
    from ..explore import maps as looks
    from ..explore.figures import maps
    from ..features import backbones

    if features is not None:
        table, model = looks.map_of_table(features, data, task=task, rows=rows, seed=seed), features.name
    elif data is None or task is not None:
        raise UsageError(
            "--task goes with --features" if task else "There is nothing to map",
            next="Name a dataset folder, or a table with --features",
        )
    else:
        table = looks.map_of_dataset(
            data,
            backbones.load(model),
            cache or out.parent / "features-cache",
            classes=classes,
            images=images,
            labels=label,
            size=size,
            seed=seed,
            engine=engine,
        )
    panels = looks.panels(table)
    if not panels:
        raise UsageError("Nothing is known to colour the map by", where=features, next="Name DIR, or add a label")
    _write(out, maps(panels))
    _write(out.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g").encode())
    count = {"classes": int(table["label"].nunique())} if "label" in table else {}
    _say(as_json, {"figure": str(out), "images": len(table), **count, "model": model})


@explore.command("upsampling")
def upsampling(
    data: Folder,
    raw: Annotated[Path, typer.Option(help="The raw sources the dataset was built from.")],
    out: Annotated[Path, typer.Option(help="The figure.")] = Path("upsampling.png"),
    model: Model = "imagenet",
    classes: Classes = 20,
    images: Images = 50,
    size: Size = 224,
    seed: Seed = 0,
    cache: Cache = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Map features of random classes before and after cropping: the published figure of upsampling.

    [bold]Examples[/bold]

      cytoimagenet explore upsampling cytoimagenet --raw RAW --out upsampling.png
    """
    from ..explore import maps as looks
    from ..explore.figures import maps
    from ..features import backbones

    before, after = looks.before_and_after_cropping(
        data,
        raw,
        backbones.load(model),
        cache or out.parent / "features-cache",
        classes=classes,
        images=images,
        size=size,
        seed=seed,
        engine=engine,
    )
    titles = (f"before: {len(before):,} source images", f"after: {len(after):,} images of the dataset")
    _write(out, maps([(titles[0], before, "label"), (titles[1], after, "label")]))
    _say(as_json, {"figure": str(out), "before": len(before), "after": len(after), "model": model})


@explore.command("diversity")
def diversity(
    data: Folder,
    out: Annotated[Path, typer.Option(help="The figure; .csv and .labels.json go beside it.")] = Path("diversity.png"),
    model: Model = "imagenet",
    threshold: Annotated[float, typer.Option(min=-1, max=1, help="Similarity within a class; published: 0.8.")] = 0.8,
    classes: Annotated[int | None, typer.Option(min=1, help="How many classes at random. Default: all.")] = None,
    images: Images = 100,
    size: Size = 224,
    seed: Seed = 0,
    cache: Cache = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Say how alike the images of each class are, and list the classes above a threshold.

    [bold]Examples[/bold]

      cytoimagenet explore diversity cytoimagenet --out diversity.png

      cytoimagenet train cytoimagenet --set "labels=$(cat diversity.labels.json)"
    """
    import json

    from ..explore import figures
    from ..explore import maps as looks
    from ..features import backbones
    from ..features.dataset_images import choose

    chosen = choose(data, classes=classes, images=images, seed=seed)
    network = backbones.load(model)
    features = looks.features_of(chosen, network, cache or out.parent / "features-cache", size=size, engine=engine)
    table = looks_diversity.diversity(features.values, chosen.table["label"])
    uniform = looks_diversity.above(table, threshold)
    _write(out, figures.diversity(table, threshold))
    _write(out.with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g").encode())
    listed = out.with_suffix(".labels.json")
    _write(listed, json.dumps(uniform, ensure_ascii=False).encode())
    said = {"figure": str(out), "classes": len(table), "above": len(uniform), "threshold": threshold}
    _say(as_json, {**said, "labels": str(listed)})


@explore.command("composition")
def composition(
    data: Folder,
    out: Annotated[Path, typer.Option(help="The figure.")] = Path("composition.png"),
    as_json: Json = False,
) -> None:
    """Draw how many images and classes come from which category, database and source.

    [bold]Examples[/bold]

      cytoimagenet explore composition cytoimagenet --out composition.png
    """
    from ..explore import figures

    tables = looks_composition.composition(data)
    _write(out, figures.composition(tables))
    _say(as_json, {"figure": str(out), **{name: table.to_dict("records") for name, table in tables.items()}})


@explore.command("per-class")
def per_class(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training run, or its per_class.csv.")],
    out: Annotated[Path, typer.Option(help="The figure; the classes never right go beside it as .csv.")] = Path(
        "per-class.png"
    ),
    as_json: Json = False,
) -> None:
    """Say which validation classes a training run never gets right, and draw the accuracy of all.

    [bold]Examples[/bold]

      cytoimagenet explore per-class runs/first --out per-class.png
    """
    from ...training.plots import plot_per_class

    table = looks_per_class.read_per_class(run)
    missed = looks_per_class.never_right(run)
    plot_per_class(table, out)
    _write(out.with_suffix(".csv"), missed.to_csv(index=False).encode())
    seen = int((table["evaluated"] > 0).sum())
    said = {
        "figure": str(out),
        "classes": seen,
        "never_right": len(missed),
        "by_category": looks_per_class.by_category(table),
    }
    _say(as_json, {**said, "labels": missed["label"].tolist()})


@explore.command("grid")
def grid(
    data: Folder,
    out: Annotated[Path, typer.Option(help="The picture.")] = Path("grid.png"),
    label: Annotated[str | None, typer.Option(help="Images of this class. Default: one image of every class.")] = None,
    images: Annotated[int, typer.Option(min=1, help="How many at most; published: 81 of a class.")] = 81,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Put images of one class, or one image of every class, side by side in a square.

    [bold]Examples[/bold]

      cytoimagenet explore grid cytoimagenet --label actin --out actin.png

      cytoimagenet explore grid cytoimagenet --images 900 --out classes.png
    """
    import math

    from ..explore import figures
    from ..features.dataset_images import choose

    chosen = choose(data, classes=images, images=images if label else 1, labels=[label] if label else None, seed=seed)
    shown = [chosen.load(i)[0] for i in range(len(chosen))]
    _write(out, figures.grid(shown, math.ceil(math.sqrt(len(shown)))))
    _say(as_json, {"figure": str(out), "images": len(shown), "classes": int(chosen.table["label"].nunique())})


def _write(path: Path, content: bytes) -> None:
    from ...builder.storage import write_atomic

    write_atomic(path, content)


def _say(as_json: bool, said: dict[str, Any]) -> None:
    from ...builder.console import emit, out

    if as_json:
        emit(said)
        return
    for name, value in said.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            out.print(f"{name}:", markup=False)
            for row in value:
                out.print("  " + ", ".join(f"{key} {cell}" for key, cell in row.items()), markup=False)
        else:
            shown = ", ".join(value) or "none" if isinstance(value, list) else value
            out.print(f"{name.replace('_', ' ')}: {shown}", markup=False)
