"""The normalisation of a network's input: mean and standard deviation of each channel, stored with its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import transformers
from torch import nn

from ..builder.errors import UsageError
from ..builder.storage import write_atomic
from .efficientnet import IMAGE_SIZE
from .model_names import why_not_from_hub

PREPROCESSOR = "preprocessor_config.json"
IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std; preprint, 3.1: pixels / 255, no normalisation


def read_normalisation(path: str | PathLike[str]) -> tuple[Sequence[float], Sequence[float]]:
    """Return the mean and standard deviation, for pixels in [0, 1], with which a saved model normalises images."""
    stored = _stored(path)
    if not stored.get("do_normalize", True) or "image_mean" not in stored:
        return IDENTITY
    mean, std = stored["image_mean"], stored["image_std"]
    if stored.get("include_top") and stored.get("image_processor_type", "").startswith("EfficientNet"):
        std = [value * value for value in std]  # Google's EfficientNets divide twice
    return mean, std


def read_size(path: str | PathLike[str]) -> int | None:
    """Return the side in pixels of the images for which a saved model was trained; None if it is not stored."""
    stored = _stored(path)
    size = stored.get("size")
    if isinstance(size, dict):
        size = size.get("height", size.get("shortest_edge"))
    return size if isinstance(size, int) else None


def for_channels(
    normalisation: tuple[Sequence[float], Sequence[float]], network: nn.Module
) -> tuple[Sequence[float], Sequence[float]]:
    """Return a normalisation with one value for each channel of a network.

    Parameters
    ----------
    normalisation : (mean, std)
        For three channels or one.
    network : Module
        A `transformers` image classifier of three channels or one.

    Raises
    ------
    UsageError
        If the network takes another number of channels.
    """
    channels = getattr(network.config, "num_channels", 3)
    if channels not in (1, 3):
        raise UsageError(
            f"This network takes {channels} channels", next="Use an image classifier for grey or for RGB images"
        )
    if len(normalisation[0]) == channels:
        return normalisation
    mean, std = ([sum(values) / len(values)] * channels for values in normalisation)
    return mean, std


def preprocessor_config(mean: Sequence[float], std: Sequence[float], size: int = IMAGE_SIZE) -> str:
    """Return the content of `preprocessor_config.json`, in the form that `transformers` reads."""
    is_identity = not any(mean) and all(value == 1 for value in std)
    config = {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 2,  # bilinear, preprint, 3.1
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": not is_identity,
        "image_mean": list(mean),
        "image_std": list(std),
        "include_top": False,
    }
    return json.dumps(config, indent=2) + "\n"


def write_normalisation(
    folder: str | PathLike[str], mean: Sequence[float], std: Sequence[float], size: int = IMAGE_SIZE
) -> None:
    """Write `preprocessor_config.json` into a model folder, in the form that `transformers` reads."""
    write_atomic(Path(folder) / PREPROCESSOR, preprocessor_config(mean, std, size).encode())


def _stored(path: str | PathLike[str]) -> dict[str, Any]:
    """Return the content of `preprocessor_config.json` of a model folder or a model on the Hub; empty without one."""
    try:
        stored, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(
            fspath(path), local_files_only=bool(why_not_from_hub(fspath(path)))
        )
    except OSError:
        return {}
    return stored
