"""Everything about a dataset folder in one screen of text."""

from __future__ import annotations

from .manifest import Manifest


def describe(manifest: Manifest) -> str:
    """Return what a reader wants to know of a dataset folder."""
    splits = ", ".join(f"{name} {entry['rows']:,} images" for name, entry in manifest.splits.items())
    return f"CytoImageNet at {manifest.root}: {len(manifest.classes)} classes; {splits}"
