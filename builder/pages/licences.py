"""`LICENSE.md`: the licences of the images. The Hub links it from the dataset's page.

The file has the name that the Hub looks for.
"""

from __future__ import annotations

from os import PathLike

from ..dataset.manifest import Manifest
from ..storage import join, write_atomic
from .markdown import cell, linked

LICENCES = "LICENSE.md"
TEXT = """# Licences of the images

There is no single licence. Every image has that of its source, as the publisher names it; the column `licence` of
`metadata.parquet` and of each image contains it. Some licences forbid commercial use or changes. "unverified" means
that nobody has read the publisher's own text: read it before you use the images.

| licence | images | sources |
|---|---:|---|
{rows}

The software that wrote this folder has the licence Apache-2.0, which does not apply to the images.
"""


def write_licences(out: str | PathLike[str], manifest: Manifest) -> None:
    """Write `LICENSE.md` of a dataset folder: each licence, its number of images and its sources."""
    write_atomic(join(out, LICENCES), describe(manifest).encode())


def describe(manifest: Manifest) -> str:
    """Return the text of `LICENSE.md`, the most frequent licence first."""
    from ..sources.registry import SOURCES

    images = manifest.metadata(["licence", "dir_name"])
    counts = images.groupby("licence").agg(images=("dir_name", "size"), sources=("dir_name", "unique")).reset_index()
    counts = counts.sort_values(["images", "licence"], ascending=[False, True])
    names = {name: (source.name, source.link) for name, source in SOURCES.items()}
    # the user's own source may have the name of one of the 40
    names |= {name: (facts.get("name") or name, facts.get("link", "")) for name, facts in manifest.own_sources.items()}
    rows = []
    for one in counts.to_dict("records"):
        sources = (linked(*names.get(name, (name, ""))) for name in sorted(one["sources"]))
        rows.append(f"| {cell(one['licence']) or 'none named'} | {one['images']:,} | {', '.join(sources)} |")
    return TEXT.format(rows="\n".join(rows))
