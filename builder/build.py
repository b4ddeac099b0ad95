"""All stages in one: raw sources -> catalogue -> classes -> images -> dataset folder.

Every run writes the catalogue and the classes again: they take minutes at most, and a source that was added to RAW must
not be overlooked. Images and shards, which take hours, are written only where they are missing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from . import storage
from .curate.run import curate
from .curate.settings import Settings
from .dataset.manifest import Manifest
from .defaults import MAX_IMAGES, MIN_IMAGES, SHARD_SIZE_BYTES
from .errors import SettingsChangedError
from .labels import select as labels
from .labels.report import nothing_selected, remarks
from .sources.catalog import Catalog, rejected_file, write_catalog

CATALOG = "catalog.parquet"


@dataclass(frozen=True)
class Recipe:
    """Everything, apart from its sources, that a dataset depends on.

    Parameters
    ----------
    min_images, max_images, allocation, labels
        As `labels.assign.assign_labels`, with another default of `labels`.
    min_class_size : int, optional
        As `curate.settings.Settings`; by default `min_images`.
    split, chunk_rows
        As `curate.settings.Settings`.
    seed : int
        Random seed of all stages.
    shard_size, format
        As `shards.write.write_dataset`.
    sources : tuple of str
        Folder names of the sources to use; empty for all in RAW.
    """

    min_images: int = MIN_IMAGES
    max_images: int = MAX_IMAGES
    allocation: str = "proportional"
    labels: str = "unambiguous"
    min_class_size: int | None = None
    split: str = "by-image"
    seed: int = 0
    chunk_rows: int = Settings.chunk_rows
    shard_size: int = SHARD_SIZE_BYTES
    format: str = "webdataset"
    sources: tuple[str, ...] = field(default=())

    @property
    def curation(self) -> Settings:
        """The settings of `curate`."""
        least = self.min_images if self.min_class_size is None else self.min_class_size
        return Settings(self.seed, self.max_images, least, self.split, self.chunk_rows)

    @property
    def earlier(self) -> dict[str, Any]:
        """The settings of earlier stages, to be recorded. Folders without `labels` have the published rule."""
        changed = {} if self.labels == "published" else {"labels": self.labels}
        return {
            "min_images": self.min_images,
            "allocation": self.allocation,
            "sources": sorted(self.sources),
            **changed,
        }


def work_folder(out: str | PathLike[str]) -> str:
    """Return the folder in which `build` keeps what it needs to continue: `<out>.build`."""
    return os.fspath(out).rstrip("/") + ".build"


def build(
    raw: str | PathLike[str],
    out: str | PathLike[str],
    recipe: Recipe | None = None,
    *,
    work: str | PathLike[str] | None = None,
    evaldata: str | PathLike[str] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    rebuild: bool = False,
    strict: bool = False,
) -> tuple[Manifest, dict[str, Any]]:
    """Write a dataset folder from raw sources; continue where an interrupted run stopped.

    Parameters
    ----------
    raw : str or path
        A folder with one folder per source, local or a URL (`sources.catalog.build_catalog`).
    out : str or path
        The dataset folder to write, local or a URL.
    recipe : Recipe, optional
    work : str or path, optional
        Folder for the catalogue, classes and images; by default `<out>.build`. It may be removed after the build.
    evaldata : str or path, optional
        Evaluation sets. Their images are left out of the dataset.
    workers, dask
        As `curate.run.curate`.
    rebuild : bool
        Replace work done with other settings or from other sources.
    strict : bool
        Raise an error if a row of a user's image table can't be used.

    Returns
    -------
    Manifest
        Of the dataset.
    dict
        The content of `curated.json`: the counts. In addition `catalog`: the counts of each source (`sources`), the
        folders that are no source (`left_out`), and the list of rows that can't be used (`rejected_csv`), if any; and
        `labels`: remarks about labels that may be wrong.

    Raises
    ------
    SettingsChangedError
        If a folder contains work done with other settings.
    """
    from .shards.write import write_dataset

    recipe, out = recipe or Recipe(), os.fspath(out)
    work = work_folder(out) if work is None else os.fspath(work)
    if storage.is_local(work):
        storage.remove_temporaries(work)
    selection, catalogue, labelled = select(raw, work, recipe, strict=strict)
    curated = storage.join(work, "curated")
    report = curate(
        selection,
        raw,
        curated,
        settings=recipe.curation,
        evaldata=evaldata,
        workers=workers,
        dask=dask,
        rebuild=rebuild,
        earlier_settings=recipe.earlier,
    )
    report["catalog"] = {
        "sources": [count.to_dict() for count in catalogue.counts],
        "left_out": dict(catalogue.unknown),
        "rejected_csv": rejected_file(storage.join(work, CATALOG)) if len(catalogue.rejected) else "",
    }
    report["labels"] = remarks(labelled)
    options = {"shard_size": recipe.shard_size, "format": recipe.format, "seed": recipe.seed}
    try:
        return write_dataset(curated, out, **options), report  # type: ignore[arg-type]
    except SettingsChangedError as error:
        if not rebuild:
            raise SettingsChangedError(
                error.what, where=out, next="Name another --out, or give --rebuild to replace this one."
            ) from error
    _remove_dataset(out)
    return write_dataset(curated, out, **options), report  # type: ignore[arg-type]


def select(
    raw: str | PathLike[str], work: str, recipe: Recipe, *, strict: bool = False
) -> tuple[str, Catalog, dict[str, Any]]:
    """Write the catalogue and the classes of RAW.

    Returns
    -------
    selection : str
        Path of the selected rows.
    catalogue : Catalog
        What was read.
    report : dict
        About the labels, see `labels.report.summarise`.
    """
    catalog, selection = storage.join(work, CATALOG), storage.join(work, "selection.parquet")
    catalogue = write_catalog(raw, catalog, recipe.sources or None, strict=strict)
    report = labels.select(
        catalog,
        selection,
        min_images=recipe.min_images,
        max_images=recipe.max_images,
        seed=recipe.seed,
        allocation=recipe.allocation,  # type: ignore[arg-type]
        labels=recipe.labels,  # type: ignore[arg-type]
    )
    if not report["selected"]:
        raise nothing_selected(report, where=os.fspath(raw))
    return selection, catalogue, report


def _remove_dataset(out: str) -> None:
    """Remove the files of a dataset folder, the manifest first, and no other files."""
    from .dataset.manifest import NAME
    from .shards.write import UNFINISHED

    fs, folder = storage.filesystem(out)
    names: Sequence[str] = []
    if fs.exists(storage.join(folder, NAME)):
        names = [NAME, *Manifest.load(out).files]
    for name in names:
        if fs.exists(storage.join(folder, name)):
            fs.rm_file(storage.join(folder, name))
    if fs.exists(storage.join(folder, UNFINISHED)):
        fs.rm(storage.join(folder, UNFINISHED), recursive=True)
