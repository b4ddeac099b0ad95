"""Commands on the embeddings of a dataset folder: embed, similar."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Engine, Model, Workers

EMBED_EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet embed cytoimagenet --model imagenet

  cytoimagenet embed cytoimagenet --model runs/first --input-size 128

  torchrun --no-python --nproc-per-node 4 cytoimagenet embed cytoimagenet --model runs/first
"""
Folder = Annotated[str, typer.Argument(metavar="DIR", help="The dataset folder, local or a URL.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Chosen = Annotated[
    str | None, typer.Option("--embeddings", help="Model whose embeddings to use. Default: the only one in DIR.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("embed", epilog=EMBED_EXAMPLES)(embed)


def embed(
    folder: Folder,
    model: Model = "imagenet",
    name: Annotated[str | None, typer.Option(help="Name of the file. Default: that of the model.")] = None,
    input_size: Annotated[
        int, typer.Option(min=8, max=4096, help="Side in pixels to which images are resized for the network.")
    ] = 224,
    engine: Engine = "auto",
    workers: Workers = 2,
    as_json: Json = False,
) -> None:
    """Compute one vector per image with a network and add them to a dataset folder: embeddings/MODEL.parquet.

    The digest of the dataset stays the same. Running an interrupted command again resumes it.
    """
    from ...builder.console import emit, out
    from ..features import backbones
    from ..features.embed import embed as compute
    from ..features.embed import file_name
    from ..features.processes import is_main_process

    network = backbones.load(model)
    manifest = compute(folder, network, size=input_size, engine=engine, workers=workers, name=name)
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
