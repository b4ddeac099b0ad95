"""The images of a dataset that look most like another image, by their embeddings."""

from __future__ import annotations

from os import PathLike

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...builder.dataset.embeddings import Embeddings, open_embeddings
from ...builder.dataset.manifest import Manifest
from ...builder.dataset.read_images import read_images
from ...builder.errors import UsageError
from ...builder.formats.read import read_channel
from ...builder.images.normalise import normalise, to_grey8
from ...loaders.transforms import to_square

IMAGES = 24
COLUMNS = ["key", "label", "category", "name", "split", "shard", "offset", "size"]


def similar(
    data_dir: str | PathLike[str],
    image: str,
    *,
    model: str | None = None,
    images: int = IMAGES,
    engine: str = "auto",
) -> tuple[pd.DataFrame, list[NDArray[np.uint8]]]:
    """Find the images of a dataset that look most like an image.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with embeddings, local or a URL.
    image : str
        The key of an image of the dataset, or an image file.
    model : str, optional
        Model of the embeddings; not needed if the folder has those of one model only.
    images : int
        Number of similar images.
    engine : {"auto", "torch", "openvino"}
        Library that runs the network on an image file.

    Returns
    -------
    table : DataFrame
        One row per similar image, the most similar first: `similarity` (cosine of the embeddings, -1 to 1), `key`,
        `label`, `category`, `name` (the source) and `split`.
    pictures : list of array, shape (height, width), uint8
        The image itself, and the similar ones in the order of the table.

    Raises
    ------
    UsageError
        If the folder has no embeddings, `image` is neither a key nor a file, or the network is not the one that
        computed the embeddings.
    """
    manifest = Manifest.load(data_dir)
    embeddings = open_embeddings(manifest, model)
    rows = manifest.metadata(COLUMNS)
    itself = np.flatnonzero((rows["key"] == image).to_numpy())
    if len(itself):
        query = embeddings.take(itself[:1])[0]
        picture = np.asarray(read_images(rows.iloc[itself[:1]], manifest.root)[0])
    else:
        picture = _read(image, manifest.root)
        query = _embedded(picture, embeddings, engine)
    value = _similarities(query, embeddings)
    value[itself] = -np.inf
    # equal similarities in the order of the rows
    best = np.argsort(-value, kind="stable")[: min(images, len(rows) - len(itself))]
    found = rows.iloc[best]
    pictures = [picture, *(np.asarray(one) for one in read_images(found, manifest.root))]
    table = found[COLUMNS[:5]].reset_index(drop=True)
    table.insert(0, "similarity", np.round(value[best].astype(np.float64), 5))
    return table, pictures


def _read(image: str, root: str) -> NDArray[np.uint8]:
    from pathlib import Path

    if not Path(image).is_file():
        raise UsageError(
            f"{image!r} is neither the key of an image of this dataset nor a file",
            where=root,
            next="Keys are in the column key of metadata.parquet, and in audit.html and atlas.html",
        )
    return to_grey8(normalise(read_channel(image)))


def _embedded(picture: NDArray[np.uint8], embeddings: Embeddings, engine: str) -> NDArray[np.float32]:
    """Return the vector of an image by the network that computed the embeddings."""
    from ..features import backbones
    from ..features.engine import choose, runner

    settings = embeddings.settings
    network = backbones.load(settings["source"])
    if network.digest != settings["weights"]:
        raise UsageError(
            f"The network {settings['source']!r} is not the one that computed the embeddings {embeddings.model!r}",
            next="Give the key of an image, or compute the embeddings again with: cytoimagenet embed",
        )
    side = int(settings["input_size"])
    run = runner(network.module, network.name, (side, side), choose(engine, "cpu"))
    return run(to_square(picture, side)[None].astype(np.float32) / np.float32(255))[0]


def _similarities(query: NDArray[np.float32], embeddings: Embeddings) -> NDArray[np.float32]:
    """Return the cosine of the query to all vectors, one block of rows in memory at a time."""
    query = query / max(float(np.linalg.norm(query)), 1e-12)
    parts = []
    for _, block in embeddings.blocks():
        vectors = block.astype(np.float32)
        parts.append(vectors @ query / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12))
    return np.concatenate(parts)
