"""The settings of a curation, recorded in the folder that it writes."""

from __future__ import annotations

from dataclasses import dataclass

from ..defaults import MAX_IMAGES, MIN_IMAGES


@dataclass(frozen=True)
class Settings:
    """Everything, apart from its input, that a curated folder depends on.

    Parameters
    ----------
    seed : int
        Random seed of the crops, of the images kept in classes that are too large, and of the split.
    max_images : int
        Larger classes are downsampled to this many images.
    min_class_size : int
        Classes with fewer images than this after quality control are left out.
    split : {"by-image", "by-plate", "by-well", "published"}
        What is kept together in train or validation, see `split.TOGETHER`; or `split.validation_published`.
    chunk_rows : int
        Source images per chunk: the work lost when a worker is killed.
    """

    seed: int = 0
    max_images: int = MAX_IMAGES
    min_class_size: int = MIN_IMAGES
    split: str = "by-image"
    chunk_rows: int = 256
