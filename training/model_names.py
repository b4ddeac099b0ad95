"""What the name of a model means: the same everywhere, in Python and for every command.

| name | model |
|---|---|
| `efficientnet-b0`, `random`, `random:SEED` | EfficientNet-B0 with random weights |
| `imagenet` | EfficientNet-Lite0 with ImageNet weights, from the extra `[imagenet]` |
| a folder | a training run, or any `transformers` image classifier |
| `OWNER/NAME` | an image classifier on the Hugging Face Hub |

A folder is looked for before the Hub is asked, and an absent one is reported without asking. `./imagenet` is a folder
of that name.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from typing import Literal, NamedTuple

from ..builder.errors import UsageError
from ..builder.hf.hub_errors import why_unreachable

B0 = "efficientnet-b0"
IMAGENET = "imagenet"
RANDOM = "random"
RUNS = Path("runs")  # where `train` writes by default
FOLDERS_NAMED = 5  # in an error, of those that contain a model
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
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
    if path.parent == Path() and (RUNS / path).is_dir():
        raise UsageError("There is no such model folder", where=text, next=f"Did you mean {RUNS / path}?")
    check_model_name(text)
    return ModelName("hub", text)


def check_model_name(name: str) -> None:
    """Raise a `UsageError` for a path at which there is nothing, before the Hub is asked for a model of that name.

    A name is taken for a path if the Hub has no such names, or if its first part is a folder: `runs/frist` is a
    misspelt run where there is a folder `runs`.

    Parameters
    ----------
    name : str
        A folder, or the name of a model on the Hub.

    Examples
    --------
    >>> check_model_name("microsoft/resnet-18")
    >>> check_model_name("./frist")
    Traceback (most recent call last):
    ...
    cytoimagenet.builder.errors.UsageError: There is no such model folder [./frist]
    A run folder or another model folder contains config.json and model.safetensors
    """
    folder = Path(name).expanduser()
    if folder.exists():
        return
    is_hub_name = _HUB_NAME.fullmatch(name) and not name.startswith(".")
    if is_hub_name and not (len(folder.parts) > 1 and Path(folder.parts[0]).is_dir()):
        return
    models = sorted(path.parent.name for path in folder.parent.glob("*/config.json"))
    near = get_close_matches(folder.name, models, n=1)
    if near:
        advice = f"Did you mean {folder.parent / near[0]}?"
    elif models:
        advice = f"There are {', '.join(str(folder.parent / model) for model in models[:FOLDERS_NAMED])}"
    else:
        advice = "A run folder or another model folder contains config.json and model.safetensors"
    raise UsageError("There is no such model folder", where=name, next=advice)


def why_not_from_hub(name: str) -> str:
    """Return why the Hub can't be asked for a model; empty for a folder on this disk, and if the Hub answers."""
    return "" if Path(name).is_dir() else why_unreachable()
