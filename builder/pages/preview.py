"""A montage of the dataset: a row a class, so that one can look at it."""

from __future__ import annotations

from os import PathLike

from PIL import Image

from ..dataset.choose import choose_images
from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
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
    rows = manifest.metadata(["key", "label", "shard", "offset", "size"])
    total = len(manifest.class_names)
    shown = total if total <= classes else min(classes, MOST_CLASSES)
    chosen = choose_images(manifest, rows, classes=shown, images=images, labels=labels, seed=seed)
    pictures = dict(zip(chosen["key"], read_images(chosen, manifest.root), strict=True))
    lines = []
    labels_shown = set(chosen["label"])
    for entry in manifest.classes:
        label = entry["label"]
        if label not in labels_shown:
            continue
        number = f"{entry['category']}, {entry['train'] + entry['validation']:,} images"
        lines.append((label, number, [pictures[key] for key in chosen["key"][chosen["label"] == label]]))
    return sheet(lines, images)
