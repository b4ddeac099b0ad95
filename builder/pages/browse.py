"""A page of the classes that one can search: a folder of plain files, opened without a server.

Pictures lie beside the page, one strip a class, and are fetched when they come into sight: a page of 894 classes weighs
less than a photograph.
"""

from __future__ import annotations

import io
from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Any

from ..dataset.choose import choose_images
from ..dataset.manifest import Manifest
from ..dataset.read_images import read_images
from ..images.contact_sheet import TILE, grid
from ..progress import progress
from ..storage import join, write_atomic
from .webpage import render_page

TEMPLATES = Path(__file__).parent / "templates"
EXAMPLES = 8
AT_ONCE = 16  # classes whose images are in memory together
GROUND = 128  # reads well on light and dark paper
QUALITY = 85  # JPEG: a third of the bytes of PNG, and no one measures on this page


def write_site(
    data_dir: str | PathLike[str] | Manifest, out: str | PathLike[str], *, images: int = EXAMPLES, seed: int = 0
) -> str:
    """Write a page that shows every class: label, category, counts, sources and some images.

    Parameters
    ----------
    data_dir : str, path or Manifest
        The dataset folder, local or a URL, or its manifest.
    out : str or path
        Folder for `index.html` and `examples/`, local or a URL.
    images : int
        How many examples of each class, drawn by seed.
    seed : int
        Of the drawing.

    Returns
    -------
    str
        The page to open.
    """
    manifest = data_dir if isinstance(data_dir, Manifest) else Manifest.load(data_dir)
    rows = manifest.metadata(["key", "label", "dir_name", "shard", "offset", "size"])
    pairs = rows[["label", "dir_name"]].drop_duplicates().sort_values(["label", "dir_name"])
    sources = pairs.groupby("label")["dir_name"].agg(list).to_dict()
    chosen = choose_images(manifest, rows, classes=None, images=images, seed=seed)
    classes: list[dict[str, Any]] = []
    with progress("examples", len(manifest.classes), unit="classes") as bar:
        for start in range(0, len(manifest.classes), AT_ONCE):
            entries = manifest.classes[start : start + AT_ONCE]
            some = chosen[chosen["label"].isin([entry["label"] for entry in entries])]
            pictures = read_images(some, manifest.root)
            for index, entry in enumerate(entries, start):
                mine = [p for p, label in zip(pictures, some["label"], strict=True) if label == entry["label"]]
                strip = grid(mine, len(mine), background=GROUND)
                name = f"examples/{index:05d}.jpg"
                file = io.BytesIO()
                strip.save(file, "JPEG", quality=QUALITY)
                write_atomic(join(out, name), file.getvalue())
                classes.append(
                    {
                        **entry,
                        "index": index,
                        "images": entry["train"] + entry["validation"],
                        "sources": sources[entry["label"]],
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
    # last: a page that is there has all its pictures
    write_atomic(join(out, "index.html"), page.encode())
    return join(out, "index.html")
