"""A montage of the dataset: a row a class, so that one can look at it."""

from __future__ import annotations

from os import PathLike

import pandas as pd
from PIL import Image

from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
from ..errors import UsageError
from ..images.contact_sheet import sheet

MOST_CLASSES = 40


def montage(
    data_dir: str | PathLike[str] | Manifest,
    *,
    classes: int = 20,
    images: int = 8,
    labels: list[str] | None = None,
    seed: int = 0,
) -> Image.Image:
    """Draw some images of some classes, each class a row with its name, category and number of images.

    Parameters
    ----------
    data_dir : str, path or Manifest
        The dataset folder, local or a URL, or its manifest.
    classes : int
        How many classes, drawn by seed among all; in index order.
    images : int
        How many of each.
    labels : list of str, optional
        These classes instead.
    seed : int
        Of the drawing.

    Returns
    -------
    PIL.Image.Image
        RGB. Images are scaled to fit their tile, never stretched or brightened.
    """
    manifest = data_dir if isinstance(data_dir, Manifest) else Manifest.load(data_dir)
    unknown = [label for label in labels or () if label not in manifest.class_names]
    if unknown:
        raise UsageError(
            f"No class {unknown[0]!r} in this dataset", next="`cytoimagenet info DIR --classes` lists them"
        )
    rows = manifest.metadata(["key", "label", "shard", "offset", "size"])
    names = pd.Series(manifest.class_names)
    if labels:
        names = names[names.isin(labels)]
    elif len(names) > classes:
        names = names.sample(min(classes, MOST_CLASSES), random_state=seed).sort_index()
    chosen = draw_rows(rows[rows["label"].isin(names)], images, seed)
    pictures = dict(zip(chosen["key"], read_images(chosen, manifest.root), strict=True))
    lines = []
    for index, label in names.items():
        entry = manifest.classes[int(str(index))]
        number = f"{entry['category']}, {entry['train'] + entry['validation']:,} images"
        lines.append((label, number, [pictures[key] for key in chosen["key"][chosen["label"] == label]]))
    return sheet(lines, images)


def draw_rows(rows: pd.DataFrame, images: int, seed: int) -> pd.DataFrame:
    """Draw up to `images` rows of each label by seed, whatever order the rows are in; needs the columns key, label."""
    return rows.sort_values("key").sample(frac=1, random_state=seed).groupby("label").head(images)
