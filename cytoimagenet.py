"""CytoImageNet: build a labelled microscopy dataset, train networks on it and evaluate their features.

This file defines the version, the public names and the `main` function of the command line. It imports nothing heavy:
each public name is imported from its module when it is first used.

In a checkout this file is next to the packages (`builder/`, `loaders/`, `training/`, `eval/`). In the wheel it is
`cytoimagenet/__init__.py` and the packages are below it. Setting `__path__` makes `cytoimagenet.builder` importable in
both.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .builder.archive.import_kaggle import import_archive
    from .builder.dataset.read_images import read_images
    from .builder.formats.read import read_channel
    from .builder.hf.builder import CytoImageNet
    from .builder.hf.load import load_dataset
    from .builder.images.normalise import merge_channels, normalise
    from .builder.labels.assign import assign_labels
    from .builder.sources.registry import SOURCES
    from .eval.evaluate import evaluate
    from .eval.features.own_images import extract_features
    from .loaders.mapstyle import MapDataset
    from .loaders.stream import stream
    from .loaders.webdataset_reader import webdataset
    from .loaders.weights import class_weights
    from .training.model import load_backbone
    from .training.train import train

__version__ = "0.1.0"
__all__ = [
    "SOURCES",
    "CytoImageNet",
    "MapDataset",
    "assign_labels",
    "class_weights",
    "evaluate",
    "extract_features",
    "import_archive",
    "load_backbone",
    "load_dataset",
    "merge_channels",
    "normalise",
    "read_channel",
    "read_images",
    "stream",
    "train",
    "webdataset",
]

if __name__ == "__main__":  # `python -m cytoimagenet` in a checkout; in the wheel `__main__.py` does it
    import_module("cytoimagenet").main()

__path__ = [str(Path(__file__).resolve().parent)]
if __spec__ is not None:
    __spec__.submodule_search_locations = __path__
__package__ = __name__

_MODULE_OF = {
    "SOURCES": "builder.sources.registry",
    "CytoImageNet": "builder.hf.builder",
    "MapDataset": "loaders.mapstyle",
    "assign_labels": "builder.labels.assign",
    "class_weights": "loaders.weights",
    "evaluate": "eval.evaluate",
    "extract_features": "eval.features.own_images",
    "import_archive": "builder.archive.import_kaggle",
    "load_backbone": "training.model",
    "load_dataset": "builder.hf.load",
    "merge_channels": "builder.images.normalise",
    "normalise": "builder.images.normalise",
    "read_channel": "builder.formats.read",
    "read_images": "builder.dataset.read_images",
    "stream": "loaders.stream",
    "train": "training.train",
    "webdataset": "loaders.webdataset_reader",
}

# From here on `datasets.load_dataset("cytoimagenet")` returns our columns.
import_module("cytoimagenet.builder.hf.hook").install()


def __getattr__(name: str) -> Any:
    """Import a public name from its module at its first use."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with import_module(f"{__name__}.builder.extras").naming_the_extra():
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, whether they are imported yet or not."""
    return sorted({*globals(), *__all__})


def main() -> None:
    """Run the command line: each package adds its own commands."""
    try:
        console = import_module(f"{__name__}.builder.console")
        app = console.application(__version__)
        for package in ("builder", "loaders", "training", "eval"):
            import_module(f"{__name__}.{package}.commands").add_to(app)
        console.run(app, "cytoimagenet")
    except KeyboardInterrupt:  # Ctrl-C while Python imports: later ones are reported by `console.run`
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)
