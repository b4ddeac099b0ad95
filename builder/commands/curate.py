"""Commands that make images: curate, build, qc."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ..console import emit, out
from ..curate import plan as room_plan
from ..curate import settings as room_settings

Workers = Annotated[
    int | None, typer.Option(help="Processes; default one a core, 0 for none but this one. The bytes are the same.")
]
Dask = Annotated[str | None, typer.Option(help="A Dask scheduler's address, or `local`, instead of --workers.")]
Evaldata = Annotated[
    str | None, typer.Option(help="Folder of BBBC021, COOS-7, CYCLoPs images: none of them gets into the dataset.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Rebuild = Annotated[bool, typer.Option(help="Replace what was made with other settings.")]
Seed = Annotated[int, typer.Option(help="Of every random draw.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and how large it will be; write nothing.")
]
MaxImages = Annotated[int, typer.Option(help="Most images of a class.")]
ChunkRows = Annotated[int, typer.Option(help="Source images per chunk: what a killed worker loses at most.", min=1)]
SHOWN = 30  # classes printed one by one; all are in curated.json


class SplitRule(StrEnum):
    """How validation images are chosen."""

    by_image = "by-image"
    published = "published"


class Allocation(StrEnum):
    """How samples are shared among strata."""

    proportional = "proportional"
    sqrt = "sqrt"


class Form(StrEnum):
    """The forms of a shard."""

    webdataset = "webdataset"
    parquet = "parquet"


Split = Annotated[
    SplitRule, typer.Option("--split", help="by-image: all crops of one source file on one side. published: by crop.")
]


def curate(
    selection: Annotated[str, typer.Argument(metavar="SELECTION", help="Table that `cytoimagenet label` wrote.")],
    raw: Annotated[str, typer.Option(help="Folder or URL that holds the sources.")],
    to: Annotated[str, typer.Option("--out", help="Folder or URL to write.")],
    workers: Workers = None,
    dask: Dask = None,
    evaldata: Evaldata = None,
    seed: Seed = 0,
    max_images: MaxImages = 1000,
    min_class_size: Annotated[int, typer.Option(help="Fewest images of a class after quality control.")] = 287,
    split: Split = SplitRule.by_image,
    chunk_rows: ChunkRows = 256,
    rebuild: Rebuild = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make the images: read, merge, crop, check, split. Run again to go on where it stopped.

    [bold]Examples[/bold]

      cytoimagenet curate selection.parquet --raw RAW --out CURATED

      cytoimagenet curate selection.parquet --raw s3://lab/raw --out s3://lab/curated --dask tcp://10.0.0.5:8786

      cytoimagenet curate selection.parquet --raw RAW --out CURATED --evaldata evaldata --dry-run
    """
    from ..curate.run import curate as run

    settings = room_settings.Settings(seed, max_images, min_class_size, split.value, chunk_rows)
    if dry_run:
        from ..dry_run import expect

        _show_plan(expect(room_plan.make_plan(selection), raw, settings), to, as_json)
        return
    told = run(selection, raw, to, settings=settings, evaldata=evaldata, workers=workers, dask=dask, rebuild=rebuild)
    if as_json:
        emit(told)
        return
    show_counts(told)
    out.print(f"\nNext: cytoimagenet shard {to} --out cytoimagenet", markup=False)


def build(
    raw: Annotated[str, typer.Argument(metavar="RAW", help="Folder or URL that holds one folder for each source.")],
    to: Annotated[str, typer.Option("--out", help="The dataset folder to write, local or a URL.")] = "cytoimagenet",
    work: Annotated[
        str | None,
        typer.Option(
            help="Where catalogue, classes and images are kept, so that a rerun goes on; default <out>.build."
        ),
    ] = None,
    source: Annotated[list[str] | None, typer.Option(help="Use only this source; may be given several times.")] = None,
    min_images: Annotated[int, typer.Option(help="Fewest source images of a class.")] = 287,
    max_images: MaxImages = 1000,
    min_class_size: Annotated[
        int | None, typer.Option(help="Fewest images of a class after quality control; default --min-images.")
    ] = None,
    seed: Seed = 0,
    allocation: Annotated[Allocation, typer.Option(help="sqrt favours small strata.")] = Allocation.proportional,
    split: Split = SplitRule.by_image,
    shard_size: Annotated[str, typer.Option(help="Wished size of a shard: 128MB, 64MiB, ...")] = "128MB",
    form: Annotated[Form, typer.Option("--format", help="Tar shards, or the Parquet twin.")] = Form.webdataset,
    evaldata: Evaldata = None,
    chunk_rows: ChunkRows = 256,
    workers: Workers = None,
    dask: Dask = None,
    rebuild: Rebuild = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Make the dataset folder from raw sources: catalog, label, curate and shard in one. Run again to go on.

    What it makes on the way (catalogue, classes, images) is kept in `<out>.build`; remove it when you are done.

    [bold]Examples[/bold]

      cytoimagenet build RAW --out cytoimagenet

      cytoimagenet build RAW --dry-run

      cytoimagenet build RAW --out small --source bbbc013 --source bbbc014 --min-images 10
    """
    from ..build import Recipe, work_folder
    from ..build import build as run
    from ..dataset.find import remember
    from .options import parse_size

    recipe = Recipe(
        min_images=min_images,
        max_images=max_images,
        allocation=allocation.value,
        min_class_size=min_class_size,
        split=split.value,
        seed=seed,
        chunk_rows=chunk_rows,
        shard_size=parse_size(shard_size),
        format=form.value,
        sources=tuple(source or ()),
    )
    if dry_run:
        from ..dry_run import foresee

        _show_plan(foresee(raw, recipe), to, as_json)
        return
    manifest, told = run(raw, to, recipe, work=work, evaldata=evaldata, workers=workers, dask=dask, rebuild=rebuild)
    remember(to)
    if as_json:
        emit({"out": to, "digest": manifest.digest, "splits": manifest.splits, **told})
        return
    show_counts(told)
    out.print()
    out.print(repr(manifest), markup=False)
    out.print(
        f"\nNext: cytoimagenet preview {to} --out montage.png; cytoimagenet qc {work or work_folder(to)}/curated "
        f"--raw {raw} --out qc.png",
        markup=False,
    )


def qc(
    curated: Annotated[str, typer.Argument(metavar="CURATED", help="What `curate` wrote, or <out>.build/curated.")],
    raw: Annotated[str, typer.Option(help="Folder or URL that holds the sources.")],
    to: Annotated[str, typer.Option("--out", help="PNG file to write.")],
    images: Annotated[int, typer.Option(help="Images in each row.", min=1, max=50)] = 10,
    seed: Seed = 0,
) -> None:
    """Draw the worst images kept and a sample of each reason to leave one out, to look at.

    [bold]Examples[/bold]

      cytoimagenet qc CURATED --raw RAW --out qc.png
    """
    from ..curate.qc import qc_montage
    from ..storage import atomic_writer

    drawn = qc_montage(curated, raw, images=images, seed=seed)
    with atomic_writer(to) as file:
        drawn.save(file, "PNG")
    out.print(f"Wrote {to}", markup=False)


def show_counts(told: dict[str, Any]) -> None:
    """Print both identities, for every source and class."""
    from ..curate.accounting import describe

    compared = told["evaluation"]
    if compared["channels"]:
        out.print(f"Compared with {compared['channels']:,} channels of evaluation images", markup=False)
    for file, reason in list(compared["skipped"].items())[:SHOWN]:
        out.print(f"Not compared: {file}: {reason}", markup=False)
    for line in describe(told, SHOWN):
        out.print(line, markup=False)


def _show_plan(plan: dict[str, Any], to: str, as_json: bool) -> None:
    from ..dataset.describe import size

    if as_json:
        emit({"out": to, "dry_run": True, **plan})
        return
    if "rows" in plan:
        out.print(f"{plan['rows']:,} rows in the catalogue, {plan['not_selected']:,} of them in no class", markup=False)
    sample = plan["sample"]
    out.print(
        f"{plan['classes']:,} classes, {plan['source_images']:,} source images, {plan['images_wanted']:,} images "
        "wanted\n"
        f"Of a sample of {sample['source_images']:,} source images {sample['images_kept']:,} of "
        f"{sample['images_tried']:,} images tried are kept\n"
        f"Expected: {plan['images_expected']:,} images, {size(plan['bytes_expected'])} in {to}, and as much again "
        f"beside it until you remove that; {_duration(plan['core_seconds_expected'])} of one core\n"
        "Nothing was written.",
        markup=False,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.0f} hours"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("curate")(curate)
    app.command("build")(build)
    app.command("qc")(qc)
