"""Audit a dataset folder and write what was found into it: `quality.parquet` and `audit.html`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike

from ...builder import schema
from ...builder.dataset import quality
from ...builder.dataset.embeddings import names as models_of
from ...builder.dataset.embeddings import open_embeddings
from ...builder.dataset.manifest import Manifest, record_derived
from ...builder.dataset.names import AUDIT, QUALITY
from ...builder.pages.write import rewrite_pages
from ...builder.storage import join, write_atomic
from .evaluation import evaluation_sets
from .findings import examine
from .page import write_page

VERSION = 3  # of the meaning of the table; raised when a method changes


def audit(
    data_dir: str | PathLike[str],
    *,
    embeddings: str | None = None,
    evaldata: str | PathLike[str] | None = None,
    tasks: Sequence[str | PathLike[str]] = (),
    workers: int = 2,
    seed: int = 0,
) -> Manifest:
    """Audit a dataset folder and write `quality.parquet` and `audit.html` into it.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder that can be written to, local or a URL.
    embeddings : str, optional
        Model whose embeddings are used; by default the only one in the folder. A folder without embeddings is audited
        by measurements of its pixels alone.
    evaldata : path, optional
        Folder of evaluation sets to compare with. A set without its images is not compared; the summary contains why.
    tasks : sequence of path
        Image tables of one's own tasks to compare with.
    workers : int
        Number of threads.
    seed : int
        Random seed of folds, wrong labels and defects.

    Returns
    -------
    Manifest
        Of the folder, with the two new files. An earlier audit is replaced.

    Raises
    ------
    UsageError
        If the folder has fewer than 20 images or 2 classes, has no such embeddings, or there are no evaluation images.
    """
    manifest = Manifest.load(data_dir)
    sets, incomplete = evaluation_sets(evaldata, tasks)
    model = embeddings or (models_of(manifest)[0] if len(models_of(manifest)) == 1 else None)
    if model is None and models_of(manifest):
        open_embeddings(manifest)  # raises the error that lists the models
    with _one_opencv_thread():
        found = examine(manifest, model, sets, workers=workers, seed=seed)
    for one in sets:
        if one.unread:
            incomplete[one.name] = f"{len(one.unread):,} of {len(one.ids):,} samples; the first is {min(one.unread)}"
    settings = {
        "version": VERSION,
        "dataset": manifest.digest,
        "embeddings": model or "",
        "compared_with": [one.name for one in sets],
        "seed": seed,
    }
    summary = {**found.summary, "not_compared_with": incomplete}
    schema.write(found.table, join(manifest.root, QUALITY), quality.COLUMNS)
    write_atomic(join(manifest.root, AUDIT), write_page(manifest, found).encode())
    record_derived(manifest.root, QUALITY, rows=len(found.table), settings={**settings, "summary": summary})
    return rewrite_pages(record_derived(manifest.root, AUDIT, rows=0, settings=settings))


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Let OpenCV compute in the thread that calls it: its own threads would compete with those of the audit."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
