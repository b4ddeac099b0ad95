"""Open and check single images of the archive, in any process: the archive is opened from its shared listing.

Imports little, since every worker process loads it.
"""

from __future__ import annotations

from ..errors import UnreadableImageError
from ..formats.grey_png import decode_png, is_grey_png
from ..images.digest import pixel_digest
from .shared_listing import opened

CheckedImage = tuple[str, str, int, int, bytes]
"""Result of one row: reason (empty if the image is good), detail, width, height, digest of the pixels."""


def check_image(listing_file: str, entry: int) -> CheckedImage:
    """Open one image.

    Parameters
    ----------
    listing_file : str
        As `shared_listing.shared` gives it.
    entry : int
        Number of its file in the listing, or -1 for a row without a file.
    """
    if entry < 0:
        return "absent", "", 0, 0, bytes(32)
    try:
        content = opened(listing_file).read(entry)
        image = decode_png(content)
    except UnreadableImageError as error:
        return "unreadable", error.reason, 0, 0, bytes(32)
    height, width = image.shape
    if not is_grey_png(content, width, height):
        return "unreadable", "not 8-bit greyscale", width, height, bytes(32)
    return "", "", width, height, bytes.fromhex(pixel_digest(image))
