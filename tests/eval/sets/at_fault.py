"""Files whose decoder never returns, needs too much memory or ends its process, for worker processes to import."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from typing import Any

from cytoimagenet.eval.sets.stored import Place
from cytoimagenet.eval.sets.stored import decode as plain
from numpy.typing import NDArray


def decode(faults: Mapping[Place, str], place: Place) -> NDArray[Any]:
    """Decode a file; some have a fault."""
    fault(faults.get(place, ""))
    return plain(place)


def fault(kind: str) -> None:
    """Do what a decoder does on a bad file."""
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    while kind == "hangs":
        pass
    if kind == "large":
        bytearray(2**31)
