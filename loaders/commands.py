"""The command of the loaders room: cache. Heavy imports stay inside, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..builder import console

EXAMPLES = """
Examples:

  cytoimagenet cache cytoimagenet/

  cytoimagenet cache cytoimagenet/ --size 64 --out /scratch/decoded
"""


def add_to(app: typer.Typer) -> None:
    """Add this room's commands to the application."""
    app.command("cache", epilog=EXAMPLES)(cache)


def cache(
    data_dir: Annotated[str, typer.Argument(metavar="DIR", help="Dataset folder, local or a URL.")],
    size: Annotated[int, typer.Option(min=8, max=4096, help="Side of the decoded images in pixels.")] = 224,
    out: Annotated[Path | None, typer.Option(help="Folder of the cache; else the user's cache folder.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Threads that decode.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print path, images and bytes for machines.")] = False,
) -> None:
    """Decode every image once into one file, from which epochs are read without decoding.

    224 px take 50 kB an image. Run again after an interruption: it goes on where it stopped.
    """
    import numpy as np

    from .cache import build_cache

    path = build_cache(data_dir, size=size, folder=out, workers=workers)
    images = len(np.load(path, mmap_mode="r"))
    taken = path.stat().st_size
    told = {"path": str(path), "images": images, "size": size, "bytes": taken}
    if as_json:
        console.emit(told)
    else:
        console.out.print(f"{images:,} images of {size} x {size} px, {taken / 1e9:.2f} GB, in {path}")
