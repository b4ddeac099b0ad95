"""The command that audits a dataset folder: audit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ...builder.commands.options import Json, examples
from .embed import Folder
from .options import Chosen, Threads


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(
        "audit",
        epilog=examples(
            "cytoimagenet audit cytoimagenet",
            "cytoimagenet audit cytoimagenet --embeddings imagenet --evaldata evaldata --task mycells/images.csv",
        ),
    )(audit)


def audit(
    folder: Folder,
    embeddings: Chosen = None,
    evaldata: Annotated[
        Path | None, typer.Option(help="Also look for images of the evaluation sets in this folder.")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Also look for images of this image table, folder or zip; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of folds, wrong labels and defects.")] = 0,
    workers: Threads = None,
    as_json: Json = False,
) -> None:
    """Find near duplicates, wrong labels and outliers, and write quality.parquet and audit.html into DIR.

    With embeddings (`cytoimagenet embed`) labels are judged better. The digest of the dataset stays the same.
    """
    from ...builder.console import emit, out
    from ...builder.dataset.quality import summary_of
    from ...loaders.cores import default_workers
    from ..audit.run import audit as examine

    manifest = examine(
        folder,
        embeddings=embeddings,
        evaldata=evaldata,
        tasks=task or (),
        workers=workers or default_workers(),
        seed=seed,
    )
    summary = summary_of(manifest)
    assert summary is not None, "the audit was just written"
    if as_json:
        emit(summary)
        return
    for line in lines_of(summary):
        out.print(line, markup=False)
    out.print(f"\nOpen {folder.rstrip('/')}/audit.html", markup=False)
    out.print(f"The clean part: cytoimagenet train {folder} --set quality=clean", markup=False)


def lines_of(summary: Mapping[str, Any]) -> list[str]:
    """Return the summary of an audit as lines of text."""

    def percent(estimate: list[float]) -> str:
        share, low, high = estimate
        return f"{share:.1%} (95 % interval {low:.1%} to {high:.1%})"

    flagged, incomplete = summary["flagged"], summary.get("not_compared_with", {})
    compared = ", ".join(f"{name} ({images:,})" for name, images in summary["compared_with"].items())
    lines = [
        f"{summary['images']:,} images of {summary['classes']:,} classes; {summary['judged']:,} labels judged",
        f"  wrong labels      {percent(summary['wrong_labels'])}; {flagged['label']:,} flagged"
        if summary["judged"]
        else "  wrong labels      not estimated: no class has enough images",
        f"  outliers          {flagged['outlier']:,} flagged",
        f"  near duplicates   {summary['duplicate_images']:,} images in {summary['duplicate_groups']:,} groups: "
        f"{summary['duplicate_groups_across_split']:,} across train and validation, "
        f"{summary['duplicate_groups_across_classes']:,} across classes",
        f"  evaluation images {flagged['in_evaluation_set']:,} found in {compared}"
        if compared
        else "  evaluation images not compared: use --evaldata or --task",
        *(f"                    not compared with {name}: {reason}" for name, reason in incomplete.items()),
        f"  clean part        {summary['clean']['train']:,} train, {summary['clean']['validation']:,} validation",
    ]
    return lines
