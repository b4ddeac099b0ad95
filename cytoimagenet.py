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
    from .builder.dataset.read_images import read_images
    from .builder.formats.read import read_channel
    from .builder.hf.builder import CytoImageNet
    from .builder.hf.load import load_dataset
    from .builder.images.normalise import merge_channels, normalise
    from .builder.labels.assign import assign_labels
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
    "CytoImageNet": "builder.hf.builder",
    "assign_labels": "builder.labels.assign",
    "evaluate": "eval.evaluate",
    "load_dataset": "builder.hf.load",
    "merge_channels": "builder.images.normalise",
    "normalise": "builder.images.normalise",
    "read_channel": "builder.formats.read",
    "read_images": "builder.dataset.read_images",
    "stream": "loaders.stream",
}

import_module(f"{__name__}.builder.hf.hook").install()  # load_dataset("cytoimagenet") is ours from here on


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
