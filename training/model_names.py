"""Whether the name of a model is a folder on this disk or a name on the Hub, and whether the Hub can be asked."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from ..builder.errors import UsageError
from ..builder.hf.hub_errors import why_unreachable

_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
FOLDERS_NAMED = 5  # in an error, of those that contain a model


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
