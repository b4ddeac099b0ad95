"""A montage of the dataset: one row of example images per class."""

from __future__ import annotations

from os import PathLike

import pandas as pd
from PIL import Image

from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
from ..errors import UsageError
from ..images.contact_sheet import sheet

MAX_CLASSES = 40


def montage(
    data_dir: str | PathLike[str] | Manifest,
    *,
    classes: int = 20,
    images: int = 8,
    labels: list[str] | None = None,
    seed: int = 0,
) -> Image.Image:
    """Arrange some images of some classes in rows, each with the class's name, category and number of images.

    Parameters
    ----------
    data_dir : str, path or Manifest
        The dataset folder, local or a URL, or its manifest.
    classes : int
        Number of classes, at most 40, sampled at random; shown in index order.
    images : int
        Number of images of each class.
    labels : list of str, optional
        Show these classes instead of a random sample.
    seed : int
        Random seed of the sampling.

    Returns
    -------
    PIL.Image.Image
        RGB. Images are scaled to fit their tile, never stretched or brightened.

    Raises
    ------
    UsageError
        If the dataset has no class of a name.
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
        names = names.sample(min(classes, MAX_CLASSES), random_state=seed).sort_index()
    chosen = sample_rows(rows[rows["label"].isin(names)], images, seed)
    pictures = dict(zip(chosen["key"], read_images(chosen, manifest.root), strict=True))
    lines = []
    for index, label in names.items():
        entry = manifest.classes[int(str(index))]
        number = f"{entry['category']}, {entry['train'] + entry['validation']:,} images"
        lines.append((label, number, [pictures[key] for key in chosen["key"][chosen["label"] == label]]))
    return sheet(lines, images)


def sample_rows(rows: pd.DataFrame, images: int, seed: int) -> pd.DataFrame:
    """Sample up to `images` rows of each label; the order of the rows has no effect. Needs the columns key, label."""
    return rows.sort_values("key").sample(frac=1, random_state=seed).groupby("label").head(images)
