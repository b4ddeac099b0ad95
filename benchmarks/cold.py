"""Files as a disk gives them, not as the page cache remembers them."""

from __future__ import annotations

import subprocess
from pathlib import Path

_DROP = Path("/proc/sys/vm/drop_caches")


def forget() -> bool:
    """Write everything to disk and empty the page cache; say whether that was allowed (it takes root on Linux)."""
    subprocess.run(["sync"], check=True)
    try:
        _DROP.write_text("3\n")
    except OSError:
        return False
    return True


def said() -> str:
    """Return what a table has to say about its times."""
    if forget():
        return "page cache emptied before each timed part"
    return "NOT COLD: only root may empty the page cache, so reading is from memory; run it as root"
