"""How each task is scored: from aligned features to entries of results.json."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def module(task: str) -> Any:
    """Return the module that scores a task."""
    return import_module(f"{__name__}.{task}")
