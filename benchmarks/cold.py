"""Empty the page cache, so that a benchmark reads files from the disk and not from memory."""

from __future__ import annotations

import subprocess
from pathlib import Path

_DROP = Path("/proc/sys/vm/drop_caches")


def empty_page_cache() -> bool:
    """Write all data to disk and empty the page cache; return whether that was allowed (it needs root on Linux)."""
    subprocess.run(["sync"], check=True)
    try:
        _DROP.write_text("3\n")
    except OSError:
        return False
    return True


def cache_note() -> str:
    """Empty the page cache; return the remark about it to print above a table."""
    if empty_page_cache():
        return "page cache emptied before each timed part"
    return "NOT COLD: files are read from memory, since only root may empty the page cache; run it as root"
