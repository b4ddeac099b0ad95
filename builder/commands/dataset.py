"""Commands over a dataset folder: shard, verify, info, preview, card, browse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import emit, out
from ..errors import CheckFailedError
from .options import SHARD_SIZE, Form, Json, ShardFormat, ShardSize, parse_size

Folder = Annotated[str, typer.Argument(metavar="DIR", help="A dataset folder, local or a URL.")]


def shard(
    curated: Annotated[str, typer.Argument(metavar="CURATED", help="What `cytoimagenet curate` wrote.")],
    to: Annotated[str, typer.Option("--out", help="The dataset folder to write, local or a URL.")],
    shard_size: ShardSize = SHARD_SIZE,
    form: ShardFormat = Form.webdataset,
    seed: Annotated[int, typer.Option(help="Of the global shuffle.")] = 0,
    workers: Annotated[int | None, typer.Option(help="Threads; the result does not depend on it.")] = None,
    as_json: Json = False,
) -> None:
    """Write the dataset folder from curated images. Run again to go on where it stopped.

    [bold]Examples[/bold]

      cytoimagenet shard CURATED --out cytoimagenet

      cytoimagenet shard CURATED --out s3://bucket/cytoimagenet-parquet --format parquet --shard-size 256MB
    """
    from ..shards.write import write_dataset

    manifest = write_dataset(
        curated, to, shard_size=parse_size(shard_size), format=form.value, seed=seed, workers=workers
    )
    if as_json:
        emit({"out": manifest.root, "digest": manifest.digest, "splits": manifest.splits, "counts": manifest.counts})
    else:
        out.print(repr(manifest), markup=False)
        out.print(f'\nNext: cytoimagenet verify {to}, or load_dataset("cytoimagenet") beside it', markup=False)


def verify(
    folder: Folder,
    workers: Annotated[int | None, typer.Option(help="Shards read at a time.")] = None,
    as_json: Json = False,
) -> None:
    """Check a dataset folder to the byte against its manifest, and its parts against each other.

    Exit code 0 if all is well, 1 if not; every finding is named.

    [bold]Examples[/bold]

      cytoimagenet verify cytoimagenet

      cytoimagenet verify hf://datasets/OWNER/cytoimagenet --json
    """
    from ..dataset.describe import size
    from ..shards.verify import inspect
    from ..shards.verify import verify as check

    if as_json:
        report = inspect(folder, workers=workers)
        emit({"ok": not report.problems, **vars(report)})
        raise typer.Exit(CheckFailedError.exit_code if report.problems else 0)
    report = check(folder, workers=workers)
    out.print(f"{folder} is whole: {report.images:,} images, {report.files:,} files, {size(report.bytes)} read")
    for note in report.notes:
        out.print(f"Note: {note}", markup=False)


def info(
    folder: Folder,
    classes: Annotated[bool, typer.Option("--classes", help="Name every class.")] = False,
    as_json: Json = False,
) -> None:
    """Say everything about a dataset folder.

    [bold]Examples[/bold]

      cytoimagenet info cytoimagenet

      cytoimagenet info cytoimagenet --classes

      cytoimagenet info cytoimagenet --json | jq .classes
    """
    from ..dataset.describe import describe
    from ..dataset.manifest import Manifest

    manifest = Manifest.load(folder)
    if as_json:
        emit(manifest.data)
    else:
        out.print(describe(manifest, all_classes=classes), markup=False)


def preview(
    folder: Folder,
    to: Annotated[Path, typer.Option("--out", help="The PNG to write.")] = Path("montage.png"),
    classes: Annotated[int, typer.Option(min=1, max=40, help="How many classes, drawn by seed.")] = 20,
    images: Annotated[int, typer.Option(min=1, max=40, help="How many images of each.")] = 8,
    label: Annotated[list[str] | None, typer.Option(help="A class to show; repeat for more.")] = None,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
) -> None:
    """Draw a montage: a row of images for each of some classes.

    [bold]Examples[/bold]

      cytoimagenet preview cytoimagenet --out montage.png

      cytoimagenet preview cytoimagenet --label actin --label nucleus --images 12
    """
    import io

    from ..pages.preview import montage
    from ..storage import write_atomic

    file = io.BytesIO()
    montage(folder, classes=classes, images=images, labels=label, seed=seed).save(file, "PNG")
    write_atomic(to, file.getvalue())
    out.print(f"Wrote {to}", markup=False)


def card(folder: Folder) -> None:
    """Write README.md, croissant.json and preview.png of a dataset folder anew; its images and digest stay as they are.

    [bold]Examples[/bold]

      cytoimagenet card cytoimagenet
    """
    from ..dataset.manifest import Manifest, record_pages
    from ..pages.write import write_pages

    manifest = Manifest.load(folder)
    write_pages(manifest)
    out.print(f"Wrote {', '.join(record_pages(manifest).pages)} in {folder}", markup=False)


def browse(
    folder: Folder,
    to: Annotated[str, typer.Option("--out", help="Folder for the page and its pictures.")] = "site",
    images: Annotated[int, typer.Option(min=1, max=40, help="How many examples of each class.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the drawing.")] = 0,
) -> None:
    """Write a page of all classes to search and look through; it needs no server.

    [bold]Examples[/bold]

      cytoimagenet browse cytoimagenet --out site

      cytoimagenet browse hf://datasets/OWNER/cytoimagenet --out site --images 4
    """
    from ..pages.browse import write_site

    out.print(f"Open {write_site(folder, to, images=images, seed=seed)}", markup=False)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (shard, verify, info, preview, card, browse):
        app.command()(command)
