"""The settings of a curation, recorded in the folder that it writes."""

from __future__ import annotations

from dataclasses import dataclass

from ..defaults import MAX_IMAGES, MIN_IMAGES


@dataclass(frozen=True)
class Settings:
    """What a curated folder depends on, beside its input. Recorded in it; never mixed.

    Parameters
    ----------
    seed : int
        Of crops, of the choice in full classes, and of the split.
    max_images : int
        A class of more images is brought back to so many.
    min_class_size : int
        A class of fewer images after quality control is dropped.
    split : {"by-image", "published"}
        `split.validation_by_image` or `split.validation_published`.
    chunk_rows : int
        Source images per chunk: what is lost at most when a worker is killed.
    """

    seed: int = 0
    max_images: int = MAX_IMAGES
    min_class_size: int = MIN_IMAGES
    split: str = "by-image"
    chunk_rows: int = 256
