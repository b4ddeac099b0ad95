"""Read the images of some rows of `metadata.parquet` by byte range, without unpacking or reading complete shards."""

from __future__ import annotations

import io
from os import PathLike

import pandas as pd
from PIL import Image

from ..errors import CheckFailedError, UsageError
from .find import find
from .ranges import reader_of

IMAGES_PER_FETCH = 256


def read_images(rows: pd.DataFrame | pd.Series, data_dir: str | PathLike[str] | None = None) -> list[Image.Image]:
    """Read the images of some rows of `metadata.parquet`, and no other bytes.

    Parameters
    ----------
    rows : DataFrame or Series
        Any rows of `metadata.parquet`, in any order, or one row; the columns shard, offset and size are required.
    data_dir : str or path, optional
        The dataset folder, local or a URL. Without it, the folder that `load_dataset` would use.

    Returns
    -------
    list of PIL.Image.Image
        8-bit greyscale, in the order of the rows; one image for one row.

    Raises
    ------
    UsageError
        If a column is absent.
    CheckFailedError
        If there is no PNG at the place a row names: the rows belong to another dataset, or a shard is damaged.
    FetchError
        If bytes of a remote folder could not be read, even after several tries.

    Examples
    --------
    >>> rows = pd.read_parquet("cytoimagenet/metadata.parquet")          # doctest: +SKIP
    >>> read_images(rows[rows.label == "actin"].head(9), "cytoimagenet")  # doctest: +SKIP
    """
    if isinstance(rows, pd.Series):
        rows = rows.to_frame().T
    absent = {"shard", "offset", "size"} - set(rows.columns)
    if absent:
        raise UsageError(
            f"These rows have no column {', '.join(sorted(absent))}",
            next="Use rows of metadata.parquet with all its columns",
        )
    root = find(data_dir)
    fetch = reader_of(root)
    shards, offsets, sizes = (rows[name].tolist() for name in ("shard", "offset", "size"))
    order = sorted(range(len(rows)), key=lambda i: (shards[i], offsets[i]))
    images: dict[int, Image.Image] = {}
    for start in range(0, len(order), IMAGES_PER_FETCH):
        some = order[start : start + IMAGES_PER_FETCH]
        contents = fetch([shards[i] for i in some], [offsets[i] for i in some], [sizes[i] for i in some])
        for i, content in zip(some, contents, strict=True):
            images[i] = decode(content, f"{shards[i]}, {sizes[i]} bytes from {offsets[i]}")
    return [images[i] for i in range(len(rows))]


def decode(png: bytes, where: str) -> Image.Image:
    """Return a PNG as a PIL image whose pixels have been read; every other format is an error."""
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CheckFailedError(
            f"No readable PNG at the place the row names: {error}",
            where=where,
            next="Do the rows come from this dataset? `cytoimagenet verify DIR` finds damaged shards",
        ) from error
    return image
