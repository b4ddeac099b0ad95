"""The command that turns the published archive into shards: import-kaggle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import SHARD_SIZE, Form, ShardFormat, ShardSize, parse_size

EXAMPLES = """
[bold]Examples[/bold]

  cytoimagenet import-kaggle cytoimagenet.zip --out cytoimagenet

  cytoimagenet import-kaggle /data/unpacked --out s3://bucket/cytoimagenet

  cytoimagenet import-kaggle --download --out cytoimagenet
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("import-kaggle", epilog=EXAMPLES)(import_kaggle)


def import_kaggle(
    out: Annotated[str, typer.Option(help="Dataset folder to write, local or a URL.")],
    archive: Annotated[
        Path | None, typer.Argument(help="The zip as downloaded, or the folder it was unpacked to.")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch it through kagglehub first (56 GB).")] = False,
    shard_size: ShardSize = SHARD_SIZE,
    form: ShardFormat = Form.webdataset,
    seed: Annotated[int, typer.Option(help="Of the split and the shuffle.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that open images.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Turn the published archive into a dataset folder, without unpacking it.

    PNG bytes are copied unchanged; each image is opened; what is absent, extra, broken, double or moved is counted and
    listed in rejected.parquet. The same command again goes on where it stopped.
    """
    from dataclasses import asdict

    from ..archive.import_kaggle import download as fetch
    from ..archive.import_kaggle import import_archive
    from ..console import emit
    from ..console import out as printed
    from ..dataset.find import remember
    from ..errors import UsageError

    if (archive is None) == (not download):
        raise UsageError(
            "Name an archive or give --download, one of the two",
            next="cytoimagenet import-kaggle cytoimagenet.zip --out cytoimagenet",
        )
    told = import_archive(
        fetch() if archive is None else archive,
        out,
        seed=seed,
        shard_size=parse_size(shard_size),
        format=form.value,
        workers=workers,
    )
    remember(out)
    if as_json:
        emit(asdict(told))
    else:
        printed.print(str(told), markup=False)
        printed.print(f"\nNext: cytoimagenet verify {out}; {out}.import may be removed", markup=False)
