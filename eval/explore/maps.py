"""Maps: features projected to two dimensions by UMAP."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.dataset.manifest import Manifest
from ...builder.errors import UsageError
from ..features.dataset_images import METHOD, SIZE, Images, choose, source_images
from ..features.extract import extract
from ..features.table import Features
from ..protocols.settings import EvaluationSettings
from ..tables.feature_table import read_table
from ..tasks.registry import find

if TYPE_CHECKING:
    from ..features.backbones import Backbone
    from ..tasks.record import Task

NEIGHBOURS = 15  # the default of UMAP
MIN_IMAGES = 5  # fewer give no map
COLOURED_BY = {
    "label": "class",
    "name": "source",
    "scaling": "scale of the crop",
    "split": "set",
    "group": "group",
    "week": "week",
    "plate": "plate",
    "compound": "compound",
}
"""The columns by which a map may be coloured, in order, and their names in titles."""


def features_of(
    images: Images, network: Backbone, cache: str | PathLike[str], *, size: int = SIZE, engine: str = "auto"
) -> Features:
    """Return the features of images of a dataset, computed or from the cache."""
    tables = extract(images, network, methods=[METHOD], size=size, cache=cache, engine=engine)
    return tables[network.name, METHOD]


def project(values: NDArray[np.floating], *, seed: int = 0) -> NDArray[np.float32]:
    """Project features to two dimensions by UMAP.

    Parameters
    ----------
    values : array, shape (images, features)
    seed : int
        Random seed; with one UMAP runs on one core and returns the same map every time.

    Returns
    -------
    array, shape (images, 2), float32

    Raises
    ------
    UsageError
        If there are too few images for a map.
    """
    if len(values) < MIN_IMAGES:
        raise UsageError(f"{len(values)} images are too few for a map", next="Take more classes or images")
    import warnings

    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP warns when it falls back to another layout for few points
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
    """Map images of a dataset.

    Parameters
    ----------
    data_dir : str or path
        The dataset folder.
    network : Backbone
    cache : path
        Folder that stores computed features.
    classes, images, labels, seed
        The images to map; see `dataset_images.choose`.
    size : int
        Side in pixels to which images are resized.
    engine : str
        See `features.engine.choose`.

    Returns
    -------
    DataFrame
        Columns key, label, category, database, name (the source), scaling (the resolution), x, y.
    """
    chosen = choose(data_dir, classes=classes, images=images, labels=labels, seed=seed)
    return _mapped(chosen, features_of(chosen, network, cache, size=size, engine=engine), seed)


def map_of_table(
    table: str | PathLike[str] | pd.DataFrame,
    data: str | PathLike[str] | None = None,
    *,
    task: str | Task | None = None,
    rows: int = 5000,
    colours: Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Map a table of features.

    Parameters
    ----------
    table : path or DataFrame
        See `tables.feature_table.read_table`.
    data : path, optional
        Folder with the labels of its rows: a dataset, whose keys are the ids of the table, or with `task` the folder of
        the task. Without it the table must contain a column to colour by (`label`, `split`, `plate` ...).
    task : str or Task, optional
    rows : int
        Largest number of rows that are mapped, sampled at random.
    colours : sequence of str
        Further columns of the table to colour by, such as `Metadata_dose`; `Metadata_` may be left out.
    seed : int
        Random seed of the sampling and of the map.

    Returns
    -------
    DataFrame
        One row per mapped row of the table: its id, its labels, x and y.

    Raises
    ------
    UsageError
        If no row of the table belongs to the data, or every feature has a row in which it is not a number.
    """
    features = read_table(table)
    further = _columns(table, colours, features.source)
    if colours and data is not None:
        raise UsageError("Columns of the table can't be used with a folder of labels", next="Leave out DIR")
    if task is not None and data is not None:
        described = find(task)
        features = described.align(features, described.read(data, EvaluationSettings(), images=False))
    keys, at = features.keys, np.arange(len(features.values))
    if data is not None and task is None:
        known = Manifest.load(data).metadata(["key", "label", "category", "database", "name", "scaling"])
        found = known.set_index("key").index.get_indexer(pd.Index(keys["id"])) if "id" in keys else np.array([-1])
        if not (found >= 0).any():
            raise UsageError("No id of the table is a key of this dataset", where=features.source)
        at = np.flatnonzero(found >= 0)
        keys = known.iloc[found[at]].reset_index(drop=True).rename(columns={"key": "id"})
    sampled = np.sort(np.random.default_rng(seed).permutation(len(at))[:rows])
    values = features.values[at[sampled]]
    finite = np.isfinite(values).all(axis=0)
    if not finite.any():
        raise UsageError("Every feature has a row in which it is not a number", where=features.source)
    plane = project(values[:, finite], seed=seed)
    shown = [name for name in ("id", *COLOURED_BY, "category", "database") if name in keys]
    chosen = keys[shown].iloc[sampled].reset_index(drop=True)
    chosen = chosen.assign(**{str(name): further[name].iloc[sampled].to_numpy() for name in further})
    return chosen.assign(x=plane[:, 0], y=plane[:, 1])


def _columns(table: str | PathLike[str] | pd.DataFrame, names: Sequence[str], source: str) -> pd.DataFrame:
    """Read columns of a table of features that need be neither keys nor features."""
    if not names:
        return pd.DataFrame()
    if isinstance(table, pd.DataFrame):
        every = table
    elif str(table).lower().endswith((".parquet", ".pq")):
        every = pd.read_parquet(table)
    elif str(table).lower().endswith((".csv", ".csv.gz")):
        every = pd.read_csv(table, keep_default_na=False)
    else:
        raise UsageError("Only a table (.csv, .parquet) has columns to colour by", where=source)
    found = {}
    for name in names:
        column = next((one for one in (name, f"Metadata_{name}") if one in every), None)
        if column is None:
            raise UsageError(f"There is no column {name!r} to colour by", where=source)
        values = every[column]
        found[name] = values if pd.api.types.is_numeric_dtype(values) else values.astype(object).fillna("").astype(str)
    return pd.DataFrame(found)


def panels(table: pd.DataFrame, colours: Sequence[str] = ()) -> list[tuple[str, pd.DataFrame, str]]:
    """Return the panels of a map: one per column of `colours`, by default the class and two other columns that vary."""
    if colours:
        return [(COLOURED_BY.get(name, name), table, name) for name in colours]
    found = [name for name in COLOURED_BY if name in table and (name == "label" or len(table[name].unique()) > 1)]
    return [(COLOURED_BY[name], table, name) for name in found[:3]]


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
    """Map the source images of random classes, and the images that were cropped from them.

    Parameters
    ----------
    data_dir : str or path
        The dataset folder.
    raw : str or path
        The raw sources it was built from.
    network : Backbone
        That of ImageNet in the publication.
    cache : path
    classes, images, size, seed, engine
        As in `map_of_dataset`.

    Returns
    -------
    before, after : DataFrame
        As `map_of_dataset` returns them.
    """
    after = choose(data_dir, classes=classes, images=images, seed=seed)
    before = source_images(after, raw)
    options: dict[str, Any] = {"size": size, "engine": engine}
    return (
        _mapped(before, features_of(before, network, cache, **options), seed),
        _mapped(after, features_of(after, network, cache, **options), seed),
    )


def _mapped(images: Images, features: Features, seed: int) -> pd.DataFrame:
    plane = project(features.values, seed=seed)
    columns = ["key", "label", "category", "database", "name", "scaling"]
    return images.table[columns].assign(x=plane[:, 0], y=plane[:, 1])
