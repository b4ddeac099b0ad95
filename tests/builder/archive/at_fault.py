"""Images that end the process that opens them, never return or need too much memory, for worker processes to import."""

from __future__ import annotations

import os
import signal

from cytoimagenet.builder.archive import open_image
from cytoimagenet.builder.archive.shared_listing import opened


def check_image(listing_file: str, entry: int) -> open_image.CheckedImage:
    """Open an image; those of 25, 26 and 27 rows are at fault."""
    rows = int.from_bytes(opened(listing_file).read(entry)[20:24], "big")
    if rows == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    while rows == 26:
        pass
    if rows == 27:
        bytearray(2**31)
    return open_image.check_image(listing_file, entry)
