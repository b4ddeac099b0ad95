"""A montage of the dataset: one row of example images per class."""

from __future__ import annotations

from os import PathLike

from PIL import Image

from ..dataset.choose import choose_images
from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
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
    rows = manifest.metadata(["key", "label", "shard", "offset", "size"])
    total = len(manifest.class_names)
    shown = total if total <= classes else min(classes, MAX_CLASSES)
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
