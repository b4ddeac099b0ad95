"""Convert Keras' EfficientNet-B0 weights (an HDF5 file) to our model.

Two file layouts are read. The older one was written by Keras 2; the published CytoImageNet and ImageNet files have it.
It contains one group per layer and names every weight (`stem_conv/kernel`). The newer one, `.weights.h5`, numbers the
layers of each kind in the order of the network (`conv2d_12/vars/0`). The shapes are checked before values are read.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ..builder.child import ChildError, call_in_child
from ..builder.errors import UsageError
from .disk import disk_errors
from .efficientnet import IMAGE_SIZE, build_b0
from .keras_weights import BATCH_NORM, WeightsError, read_weights
from .normalisation import write_normalisation

SECONDS_TO_READ = 120  # of 20 MB; damaged files can make libhdf5 run without end


def convert(file: str | PathLike[str], out: str | PathLike[str]) -> Path:
    """Convert a Keras weights file to a model folder that `load_backbone` and `transformers` read.

    Parameters
    ----------
    file : str or path
        `efficientnetb0_weights-notop.h5` as the authors published it, Keras' own `efficientnetb0_notop.h5`, a file of
        `model.save_weights` (`.h5` or `.weights.h5`), or of `model.save` as HDF5. A head, if any, is left out.
    out : str or path
        The model folder to write; must be new or empty.

    Returns
    -------
    Path
        The model folder.

    Raises
    ------
    WeightsError
        If the file is not HDF5, or contains the weights of another network.
    UsageError
        If there is no such file, or the folder is not empty.

    Notes
    -----
    Keras pads strided convolutions on the right and below only if their input has an even size; our model always does.
    Both are the same for images whose sides are multiples of 32, such as 224 pixels.
    """
    source, folder = Path(file), Path(out)
    if not source.is_file():
        raise UsageError("There is no such file", where=source)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("This folder is not empty", where=folder, next="Name a new or empty folder")
    model: Any = build_b0([], seed=0)
    layers = [(name, kind) for _, name, kind in keras_layers(model)]
    names = _weight_names(model)
    shapes = {theirs: _keras_shape(theirs, shape) for _, theirs, shape in names}
    try:
        weights, mean, std = call_in_child(read_weights, source, layers, shapes, seconds=SECONDS_TO_READ)
    except ChildError as error:
        raise WeightsError(f"This HDF5 file is damaged: {error.what.lower()}", where=source) from error
    state = {ours: _as_torch(weights[theirs], theirs, len(shape)) for ours, theirs, shape in names}
    model.load_state_dict(state, strict=False)  # the file lacks BatchNorm's counter of batches
    transformers.utils.logging.disable_progress_bar()
    with disk_errors(folder):
        model.save_pretrained(folder)
        write_normalisation(folder, mean, std, size=IMAGE_SIZE)
    return folder


def keras_layers(model: torch.nn.Module) -> list[tuple[str, str, str]]:
    """Return the layers of our network in order: `(our name, Keras' name, Keras' kind of layer)`."""
    layers = [
        ("efficientnet.embeddings.convolution", "stem_conv", "conv2d"),
        ("efficientnet.embeddings.batchnorm", "stem_bn", "batch_normalization"),
    ]
    config: Any = model.config
    stages = [
        f"block{stage + 1}{chr(ord('a') + repeat)}_"
        for stage, repeats in enumerate(config.num_block_repeats)
        for repeat in range(repeats)
    ]
    for number, name in enumerate(stages):
        block = f"efficientnet.encoder.blocks.{number}."
        if number:
            layers.append((f"{block}expansion.expand_conv", f"{name}expand_conv", "conv2d"))
            layers.append((f"{block}expansion.expand_bn", f"{name}expand_bn", "batch_normalization"))
        layers += [
            (f"{block}depthwise_conv.depthwise_conv", f"{name}dwconv", "depthwise_conv2d"),
            (f"{block}depthwise_conv.depthwise_norm", f"{name}bn", "batch_normalization"),
            (f"{block}squeeze_excite.reduce", f"{name}se_reduce", "conv2d"),
            (f"{block}squeeze_excite.expand", f"{name}se_expand", "conv2d"),
            (f"{block}projection.project_conv", f"{name}project_conv", "conv2d"),
            (f"{block}projection.project_bn", f"{name}project_bn", "batch_normalization"),
        ]
    layers.append(("efficientnet.encoder.top_conv", "top_conv", "conv2d"))
    layers.append(("efficientnet.encoder.top_bn", "top_bn", "batch_normalization"))
    return layers


def _weight_names(model: torch.nn.Module) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return, for each weight, our name, Keras' name and our shape."""
    ours = model.state_dict()
    names = []
    for name, layer, kind in keras_layers(model):
        if kind == "batch_normalization":
            names += [
                (f"{name}.{mine}", f"{layer}/{theirs}", tuple(ours[f"{name}.{mine}"].shape))
                for theirs, mine in BATCH_NORM.items()
            ]
            continue
        names.append((f"{name}.weight", f"{layer}/kernel", tuple(ours[f"{name}.weight"].shape)))
        if f"{name}.bias" in ours:
            names.append((f"{name}.bias", f"{layer}/bias", tuple(ours[f"{name}.bias"].shape)))
    return names


def _keras_axes(name: str, dimensions: int) -> tuple[int, ...] | None:
    """Return Keras' axis for each axis of torch: (height, width, in, out) there, (out, in, height, width) here."""
    if dimensions != 4:
        return None
    # of a depthwise convolution: (height, width, channels, 1) there
    return (2, 3, 0, 1) if name.endswith("dwconv/kernel") else (3, 2, 0, 1)


def _keras_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in Keras of a weight that has this shape in torch."""
    axes = _keras_axes(name, len(shape))
    return shape if axes is None else tuple(shape[axes.index(axis)] for axis in range(4))


def _as_torch(values: NDArray[np.float32], name: str, dimensions: int) -> torch.Tensor:
    """Return a weight with the axes in torch's order."""
    axes = _keras_axes(name, dimensions)
    return torch.from_numpy(np.ascontiguousarray(values if axes is None else values.transpose(axes)))
