"""Commands on the embeddings of a dataset folder: embed, similar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...builder.commands.options import Json, examples
from .options import Chosen, Engine, Model, Threads

Folder = Annotated[str, typer.Argument(metavar="DIR", help="The dataset folder, local or a URL.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command(
        "embed",
        epilog=examples(
            "cytoimagenet embed cytoimagenet --model imagenet",
            "cytoimagenet embed cytoimagenet --model runs/first --input-size 128",
            "torchrun --no-python --nproc-per-node 4 cytoimagenet embed cytoimagenet --model runs/first",
        ),
    )(embed)
    app.command(
        "similar",
        epilog=examples(
            "cytoimagenet similar cytoimagenet plankton-000007",
            "cytoimagenet similar cytoimagenet cell.tif --images 50",
        ),
    )(similar)


def embed(
    folder: Folder,
    model: Model = "imagenet",
    name: Annotated[str | None, typer.Option(help="Name of the file. Default: that of the model.")] = None,
    input_size: Annotated[
        int, typer.Option(min=8, max=4096, help="Side in pixels to which images are resized for the network.")
    ] = 224,
    engine: Engine = "auto",
    workers: Threads = None,
    as_json: Json = False,
) -> None:
    """Compute one vector per image with a network and add them to a dataset folder: embeddings/MODEL.parquet.

    The digest of the dataset stays the same. Running an interrupted command again resumes it.
    """
    from ...builder.console import emit, out
    from ...loaders.cores import default_workers
    from ..features import backbones
    from ..features.embed import embed as compute
    from ..features.embed import file_name
    from ..features.processes import is_main_process

    network = backbones.load(model)
    manifest = compute(folder, network, size=input_size, engine=engine, workers=workers or default_workers(), name=name)
    if not is_main_process():
        return
    path = f"embeddings/{file_name(name or network.name)}.parquet"
    entry = manifest.derived[path]
    if as_json:
        emit({"path": path, **entry})
    else:
        rows, dimensions = entry["rows"], entry["settings"]["dimensions"]
        out.print(f"{path} in {folder}: {rows:,} vectors of {dimensions:,} values", markup=False)
        out.print(f"Next: cytoimagenet audit {folder}, or cytoimagenet explore atlas {folder}", markup=False)


def similar(
    folder: Folder,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Key of an image of the dataset, or an image file.")],
    out: Annotated[
        Path, typer.Option(help="The picture to write (PNG). The table is written to a .csv with the same name.")
    ] = Path("similar.png"),
    images: Annotated[int, typer.Option(min=1, max=500, help="Number of similar images.")] = 24,
    embeddings: Chosen = None,
    engine: Engine = "auto",
    as_json: Json = False,
) -> None:
    """Find the images of a dataset that look most like an image, by the cosine similarity of their embeddings."""
    from ...builder.console import emit
    from ...builder.console import out as console
    from ...builder.storage import write_atomic
    from ..explore import figures
    from ..explore.similar import similar as search

    table, pictures = search(folder, image, model=embeddings, images=images, engine=engine)
    captions = [f"{Path(image).name}\n(this image)"]
    captions += [f"{label}\n{value:.3f}" for label, value in zip(table["label"], table["similarity"], strict=True)]
    write_atomic(out, figures.neighbours(pictures, captions))
    write_atomic(out.with_suffix(".csv"), table.to_csv(index=False).encode())
    if as_json:
        emit({"figure": str(out), "images": table.to_dict("records")})
        return
    for row in table.itertuples():
        console.print(f"{row.similarity:.4f}  {row.label}  ({row.name}, {row.split})  {row.key}", markup=False)
    console.print(f"\nWrote {out} and {out.with_suffix('.csv')}", markup=False)
