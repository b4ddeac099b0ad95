"""Features of a user's own images: the command and the Python function."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING

from ...builder.errors import UsageError
from ...builder.image_table.table import ImageTable, read_image_table
from ...loaders.cores import usable_cores
from .decode import MOST_THREADS
from .extract import extract
from .image_samples import rejections, samples_of
from .processes import Processes
from .profiles import Profiles, profiles_of

if TYPE_CHECKING:
    import pandas as pd

    from .backbones import Backbone

INPUT_SIZE = 224
"""Side in pixels to which images are resized: what most networks were trained at."""


def profile(
    table: ImageTable,
    networks: Sequence[Backbone],
    *,
    methods: Sequence[str] = ("concat-norm",),
    size: int | None = INPUT_SIZE,
    tile: int | None = None,
    every_tile: bool = False,
    aggregate: Sequence[str] = (),
    cache: str | PathLike[str],
    engine: str = "auto",
    workers: int = MOST_THREADS,
    strict: bool = False,
) -> tuple[Profiles, ImageTable]:
    """Compute the features of all samples of an image table.

    Parameters
    ----------
    table : ImageTable
    networks : sequence of Backbone
    methods : sequence of str
        Preprocessing, from `views.METHODS`.
    size : int or None
        Resize every channel to `size` x `size` pixels; None to show images as they are, if all have the same size.
    tile : int, optional
        Cut every channel into tiles of `tile` x `tile` pixels instead, and average over them.
    every_tile : bool
        With `tile`: return one row per tile.
    aggregate : sequence of str
        Average over rows that agree in these `Metadata_` columns.
    cache : path
        Folder that stores computed features; a run that was stopped resumes from it.
    engine, workers
        See `extract.extract`.
    strict : bool
        Raise an error if a sample can't be used.

    Returns
    -------
    Profiles
    ImageTable
        Without the samples that could not be used; these are in its `rejected`.

    Raises
    ------
    UsageError, MetadataError
        If a setting is wrong, no sample can be used, or with `strict` one can't.
    """
    samples = samples_of(table)
    if tile:
        size = None
    elif size is None:
        samples = replace(samples, shape=samples.first_shape)
    features = extract(
        samples,
        networks,
        methods=methods,
        size=size,
        tile=tile,
        every_tile=every_tile,
        cache=cache,
        engine=engine,
        workers=workers,
    )
    refused = next(iter(features.values())).refused
    usable = table.without(rejections(samples, refused), strict=strict)
    profiles = profiles_of(usable, features)
    return (profiles.aggregate(aggregate) if aggregate else profiles), usable


def extract_features(
    images: str | PathLike[str] | ImageTable,
    model: str | Sequence[str] = "imagenet",
    *,
    pattern: str | None = None,
    preprocess: str | Sequence[str] = "concat-norm",
    input_size: int | None = INPUT_SIZE,
    tile: int | None = None,
    every_tile: bool = False,
    aggregate: Sequence[str] = (),
    cache: str | PathLike[str] | None = None,
    engine: str = "auto",
    workers: int | None = None,
    strict: bool = False,
) -> pd.DataFrame:
    """Return the features of your own images as pycytominer and copairs take them.

    Parameters
    ----------
    images : str, path or ImageTable
        A table (.csv, .tsv, .parquet) with the column `file` or one column `file_<channel>` per channel, a folder, or
        a .zip. See docs/your-own-images.md.
    model : str or sequence of str
        `imagenet`, `random`, a training run, or any image model of `transformers` (a folder, or a name on the Hub).
        The features of several are next to each other.
    pattern : str, optional
        For files without a table: `phenix`, `imagexpress`, `incell`, `cellvoyager`, `cell-painting`, or an RE2
        expression with named groups.
    preprocess : str or sequence of str
        `concat-norm` (each channel separately, contrast stretched between its 0.1 and 99.9 percentile),
        `concat-raw`, `merge-norm` (mean of the channels) or `merge-raw`.
    input_size : int or None
        Side in pixels to which every channel is resized; None shows images as they are, if all have the same size.
    tile : int, optional
        Side in pixels of tiles into which every channel is cut instead; features are averaged over the tiles.
    every_tile : bool
        With `tile`: one row per tile, with `Metadata_Tile_X` and `Metadata_Tile_Y` in pixels.
    aggregate : sequence of str
        Average over rows that agree in these columns, such as `["Metadata_Plate", "Metadata_Well"]`.
    cache : path, optional
        Folder that stores computed features, so that a run that was stopped resumes. By default nothing is kept.
    engine : {"auto", "torch", "openvino"}
        What runs the network. `auto` is a GPU if there is one, else OpenVINO if it is installed.
    workers : int, optional
        Threads that read images; more than 4 are processes, which need `if __name__ == "__main__":` in a script.
    strict : bool
        Raise an error if a sample can't be used, instead of a warning.

    Returns
    -------
    DataFrame
        One row per sample: `Metadata_id`, `Metadata_label`, ... and one column per feature, float32, called
        `<model>_<channel>_<number>`. Samples that can't be used are in `attrs["rejected"]`.

    Raises
    ------
    UsageError, MetadataError
        If there is no such input or network, or no sample can be used.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> for name in ("a", "b"):
    ...     Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)).save(f"{name}.png")
    >>> table = extract_features(".", model="random:0", input_size=32, engine="torch")
    >>> table.shape, list(table.columns[:2])
    ((2, 1281), ['Metadata_id', 'random-0_0000'])
    """
    from . import backbones

    table = images if isinstance(images, ImageTable) else read_image_table(images, pattern=pattern, strict=strict)
    names = [model] if isinstance(model, str) else list(model)
    methods = [preprocess] if isinstance(preprocess, str) else list(preprocess)
    if cache is None and Processes().count > 1:
        raise UsageError("Several processes share their work through a folder", next="Name one with cache=")
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-features-") as temporary:
        profiles, usable = profile(
            table,
            [backbones.load(name) for name in names],
            methods=methods,
            size=input_size,
            tile=tile,
            every_tile=every_tile,
            aggregate=aggregate,
            cache=cache or temporary,
            engine=engine,
            workers=workers or min(usable_cores(), MOST_THREADS),
            strict=strict,
        )
        frame = profiles.to_frame()
    if len(usable.rejected):
        first = usable.rejected.iloc[0]
        warnings.warn(
            f"{len(usable.rejected):,} of {usable.offered:,} samples can't be used, the first: "
            f"{first['file'] or first['id']}: {first['detail']}. All are in attrs['rejected'].",
            stacklevel=2,
        )
    frame.attrs["rejected"] = usable.rejected.to_dict("records")
    return frame
