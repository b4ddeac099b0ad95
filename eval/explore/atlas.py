"""`atlas.html`: a map of the images of a dataset in one file that needs no server and no network.

The page contains the position, the label, the source and a small picture of every point. Pictures are stored in
sheets, which the browser decodes when a point on them is hovered.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from ...builder.dataset import quality
from ...builder.dataset.embeddings import open_embeddings
from ...builder.dataset.manifest import Manifest
from ...builder.dataset.names import QUALITY
from ...builder.images.contact_sheet import grid
from ...builder.pages.webpage import render_page
from ...builder.progress import progress
from ...builder.storage import write_atomic
from ...loaders.map_images import map_images, read_places
from .maps import project

TEMPLATES = Path(__file__).parent / "templates"
IMAGES = 100_000  # that are shown at most, unless asked otherwise; the page stays fluent with them
COMPONENTS = 50  # principal components of the embeddings that are mapped
SIDE = 48  # pixels of a picture
COLUMNS, ROWS = 32, 32  # pictures per sheet
WEBP_QUALITY = 55
BACKGROUND = 128  # grey level around a picture that is not square
LARGEST = 2**16 - 1  # coordinates are stored as 16-bit integers
COLOURED_BY = {"label": "class", "category": "category", "name": "source", "split": "split"}
CLEAN = "clean"


def write_atlas(
    data_dir: str | PathLike[str],
    out: str | PathLike[str],
    *,
    model: str | None = None,
    images: int = IMAGES,
    seed: int = 0,
    workers: int = 2,
) -> dict[str, Any]:
    """Map the images of a dataset by their embeddings, and write the page.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder with embeddings, local or a URL.
    out : path
        The page to write.
    model : str, optional
        Model of the embeddings; not needed if the folder has those of one model only.
    images : int
        Largest number of images, sampled at random.
    seed : int
        Random seed of the sampling and of the map.
    workers : int
        Number of threads that read images.

    Returns
    -------
    dict
        Numbers of images and classes, the model, and the bytes of the page.

    Raises
    ------
    UsageError
        If the folder has no embeddings, or fewer than 5 images.
    """
    manifest = Manifest.load(data_dir)
    embeddings = open_embeddings(manifest, model)
    rows = manifest.metadata(["key", "label", "category", "name", "split"])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:images])
    part = rows.iloc[chosen].reset_index(drop=True)
    columns = {title: part[name] for name, title in COLOURED_BY.items()}
    if QUALITY in manifest.derived:
        flags = quality.read_quality(manifest, ["flags"])["flags"].iloc[chosen]
        columns["audit"] = flags.where(flags != "", CLEAN).str.replace("|", ", ").str.replace("_", " ")
    plane = project(_components(embeddings.take(chosen), seed), seed=seed)
    places = read_places(manifest).take(pa.array(chosen))
    page = render_page(
        TEMPLATES,
        "atlas",
        title=f"{len(part):,} of {len(rows):,} images" if len(part) < len(rows) else f"{len(rows):,} images",
        classes=int(part["label"].nunique()),
        model=embeddings.model,
        columns=list(columns),
        data=_json(
            {
                "keys": "\n".join(part["key"]),
                "position": [_encoded(_scaled(plane[:, axis])) for axis in (0, 1)],
                "columns": [_column(title, values) for title, values in columns.items()],
                "sheet": {"columns": COLUMNS, "rows": ROWS, "side": SIDE},
            }
        ),
        sheets=list(_sheets(manifest.root, places, workers)),
        digest=manifest.digest,
    ).encode()
    write_atomic(out, page)
    return {
        "page": str(out), "images": len(part), "classes": int(part["label"].nunique()), "model": embeddings.model,
        "bytes": len(page),
    }  # fmt: skip


def _components(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return the first principal components: the neighbours are nearly the same, and found many times as fast."""
    from sklearn.decomposition import PCA

    if min(vectors.shape) <= COMPONENTS:
        return vectors
    return np.asarray(PCA(COMPONENTS, svd_solver="randomized", random_state=seed).fit_transform(vectors), np.float32)


def _scaled(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Scale coordinates to 16-bit integers, with a margin of 2 % on each side."""
    low, high = float(values.min()), float(values.max())
    return np.rint((0.02 + 0.96 * (values - low) / max(high - low, 1e-9)) * LARGEST).astype(np.uint16)


def _column(title: str, values: pd.Series) -> dict[str, Any]:
    """Return the values of a column, the most frequent first, and the index of the value of each image."""
    counts = values.value_counts()
    names = sorted(counts.index, key=lambda value: (-counts[value], value))
    codes = pd.Categorical(values, categories=names).codes
    return {"title": title, "values": names, "codes": _encoded(codes.astype(np.uint16))}


def _encoded(values: NDArray[np.uint16]) -> str:
    """Return 16-bit integers, little-endian, as base64."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode()


def _json(data: dict[str, Any]) -> Any:
    """Return JSON that can stand inside a script element: no text in it can end the element."""
    from markupsafe import Markup

    return Markup(re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", json.dumps(data)))  # noqa: S704 -- escaped


def _sheets(root: str, places: pa.Table, workers: int) -> Iterator[str]:
    """Yield sheets of pictures, as the base64 of WebP files."""
    with progress("pictures", len(places)) as bar:
        for sheet, count in map_images(root, places, _sheet, workers=workers, batch=COLUMNS * ROWS):
            bar.advance(count)
            yield sheet


def _sheet(images: list[NDArray[np.uint8]]) -> tuple[str, int]:
    picture = grid(
        [Image.fromarray(image) for image in images],
        COLUMNS,
        background=BACKGROUND,
        side=SIDE,
        gap=0,
        resample=Image.Resampling.BILINEAR,
    )
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=WEBP_QUALITY, method=4)
    return base64.b64encode(file.getvalue()).decode(), len(images)
