"""Write the pages of a dataset folder: README.md, LICENSE.md, croissant.json and preview.png."""

from __future__ import annotations

import io

from ..dataset.manifest import Manifest, record_pages
from ..storage import join, write_atomic
from .card import write_card
from .croissant import write_croissant
from .licences import write_licences
from .preview import montage

PREVIEW_CLASSES, PREVIEW_IMAGES = 20, 8


def write_pages(manifest: Manifest) -> None:
    """Write README.md, LICENSE.md, croissant.json and preview.png; they depend on the content of the folder only.

    Parameters
    ----------
    manifest : Manifest
        Of the folder, whose shards and tables are written.
    """
    write_card(manifest.root, manifest)
    write_licences(manifest.root, manifest)
    write_croissant(manifest.root, manifest)
    picture = io.BytesIO()
    montage(manifest, classes=PREVIEW_CLASSES, images=PREVIEW_IMAGES).save(picture, "PNG")
    write_atomic(join(manifest.root, "preview.png"), picture.getvalue())


def rewrite_pages(manifest: Manifest) -> Manifest:
    """Rewrite the pages of a finished dataset folder and record them in its manifest; the digest stays the same."""
    write_pages(manifest)
    return record_pages(manifest)
