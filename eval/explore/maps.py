"""What the figures around the scores show: maps of features, diversity of classes, composition, what is never right."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.dataset.manifest import Manifest
from ...builder.errors import UsageError
from ..features.dataset_images import METHOD, SIZE, Images, choose, whole
from ..features.extract import Features, extract

if TYPE_CHECKING:
    from ..features.backbones import Backbone

NEIGHBOURS = 15  # of UMAP; its default
COLOURS = {
    "label": "class",
    "name": "source",
    "scaling": "resolution (scale)",
    "split": "set",
    "week": "week",
    "plate": "plate",
    "compound": "compound",
}
"""What a map may be coloured by, in order, and what that is called."""


def features_of(
    images: Images, network: Backbone, cache: str | PathLike[str], *, size: int = SIZE, engine: str = "auto"
) -> Features:
    """Return what a network makes of images of a dataset; cached as all features are."""
    tables = extract(images, network, methods=[METHOD], size=size, cache=cache, engine=engine)
    return tables[network.name, METHOD]


def project(values: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """Map features to the plane by UMAP.

    Parameters
    ----------
    values : array, shape (images, features)
    seed : int
        With a seed UMAP runs on one core and gives the same map every time.

    Returns
    -------
    array, shape (images, 2), float32

    Raises
    ------
    UsageError
        If there are too few images for a map.
    """
    if len(values) < 5:
        raise UsageError(f"{len(values)} images are too few for a map", next="Take more classes or images")
    import warnings

    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of spectral layouts that fail for few points and fall back
        mapper = umap.UMAP(random_state=seed, n_jobs=1, n_neighbors=min(NEIGHBOURS, len(values) - 1))
        return mapper.fit_transform(np.asarray(values, np.float32)).astype(np.float32)


def map_of_dataset(
    data_dir: str | PathLike[str],
    network: Backbone,
    cache: str | PathLike[str],
    *,
    classes: int | None = 20,
    images: int = 50,
    labels: Sequence[str] | None = None,
    size: int = SIZE,
    seed: int = 0,
    engine: str = "auto",
) -> pd.DataFrame:
    """Map images of a dataset to the plane.

    Returns
    -------
    DataFrame
        Columns key, label, category, database, name, scaling, x, y: the first three ways to colour are class, source
        (`name`) and resolution (`scaling`).
    """
    chosen = choose(data_dir, classes=classes, images=images, labels=labels, seed=seed)
    return _mapped(chosen, features_of(chosen, network, cache, size=size, engine=engine), seed)


def map_of_table(
    table: str | PathLike[str] | pd.DataFrame,
    data: str | PathLike[str] | None = None,
    *,
    task: str | None = None,
    rows: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Map somebody's table of features to the plane.

    Parameters
    ----------
    table : path or DataFrame
        See `tables.read_table`.
    data : path, optional
        Where its rows are described: a dataset folder, whose keys are the table's ids, or with `task` the task's
        folder. Without it the table brings what is to be coloured (`label`, `split`, `plate` ...).
    task : str, optional
    rows : int
        How many rows are mapped at most, drawn at random.
    seed : int

    Returns
    -------
    DataFrame
        A row per row of the table: its id, what is known about it, x and y.

    Raises
    ------
    UsageError
        If no row of the table is one of the data.
    """
    from .. import tasks
    from ..tables.align import align
    from ..tables.feature_table import read_table

    features = read_table(table)
    if task is not None and data is not None:
        samples = tasks.module(task).read(data, **({"images": False} if task == "bbbc021" else {}))
        features = align(features, samples, task)
    keys, at = features.keys, np.arange(len(features.values))
    if data is not None and task is None:
        known = Manifest.load(data).metadata(["key", "label", "category", "database", "name", "scaling"])
        found = known.set_index("key").index.get_indexer(pd.Index(keys["id"])) if "id" in keys else np.array([-1])
        if not (found >= 0).any():
            raise UsageError("No id of the table is a key of this dataset", where=features.source)
        at = np.flatnonzero(found >= 0)
        keys = known.iloc[found[at]].reset_index(drop=True).rename(columns={"key": "id"})
    drawn = np.sort(np.random.default_rng(seed).permutation(len(at))[:rows])
    values = features.values[at[drawn]]
    finite = np.isfinite(values).all(axis=0)
    if not finite.any():
        raise UsageError("Every feature has a row in which it is no number", where=features.source)
    plane = project(values[:, finite], seed=seed)
    shown = [name for name in ("id", *COLOURS, "category", "database") if name in keys]
    return keys[shown].iloc[drawn].reset_index(drop=True).assign(x=plane[:, 0], y=plane[:, 1])


def panels(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """Return what to colour a map by: of what is known, the first three that differ between rows (class always)."""
    found = [name for name in COLOURS if name in table and (name == "label" or len(table[name].unique()) > 1)]
    return [(COLOURS[name], table, name) for name in found[:3]]


def before_and_after_cropping(
    data_dir: str | PathLike[str],
    raw: str | PathLike[str],
    network: Backbone,
    cache: str | PathLike[str],
    *,
    classes: int = 20,
    images: int = 50,
    size: int = SIZE,
    seed: int = 0,
    engine: str = "auto",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Map the source images of random classes, and the images that were made of them.

    Parameters
    ----------
    data_dir : str or path
        The dataset folder.
    raw : str or path
        The raw sources it was built from.
    network : Backbone
        ImageNet's, as published.
    cache : path
    classes, images, size, seed, engine
        As in `map_of_dataset`.

    Returns
    -------
    before, after : DataFrame
        As `map_of_dataset` returns them.
    """
    after = choose(data_dir, classes=classes, images=images, seed=seed)
    before = whole(after, raw)
    options: dict[str, Any] = {"size": size, "engine": engine}
    return (
        _mapped(before, features_of(before, network, cache, **options), seed),
        _mapped(after, features_of(after, network, cache, **options), seed),
    )


def _mapped(images: Images, features: Features, seed: int) -> pd.DataFrame:
    plane = project(features.values, seed=seed)
    columns = ["key", "label", "category", "database", "name", "scaling"]
    return images.table[columns].assign(x=plane[:, 0], y=plane[:, 1])
