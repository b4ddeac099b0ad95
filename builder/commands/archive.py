"""The command that imports the published archive: import-kaggle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SHARD_SIZE, Form, Json, ShardFormat, ShardSize, examples, parse_size, seed_of

EXAMPLES = examples(
    "cytoimagenet import-kaggle cytoimagenet.zip --out cytoimagenet",
    "cytoimagenet import-kaggle /data/unpacked --out s3://bucket/cytoimagenet",
    "cytoimagenet import-kaggle --download --out cytoimagenet",
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("import-kaggle", epilog=EXAMPLES)(import_kaggle)


def import_kaggle(
    out: Annotated[str, typer.Option(help="Dataset folder to write, local or a URL.")],
    archive: Annotated[
        Path | None, typer.Argument(help="The zip file as downloaded, or the folder it was unpacked to.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download the archive from Kaggle first (56 GB, with kagglehub).")
    ] = False,
    shard_size: ShardSize = SHARD_SIZE,
    form: ShardFormat = Form.webdataset,
    seed: Annotated[int, seed_of("the split and of the order of the images")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes that open images; by default one per core.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert the published archive to a dataset folder, without unpacking it.

    Every image is opened, and its PNG bytes are copied unchanged. Files that are absent, extra, damaged, duplicate or
    in another folder are counted and listed in rejected.parquet. Run the same command again to continue where it
    stopped.
    """
    from dataclasses import asdict

    from ..archive.download import download as fetch
    from ..archive.import_kaggle import import_archive
    from ..console import emit
    from ..console import out as printed
    from ..dataset.find import remember
    from ..errors import UsageError

    if (archive is None) == (not download):
        raise UsageError(
            "Name an archive, or give --download, but not both",
            next="cytoimagenet import-kaggle cytoimagenet.zip --out cytoimagenet",
        )
    imported = import_archive(
        fetch() if archive is None else archive,
        out,
        seed=seed,
        shard_size=parse_size(shard_size),
        format=form.value,
        workers=workers,
    )
    remember(out)
    if as_json:
        emit(asdict(imported))
    else:
        printed.print(str(imported), markup=False)
        printed.print(f"\nNext: cytoimagenet verify {out}. You may remove {out}.import.", markup=False)
