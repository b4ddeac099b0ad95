"""Images of rows of metadata.parquet, read by byte range."""

from __future__ import annotations

import io
from os import PathLike

import pandas as pd
from PIL import Image

from ..errors import CheckFailedError, UsageError
from .ranges import reader_of

AT_ONCE = 256  # images fetched in one go


def read_images(rows: pd.DataFrame, data_dir: str | PathLike[str] | None = None) -> list[Image.Image]:
    """Read the images of some rows of `metadata.parquet`, and no other bytes.

    Parameters
    ----------
    rows : DataFrame
        Any rows of `metadata.parquet`, in any order; needs the columns shard, offset, size.
    data_dir : str or path, optional
        The dataset folder, local or a URL. Without it, the one `load_dataset` would take.

    Returns
    -------
    list of PIL.Image.Image
        8-bit greyscale, in the order of the rows.

    Raises
    ------
    UsageError
        If a column is absent.
    CheckFailedError
        If there is no PNG at the place a row names: the rows are of another dataset, or a shard is damaged.

    Examples
    --------
    >>> rows = pd.read_parquet("cytoimagenet/metadata.parquet")          # doctest: +SKIP
    >>> read_images(rows[rows.label == "actin"].head(9), "cytoimagenet")  # doctest: +SKIP
    """
    from .find import find

    absent = {"shard", "offset", "size"} - set(rows.columns)
    if absent:
        raise UsageError(
            f"These rows have no column {', '.join(sorted(absent))}", next="Take rows of metadata.parquet as they are"
        )
    root = find(data_dir)
    fetch = reader_of(root)
    shards, offsets, sizes = (rows[name].tolist() for name in ("shard", "offset", "size"))
    order = sorted(range(len(rows)), key=lambda i: (shards[i], offsets[i]))
    images: dict[int, Image.Image] = {}
    for start in range(0, len(order), AT_ONCE):
        some = order[start : start + AT_ONCE]
        contents = fetch([shards[i] for i in some], [offsets[i] for i in some], [sizes[i] for i in some])
        for i, content in zip(some, contents, strict=True):
            images[i] = decode(content, f"{shards[i]}, {sizes[i]} bytes from {offsets[i]}")
    return [images[i] for i in range(len(rows))]


def decode(png: bytes, where: str) -> Image.Image:
    """Return a PNG as a PIL image, its pixels read; nothing but PNG is accepted."""
    try:
        image = Image.open(io.BytesIO(png), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CheckFailedError(
            f"No readable PNG at the place the row names: {error}",
            where=where,
            next="Do the rows come from this dataset? `cytoimagenet verify DIR` tells if a shard is damaged",
        ) from error
    return image
