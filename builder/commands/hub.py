"""Commands that exchange a dataset folder with the Hugging Face Hub: push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json, examples

PUSH_EXAMPLES = examples(
    "cytoimagenet push cytoimagenet me/cytoimagenet",
    "cytoimagenet push cytoimagenet me/cytoimagenet --tag v1.0 --private",
)
PULL_EXAMPLES = examples(
    "cytoimagenet pull me/cytoimagenet",
    "cytoimagenet pull me/cytoimagenet --out cytoimagenet --revision v1.0",
    "cytoimagenet pull me/cytoimagenet --split validation --split sample",
)
Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A dataset repository on the Hub.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("push", epilog=PUSH_EXAMPLES)(push)
    app.command("pull", epilog=PULL_EXAMPLES)(pull)


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder.")],
    repository: Repository,
    tag: Annotated[
        str | None, typer.Option(help="Tag of this version; by default from schema version and digest.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Create a new repository as a private one.")] = False,
    as_json: Json = False,
) -> None:
    """Upload a dataset folder to the Hub and tag it. Run again to continue an interrupted upload.

    The Hub's client divides a large folder into several commits. The tag is set after the last one: it names a complete
    version, while `main` may be in the middle of an upload. Files of a former version are removed from `main`; its tag
    still has them.
    """
    from dataclasses import asdict

    from ..console import emit, out
    from ..hf import hub

    pushed = hub.push(folder, repository, tag=tag, private=private)
    if as_json:
        emit(asdict(pushed))
    else:
        out.print(f"{pushed.repository} {pushed.tag} (commit {pushed.commit[:12]})", markup=False)
        out.print(f"Get it with: cytoimagenet pull {pushed.repository} --revision {pushed.tag}", markup=False)


def pull(
    repository: Repository,
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; by default in your cache folder.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Tag, branch or commit; by default main.")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(help="Only download this split: train, validation or sample; may be given several times."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only download shards and embeddings that match this pattern; may be given several times."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Download a dataset from the Hub and check every byte. Run again to continue an interrupted download."""
    from dataclasses import asdict

    from ..console import emit, out
    from ..hf.pull import pull as download

    pulled = download(repository, to, revision=revision, splits=split or (), include=include or ())
    if as_json:
        emit(asdict(pulled))
        return
    out.print(f"{pulled.files} files in {pulled.folder}, every byte checked against the manifest", markup=False)
    if not pulled.complete:
        out.print("This is a part of the dataset: stream its split, or load the config `sample`.", markup=False)
    elif to is None:
        out.print('After `import cytoimagenet`, load_dataset("cytoimagenet") finds it.', markup=False)
