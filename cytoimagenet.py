"""CytoImageNet: microscopy images to pretrain on, from raw sources to transfer scores.

The front door. It holds the version, the public names and the `main` of the command line, and imports nothing heavy:
each name is fetched from its room when it is first asked for.

In a checkout this file lies beside the rooms (`builder/`, `loaders/`, `training/`, `eval/`); in the wheel it is
`cytoimagenet/__init__.py` and the rooms lie under it. Setting `__path__` makes both the same to Python.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builder.hf import CytoImageNet
    from .builder.labels import assign_labels
    from .builder.locate import load_dataset
    from .builder.pixels import merge_channels, normalise
    from .builder.ranges import read_images
    from .builder.readers import read_channel
    from .builder.sources.registry import SOURCES
    from .eval.evaluate import evaluate
    from .loaders.stream import stream

__version__ = "0.1.0"
__all__ = [
    "SOURCES",
    "CytoImageNet",
    "assign_labels",
    "evaluate",
    "load_dataset",
    "merge_channels",
    "normalise",
    "read_channel",
    "read_images",
    "stream",
]

__path__ = [str(Path(__file__).resolve().parent)]
if __spec__ is not None:
    __spec__.submodule_search_locations = __path__
__package__ = __name__

_ROOM = {
    "SOURCES": "builder.sources.registry",
    "CytoImageNet": "builder.hf",
    "assign_labels": "builder.labels",
    "evaluate": "eval.evaluate",
    "load_dataset": "builder.locate",
    "merge_channels": "builder.pixels",
    "normalise": "builder.pixels",
    "read_channel": "builder.readers",
    "read_images": "builder.ranges",
    "stream": "loaders.stream",
}

import_module(f"{__name__}.builder.hook").install()  # load_dataset("cytoimagenet") is ours from here on


def __getattr__(name: str) -> Any:
    """Fetch a public name from its room."""
    if name not in _ROOM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_ROOM[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public, fetched or not."""
    return sorted({*globals(), *__all__})


def main() -> None:
    """Run the command line: every room adds its own commands."""
    console = import_module(f"{__name__}.builder.console")
    app = console.application(__version__)
    for room in ("builder", "loaders", "training", "eval"):
        import_module(f"{__name__}.{room}.commands").add_to(app)
    console.run(app)
