"""A page that lists all classes and can be searched: a folder of plain files that a browser opens without a server.

Each class has one picture, a strip of example images, in a file next to the page. The browser loads it when the reader
scrolls to it, so that a page of 894 classes opens quickly.
"""

from __future__ import annotations

import io
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

from ..ambiguous import COLUMNS, ambiguous_classes, reason
from ..dataset.choose import choose_images
from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
from ..errors import CheckFailedError
from ..images.contact_sheet import TILE, grid
from ..progress import progress
from ..storage import join, write_atomic
from .webpage import render_page

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 8
CLASSES_PER_BATCH = 16  # whose images are in memory together
BACKGROUND = 128  # grey level; readable on light and dark pages
JPEG_QUALITY = 85  # a third of the bytes of PNG; nobody measures pixels on this page


def write_site(
    data_dir: str | PathLike[str] | Manifest, out: str | PathLike[str], *, images: int = EXAMPLES, seed: int = 0
) -> str:
    """Write a page with every class: label, category, numbers of images, sources and some example images.

    Parameters
    ----------
    data_dir : str, path or Manifest
        The dataset folder, local or a URL, or its manifest.
    out : str or path
        Folder for `index.html` and `examples/`, local or a URL.
    images : int
        Number of example images of each class.
    seed : int
        Random seed of the choice of the examples.

    Returns
    -------
    str
        The page to open in a browser.

    Raises
    ------
    CheckFailedError
        If a class has no image.
    """
    manifest = data_dir if isinstance(data_dir, Manifest) else Manifest.load(data_dir)
    rows = manifest.metadata(["key", "dir_name", "shard", "offset", "size", *COLUMNS])
    doubts = {one.label: reason(one) for one in ambiguous_classes(rows)}
    pairs = rows[["label", "dir_name"]].drop_duplicates().sort_values(["label", "dir_name"])
    sources = pairs.groupby("label")["dir_name"].agg(list).to_dict()
    empty = [label for label in manifest.class_names if label not in sources]
    if empty or not sources:
        raise CheckFailedError(
            f"The class {empty[0]!r} has no image in metadata.parquet" if empty else "The dataset has no class",
            where=manifest.root,
            next=f"Run: cytoimagenet verify {manifest.root}",
        )
    chosen = choose_images(manifest, rows, classes=None, images=images, seed=seed)
    classes: list[dict[str, Any]] = []
    with progress("examples", len(manifest.classes), unit="classes") as bar:
        for start in range(0, len(manifest.classes), CLASSES_PER_BATCH):
            entries = manifest.classes[start : start + CLASSES_PER_BATCH]
            some = chosen[chosen["label"].isin([entry["label"] for entry in entries])]
            pictures = read_images(some, manifest.root)
            for index, entry in enumerate(entries, start):
                mine = [p for p, label in zip(pictures, some["label"], strict=True) if label == entry["label"]]
                strip = grid(mine, len(mine), background=BACKGROUND)
                name = f"examples/{index:05d}.jpg"
                file = io.BytesIO()
                strip.save(file, "JPEG", quality=JPEG_QUALITY)
                write_atomic(join(out, name), file.getvalue())
                classes.append(
                    {
                        **entry,
                        "index": index,
                        "images": entry["train"] + entry["validation"],
                        "sources": sources[entry["label"]],
                        "doubt": doubts.get(entry["label"], ""),
                        "strip": name,
                        "width": strip.width,
                        "shown": len(mine),
                    }
                )
            bar.advance(len(entries))
    page = render_page(
        TEMPLATES,
        "classes",
        classes=classes,
        categories=sorted(Counter(entry["category"] for entry in classes).items()),
        images=sum(entry["images"] for entry in classes),
        height=TILE,
        digest=manifest.digest,
    )
    # written last: if the page exists, all its pictures exist
    write_atomic(join(out, "index.html"), page.encode())
    return join(out, "index.html")
