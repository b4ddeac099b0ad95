"""The command `cache`. Heavy imports are inside the function, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..builder import console
from ..builder.commands.options import Json, examples

EXAMPLES = examples(
    "cytoimagenet cache cytoimagenet/",
    "cytoimagenet cache cytoimagenet/ --size 64 --out /scratch/decoded",
)


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("cache", epilog=EXAMPLES)(cache)


def cache(
    data_dir: Annotated[str, typer.Argument(metavar="DIR", help="Dataset folder: a path or a URL.")],
    size: Annotated[int, typer.Option(min=8, max=4096, help="Side of the decoded images in pixels.")] = 224,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the cache. Default: ~/.cache/cytoimagenet/decoded.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Number of workers that decode. Default: by the cores. The result is the same."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Decode and resize all images of a dataset once, so that training can read them without decoding.

    The cache is one file; an image takes 50 kB at 224 pixels. If the command is interrupted, run it again: it
    continues where it stopped.
    """
    import numpy as np

    from .cache import build_cache

    path = build_cache(data_dir, size=size, folder=out, workers=workers)
    images = len(np.load(path, mmap_mode="r"))
    size_bytes = path.stat().st_size
    if as_json:
        console.emit({"path": str(path), "images": images, "size": size, "bytes": size_bytes})
    else:
        console.out.print(f"{images:,} images of {size} x {size} px, {size_bytes / 1e6:,.1f} MB: {path}")
