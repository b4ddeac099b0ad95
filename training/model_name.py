"""What the name of a model means: the same everywhere, in Python and for every command.

| name | model |
|---|---|
| `efficientnet-b0`, `random`, `random:SEED` | EfficientNet-B0 with random weights |
| `imagenet` | EfficientNet-Lite0 with ImageNet weights, from the extra `[imagenet]` |
| a folder | a training run, or any `transformers` image classifier |
| `OWNER/NAME` | an image classifier on the Hugging Face Hub |

A folder is looked for before the Hub is asked. `./imagenet` is a folder of that name.
"""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, NamedTuple

from ..builder.errors import UsageError

B0 = "efficientnet-b0"
IMAGENET = "imagenet"
RANDOM = "random"
RUNS = Path("runs")  # where `train` writes by default
FOLDERS_NAMED = 5  # in an error
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_NAMES = "`imagenet`, `random`, a run folder, or the name of an image classifier on the Hub (OWNER/NAME)"


class ModelName(NamedTuple):
    """A model, found by its name.

    Parameters
    ----------
    kind : {"random", "imagenet", "folder", "hub"}
    where : str
        The folder or the name on the Hub; empty for the other kinds.
    seed : int, optional
        Random seed of the weights, if the name contains one.
    """

    kind: Literal["random", "imagenet", "folder", "hub"]
    where: str = ""
    seed: int | None = None


def resolve(name: str | PathLike[str]) -> ModelName:
    """Find out which model a name means.

    Parameters
    ----------
    name : str or path
        A name of the table above.

    Raises
    ------
    UsageError
        If it is the path of a folder that does not exist, or of a file.

    Examples
    --------
    >>> resolve("imagenet"), resolve("random:3")
    (ModelName(kind='imagenet', where='', seed=None), ModelName(kind='random', where='', seed=3))
    >>> resolve("google/vit-base-patch16-224")
    ModelName(kind='hub', where='google/vit-base-patch16-224', seed=None)
    """
    text = fspath(name)
    kind, colon, seed = text.partition(":")
    if kind == RANDOM and colon and seed.isdecimal():
        return ModelName("random", seed=int(seed))
    if text in (B0, RANDOM):
        return ModelName("random")
    if text == IMAGENET:
        return ModelName("imagenet")
    path = Path(text).expanduser()
    if path.is_dir():
        return ModelName("folder", str(path))
    if path.exists():
        keras = path.suffix in (".h5", ".hdf5")
        raise UsageError(
            "This is a file, and a model is a folder",
            where=text,
            next=f"Convert Keras weights first: cytoimagenet convert-weights {text} OUT" if keras else f"Use {_NAMES}.",
        )
    if _is_path(text) or _in_runs(text):
        raise UsageError("There is no such model folder", where=text, next=_advice(path))
    return ModelName("hub", text)


def _is_path(text: str) -> bool:
    """Return whether a text can't be a name on the Hub, or names a place in a folder that exists."""
    parent = Path(text).parent
    return _HUB_NAME.fullmatch(text) is None or (parent != Path() and parent.is_dir())


def _in_runs(text: str) -> bool:
    """Return whether a name without a folder is one of a run."""
    return Path(text).parent == Path() and (RUNS / text).is_dir()


def _advice(path: Path) -> str:
    """Return what to do about an absent folder, with the model folders near it."""
    if _in_runs(str(path)):
        return f"Did you mean {RUNS / path}?"
    parent = path.parent
    near = sorted(str(entry.parent) for entry in parent.glob("*/config.json")) if parent.is_dir() else []
    if not near:
        return f"Use {_NAMES}."
    more = f" and {len(near) - FOLDERS_NAMED} more" if len(near) > FOLDERS_NAMED else ""
    return f"There are {', '.join(near[:FOLDERS_NAMED])}{more}. Or use {_NAMES}."
