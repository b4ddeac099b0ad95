"""Commands that move a dataset folder: push, pull."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Json

PUSH = """
[bold]Examples[/bold]

  cytoimagenet push cytoimagenet me/cytoimagenet

  cytoimagenet push cytoimagenet me/cytoimagenet --tag v1.0 --private
"""
PULL = """
[bold]Examples[/bold]

  cytoimagenet pull me/cytoimagenet

  cytoimagenet pull me/cytoimagenet --out cytoimagenet --revision v1.0

  cytoimagenet pull me/cytoimagenet --split validation --split sample
"""
Repository = Annotated[str, typer.Argument(metavar="OWNER/NAME", help="A dataset repository on the Hub.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("push", epilog=PUSH)(push)
    app.command("pull", epilog=PULL)(pull)


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A finished dataset folder.")],
    repository: Repository,
    tag: Annotated[str | None, typer.Option(help="By default made of schema version and digest.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    as_json: Json = False,
) -> None:
    """Upload a dataset folder to the Hub in one commit, and tag it. Run again to go on after a broken upload."""
    from dataclasses import asdict

    from ..console import emit, out
    from ..hf import hub

    done = hub.push(folder, repository, tag=tag, private=private)
    if as_json:
        emit(asdict(done))
    else:
        out.print(f"{done.repository} {done.tag} (commit {done.commit[:12]})", markup=False)
        out.print(f"Get it with: cytoimagenet pull {done.repository} --revision {done.tag}", markup=False)


def pull(
    repository: Repository,
    to: Annotated[Path | None, typer.Option("--out", help="Folder to fill; by default in the user's cache.")] = None,
    revision: Annotated[str | None, typer.Option(help="Tag, branch or commit.")] = None,
    split: Annotated[list[str] | None, typer.Option(help="Only train, validation or sample; repeatable.")] = None,
    include: Annotated[list[str] | None, typer.Option(help="Only shards that fit; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Fetch a dataset from the Hub and check every byte. Run again to go on after a broken download."""
    from dataclasses import asdict

    from ..console import emit, out
    from ..hf import hub

    done = hub.pull(repository, to, revision=revision, splits=split or (), include=include or ())
    if as_json:
        emit(asdict(done))
        return
    out.print(f"{done.files} files, every byte as the manifest says, in {done.folder}", markup=False)
    if not done.whole:
        out.print("A part of the dataset: stream its split, or load the config `sample`.", markup=False)
    elif to is None:
        out.print('load_dataset("cytoimagenet") now finds it after `import cytoimagenet`.', markup=False)
