"""The part of the demo that is not simulated: three kinds of features on nuclei of the MitoCheck screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..builder.errors import UsageError

if TYPE_CHECKING:
    from ..builder.image_table.table import ImageTable
    from .report.page import Section
    from .results.score import Result

FOLDER = Path("../shared/real")  # used if it exists and the user names no other
TASK = Path("tasks/mitocheck.zip")
NUCLEI = 600  # of 3,277: enough to tell random weights and ImageNet apart, and scored in less than a minute
INPUT_SIDE = 64  # pixels; the size of the images
NAMES = {
    "imagenet": "EfficientNet-Lite0 with ImageNet weights",
    "random": "EfficientNet-B0 with random weights, mean of 3",
    "mean-intensity": "mean intensity of the image",
}


def find_real(given: str | PathLike[str] | None) -> Path | None:
    """Return the zip of the real task, or None if the user names no folder and there is none in its usual place.

    Raises
    ------
    UsageError
        If the folder that the user names does not contain it.

    Examples
    --------
    >>> find_real("../shared/real")                                                          # doctest: +SKIP
    PosixPath('../shared/real/tasks/mitocheck.zip')
    """
    path = Path(FOLDER if given is None else given) / TASK
    if path.is_file():
        return path
    if given is None:
        return None
    raise UsageError(f"There is no {TASK}", where=given, next="Leave out --real: the demo does not need it")


def sample(table: ImageTable, count: int, seed: int) -> ImageTable:
    """Return the table with at most `count` of its samples, chosen at random, in their order."""
    rows = table.rows
    if len(rows) > count:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), count, replace=False))
        rows = rows.iloc[chosen].reset_index(drop=True)
    return replace(table, rows=rows)


def score_real(path: Path, out: Path, *, seed: int) -> Section:
    """Score features on a part of the real task and return a section of the report."""
    from ..builder.image_table.table import read_image_table
    from .own_images import own_images
    from .protocols.settings import EvaluationSettings
    from .results.document import pair
    from .run import score_models

    own = own_images(sample(read_image_table(path), NUCLEI, seed))
    run = score_models(
        {},
        ["random", "imagenet"],
        out,
        EvaluationSettings(probe=False, seed=seed),
        methods=["concat-norm"],
        size=INPUT_SIDE,
        own=[own],
    )
    pair(out)
    return section(run.done, own.table)


def section(results: Sequence[Result], nuclei: ImageTable) -> Section:
    """Return a section of the report with the scores of each kind of features."""
    from .report.page import Cell, Section, Table
    from .results.score import grouped_interval

    found = [result.scores["knn"] for result in results]
    rows = []
    for model, name in NAMES.items():
        scores = [score for score in found if score.entry["model"].split(":")[0] == model]
        if not scores:  # the control of images that are equally bright
            continue
        value = float(np.mean(scores))
        ends = [grouped_interval(score.entry) or score.interval for score in scores]
        low, high = (float(np.mean([one[end] for one in ends])) for end in ("low", "high"))
        rows.append([name, Cell(f"{100 * value:.1f} %", value), f"{100 * low:.0f} to {100 * high:.0f} %"])
    count, movies, phenotypes = len(nuclei.rows), nuclei.rows["group"].nunique(), nuclei.rows["label"].nunique()
    text = (
        f"Everything else on this page is simulated; these images are real. {count} nuclei of HeLa cells, from "
        f"{movies} movies of the MitoCheck screen, show {phenotypes} phenotypes. Each nucleus is classified by its 11 "
        "nearest neighbours among nuclei of other movies. No network here was trained on cells."
    )
    table = Table(["features", "correct", "95 % interval over movies"], rows)
    return Section("Real cells: MitoCheck", [text], tables=[table])
