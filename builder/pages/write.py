"""What people and machines read about a dataset folder: the card, the description for catalogues, a picture."""

from __future__ import annotations

import io

from ..dataset.manifest import Manifest
from ..storage import join, write_atomic
from .card import write_card
from .croissant import write_croissant


def write_pages(manifest: Manifest) -> None:
    """Write README.md, croissant.json and preview.png into the dataset folder; all are functions of its content.

    Parameters
    ----------
    manifest : Manifest
        Of the folder, whose shards and tables are written.
    """
    from .preview import montage

    write_card(manifest.root, manifest)
    write_croissant(manifest.root, manifest)
    picture = io.BytesIO()
    montage(manifest, classes=20, images=8).save(picture, "PNG")
    write_atomic(join(manifest.root, "preview.png"), picture.getvalue())
