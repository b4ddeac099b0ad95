"""Find the source images that end the process that reads them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import lru_cache, partial

from ..child import ChildError
from ..errors import CytoImageNetError
from ..images.channel_reader import Reader
from ..images.guard import ImageLimits
from ..images.isolated import each_image
from ..images.make import PixelSettings, SourceImage, images_of
from ..images.quality import Verdict


def verdicts(
    rows: Sequence[SourceImage], raw: str, pixels: PixelSettings, limits: ImageLimits | None
) -> dict[str, Verdict]:
    """Process source images in a worker process, and return the verdict on each that ends it, by its `idx`.

    Parameters
    ----------
    rows : sequence of SourceImage
    raw : str
        Folder or URL of the sources.
    pixels : PixelSettings
    limits : ImageLimits, optional

    Raises
    ------
    CytoImageNetError
        If the process can't be started, or fails for a reason that no image is to blame for.
    """
    try:
        found = list(each_image(partial(_try, raw, pixels), rows, workers=1, group=len(rows), limits=limits))
    except Exception as error:  # not of an image: those are verdicts
        what = error.what if isinstance(error, ChildError) else " ".join(f"{type(error).__name__}: {error}".split())
        raise CytoImageNetError(
            f"Images can't be tried one by one: {what}", where=raw, next="Run the same command again"
        ) from error
    return {row.idx: verdict for row, verdict in zip(rows, found, strict=True) if verdict is not None}


def _try(raw: str, pixels: PixelSettings, row: SourceImage) -> None:
    deque(images_of(row, _reader(raw), pixels), maxlen=0)


@lru_cache(maxsize=1)
def _reader(raw: str) -> Reader:
    return Reader(raw)
