"""Commands that process images: curate, build, qc."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ..console import emit, err, out
from ..curate.settings import Settings
from ..defaults import MAX_IMAGES, MIN_IMAGES
from .options import (
    SHARD_SIZE,
    Allocation,
    AllocationOption,
    Form,
    Json,
    LabelRule,
    LabelsOption,
    MaxImages,
    MinImages,
    RawFolder,
    ShardFormat,
    ShardSize,
    Sources,
    Strict,
    examples,
    parse_size,
    seed_of,
)

CURATE = examples(
    "cytoimagenet curate selection.parquet --raw RAW --out CURATED",
    "cytoimagenet curate selection.parquet --raw s3://lab/raw --out s3://lab/curated --dask tcp://10.0.0.5:8786",
    "cytoimagenet curate selection.parquet --raw RAW --out CURATED --evaldata evaldata --dry-run",
)
BUILD = examples(
    "cytoimagenet build RAW --out cytoimagenet",
    "cytoimagenet build RAW --dry-run",
    "cytoimagenet build RAW --out small --source bbbc013 --source bbbc014 --min-images 10",
    "cytoimagenet build RAW --out as-in-the-paper --labels published --split published",
)
QC = examples("cytoimagenet qc CURATED --raw RAW --out qc.png")
CLASSES_NAMED = 5  # of those without validation images
CLASSES_SHOWN = 30  # with their counts, and as many files that could not be compared; curated.json contains all


class SplitRule(StrEnum):
    """How validation images are chosen."""

    by_image = "by-image"
    by_plate = "by-plate"
    by_well = "by-well"
    published = "published"


RawOption = Annotated[
    str, typer.Option("--raw", help="Folder or URL that contains one folder per source, e.g. RAW/bbbc013.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Number of processes. Default: one per core. 0: work in this process, with no limits on time and "
        "memory of an image. The result does not depend on it."
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        help="Address of a Dask scheduler, to use a cluster. `local`: a Dask cluster of --workers processes on this "
        "machine."
    ),
]
Evaldata = Annotated[
    str | None,
    typer.Option(
        help="Folder of evaluation images (BBBC021, COOS-7, CYCLoPs). The same images in the sources are left out of "
        "the dataset."
    ),
]
MinClassSize = Annotated[int, typer.Option(help="Leave out classes with fewer images than this after quality control.")]
Split = Annotated[
    SplitRule,
    typer.Option(
        "--split",
        help="How validation images are chosen. by-image: all crops of a source image, and all images of a group "
        "(plate, movie, donor) where the source names it, are in the same split. by-plate, by-well: in addition all "
        "images of a plate or of a well, where it is known. published: a tenth of the crops of each class, as in the "
        "paper.",
    ),
]
ChunkRows = Annotated[
    int, typer.Option(help="Source images per chunk: the work that is lost if a worker is killed.", min=1)
]
Rebuild = Annotated[bool, typer.Option(help="Replace existing results that were computed with other settings.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Estimate the number of images, the size and the time; write no files.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command("curate", epilog=CURATE)(curate)
    app.command("build", epilog=BUILD)(build)
    app.command("qc", epilog=QC)(qc)


def curate(
    selection: Annotated[str, typer.Argument(metavar="SELECTION", help="Table that `cytoimagenet label` wrote.")],
    raw: RawOption,
    to: Annotated[str, typer.Option("--out", help="Folder or URL to write.")],
    workers: Workers = None,
    dask: Dask = None,
    evaldata: Evaldata = None,
    seed: Annotated[int, seed_of("crops, downsampling and split")] = 0,
    max_images: MaxImages = MAX_IMAGES,
    min_class_size: MinClassSize = MIN_IMAGES,
    split: Split = SplitRule.by_image,
    chunk_rows: ChunkRows = Settings.chunk_rows,
    rebuild: Rebuild = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the images of the dataset: read, merge channels, crop, control the quality, split.

    Each source image becomes one to four 8-bit grey images. Every image that is left out is listed with the reason in
    CURATED/rejected.parquet. Run the same command again to continue after an interruption.
    """
    from ..curate.plan import make_plan
    from ..curate.run import curate as run

    settings = Settings(seed, max_images, min_class_size, split.value, chunk_rows)
    if dry_run:
        from ..dry_run import estimate

        _print_estimate(estimate(make_plan(selection), raw, settings), to, as_json)
        return
    report = run(selection, raw, to, settings=settings, evaldata=evaldata, workers=workers, dask=dask, rebuild=rebuild)
    if as_json:
        emit(report)
        return
    _print_counts(report)
    out.print(f"\nNext: cytoimagenet shard {to} --out cytoimagenet", markup=False)


def build(
    raw: RawFolder,
    to: Annotated[str, typer.Option("--out", help="Dataset folder to write, local or a URL.")] = "cytoimagenet",
    work: Annotated[
        str | None,
        typer.Option(
            help="Folder for intermediate results (catalogue, classes, images), from which an interrupted build "
            "continues. Default: <out>.build"
        ),
    ] = None,
    source: Sources = None,
    min_images: MinImages = MIN_IMAGES,
    max_images: MaxImages = MAX_IMAGES,
    min_class_size: Annotated[
        int | None,
        typer.Option(
            help="Leave out classes with fewer images than this after quality control. Default: --min-images."
        ),
    ] = None,
    seed: Annotated[int, seed_of("all stages: downsampling, crops, split and shuffle")] = 0,
    allocation: AllocationOption = Allocation.proportional,
    labels: LabelsOption = LabelRule.unambiguous,
    split: Split = SplitRule.by_image,
    shard_size: ShardSize = SHARD_SIZE,
    form: ShardFormat = Form.webdataset,
    evaldata: Evaldata = None,
    chunk_rows: ChunkRows = Settings.chunk_rows,
    workers: Workers = None,
    dask: Dask = None,
    rebuild: Rebuild = False,
    strict: Strict = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Build the dataset folder from raw sources: catalog, label, curate and shard in one command.

    A folder or zip in RAW that contains a table `images.csv` is a source of your own (docs/your-own-images.md).

    Run the same command again to continue after an interruption. Intermediate results are kept in <out>.build; remove
    that folder after the build.
    """
    from ..build import Recipe, work_folder
    from ..build import build as run
    from ..dataset.find import remember

    recipe = Recipe(
        min_images=min_images,
        max_images=max_images,
        allocation=allocation.value,
        labels=labels.value,
        min_class_size=min_class_size,
        split=split.value,
        seed=seed,
        chunk_rows=chunk_rows,
        shard_size=parse_size(shard_size),
        format=form.value,
        sources=tuple(source or ()),
    )
    if dry_run:
        from ..dry_run import estimate_build

        _print_estimate(estimate_build(raw, recipe), to, as_json)
        return
    manifest, report = run(
        raw, to, recipe, work=work, evaldata=evaldata, workers=workers, dask=dask, rebuild=rebuild, strict=strict
    )
    remember(to)
    if as_json:
        emit({"out": to, "digest": manifest.digest, "splits": manifest.splits, **report})
        return
    _print_sources(raw, report["catalog"])
    _print_counts(report)
    for line in report["labels"]:
        out.print(line, markup=False)
    out.print()
    out.print(repr(manifest), markup=False)
    out.print(
        f"\nNext: cytoimagenet preview {to} --out montage.png; cytoimagenet qc {work or work_folder(to)}/curated "
        f"--raw {raw} --out qc.png",
        markup=False,
    )


def qc(
    curated: Annotated[
        str, typer.Argument(metavar="CURATED", help="Folder that `curate` wrote; after `build`: <out>.build/curated.")
    ],
    raw: RawOption,
    to: Annotated[str, typer.Option("--out", help="PNG file to write.")],
    images: Annotated[int, typer.Option(help="Number of images per row.", min=1, max=50)] = 10,
    seed: Annotated[int, seed_of("the samples")] = 0,
) -> None:
    """Show kept and rejected images on one contact sheet, for quality control by eye.

    The rows are the kept images with the least detail (lowest entropy), a sample of all kept images, and a sample of
    the rejected images for each reason.
    """
    from ..curate.qc import qc_montage
    from ..storage import atomic_writer

    sheet = qc_montage(curated, raw, images=images, seed=seed)
    with atomic_writer(to) as file:
        sheet.save(file, "PNG")
    out.print(f"Wrote {to}", markup=False)


def _print_sources(raw: str, catalogue: dict[str, Any]) -> None:
    """Print what is no source, the remarks about tables, and the sum of the rows of each image table."""
    from ..storage import join
    from .catalog import table_lines

    for name, reason in catalogue["left_out"].items():
        err.print(f"Left out: {join(raw, name)} ({reason})", markup=False)
    for count in catalogue["sources"]:
        for line in table_lines(count):
            out.print(line, markup=False)
    if catalogue["rejected_csv"]:
        err.print(f"Rows of image tables that can't be used: {catalogue['rejected_csv']}", markup=False)


def _print_counts(report: dict[str, Any]) -> None:
    """Print what was compared with evaluation images, and both sums of every source and class."""
    from ..curate.accounting import describe
    from ..dataset.describe import split_in_words

    compared = report["evaluation"]
    if compared["channels"]:
        out.print(f"Compared with {compared['channels']:,} channels of evaluation images", markup=False)
    for file, reason in list(compared["skipped"].items())[:CLASSES_SHOWN]:
        out.print(f"Not compared: {file}: {reason}", markup=False)
    for line in describe(report, CLASSES_SHOWN):
        out.print(line, markup=False)
    out.print(f"Split {split_in_words(report['settings']['split'], report['split'])}", markup=False)
    alone = [entry["label"] for entry in report["classes"] if not entry["validation"]]
    if alone:
        shown = ", ".join(alone[:CLASSES_NAMED]) + (", ..." if len(alone) > CLASSES_NAMED else "")
        out.print(
            f"{len(alone):,} classes have no validation images, since the split keeps groups together: {shown}",
            markup=False,
        )


def _print_estimate(estimate: dict[str, Any], to: str, as_json: bool) -> None:
    from ..dataset.describe import size

    if as_json:
        emit({"out": to, "dry_run": True, **estimate})
        return
    if "rows" in estimate:
        out.print(
            f"{estimate['rows']:,} rows in the catalogue, {estimate['not_selected']:,} of them in no class",
            markup=False,
        )
        for line in estimate["labels"]:
            out.print(line, markup=False)
    sample = estimate["sample"]
    out.print(
        f"{estimate['classes']:,} classes, {estimate['source_images']:,} source images, "
        f"{estimate['images_wanted']:,} images to cut\n"
        f"Of a sample of {sample['source_images']:,} source images, {sample['images_kept']:,} of "
        f"{sample['images_tried']:,} images pass quality control\n"
        f"Expected: {estimate['images_expected']:,} images, {size(estimate['bytes_expected'])} in {to} and as much in "
        f"the folder of intermediate results, {_duration(estimate['core_seconds_expected'])} on one core\n"
        "Nothing was written.",
        markup=False,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.0f} hours"
