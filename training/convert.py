"""Convert Keras' EfficientNet-B0 weights (an HDF5 file) to our model.

Two file layouts are read. The older one was written by Keras 2; the published CytoImageNet and ImageNet files have it.
It contains one group per layer and names every weight (`stem_conv/kernel`). The newer one, `.weights.h5`, numbers the
layers of each kind in the order of the network (`conv2d_12/vars/0`). The shapes are checked before values are read.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from ..builder.errors import CytoImageNetError, UsageError
from .efficientnet import IMAGE_SIZE, build_b0
from .model import write_normalisation

Weights = dict[str, "h5py.Dataset"]

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
IMAGENET_STD = (0.229, 0.224, 0.225)
NORMALISATION = ("mean", "variance")
KERAS_EPSILON = 1e-7  # smallest standard deviation by which Keras' Normalization layer divides


class WeightsError(CytoImageNetError):
    """An HDF5 file does not contain the weights of an EfficientNet-B0."""


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
    try:
        opened = h5py.File(source, "r")
    except OSError as error:
        raise WeightsError(
            "Not an HDF5 file", where=source, next="Give a Keras weights file, .h5 or .weights.h5"
        ) from error
    with opened:
        weights = _by_name(opened, source)
        model: Any = build_b0([], seed=0)
        state = {ours: _read_weight(weights, theirs, shape, source) for ours, theirs, shape in _weight_names(model)}
        mean, std = _normalisation(weights, source)
    model.load_state_dict(state, strict=False)  # the file lacks BatchNorm's counter of batches
    transformers.utils.logging.disable_progress_bar()
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


def _by_name(file: h5py.File, where: Path) -> Weights:
    """Return the weights by their names in the older layout, whichever layout the file has."""
    root = file["model_weights"] if isinstance(file.get("model_weights"), h5py.Group) else file
    if "layer_names" in root.attrs:
        return _older_layout(root, where)
    layers = file.get("layers", file.get("_layer_checkpoint_dependencies"))
    if isinstance(layers, h5py.Group):
        return _newer_layout(layers)
    raise WeightsError(
        "This HDF5 file contains no Keras weights",
        where=where,
        next="Keras writes them with model.save_weights('NAME.weights.h5')",
    )


def _older_layout(root: h5py.Group, where: Path) -> Weights:
    """Return the weights of a file with one group per layer."""
    weights: Weights = {}
    for layer in map(_text, np.atleast_1d(root.attrs["layer_names"])):
        group = root.get(layer)
        if not isinstance(group, h5py.Group):
            raise WeightsError(f"The file lists a layer {layer!r} but does not contain it", where=where)
        names = np.atleast_1d(group.attrs.get("weight_names", ()))
        if names.size and names.dtype.kind not in "SUO":
            raise WeightsError(f"The layer {layer!r} lists weights that are no names: {names[0]!r}", where=where)
        for name in map(_text, names):
            # `layer/kernel:0`, with further parts in front for a nested network
            parts = name.split(":")[0].split("/")
            owner = parts[-2] if len(parts) > 1 else layer
            if owner.startswith("normalization_"):  # Keras numbers this layer, since it has no name
                owner = "normalization"
            kind = "kernel" if parts[-1] == "depthwise_kernel" else parts[-1]
            if isinstance(group.get(name), h5py.Dataset):
                weights[f"{owner}/{kind}"] = group[name]
    return weights


def _newer_layout(layers: h5py.Group) -> Weights:
    """Return the weights of a file with numbered layers: number n of a kind is the nth of that kind in the network."""
    weights: Weights = {}
    last_number: dict[str, int] = {}
    for _, layer, kind in keras_layers(build_b0([], seed=0)):
        number = last_number[kind] = last_number.get(kind, -1) + 1
        values = layers.get(f"{kind}_{number}" if number else kind)
        names = tuple(BATCH_NORM) if kind == "batch_normalization" else ("kernel", "bias")
        if isinstance(values, h5py.Group) and isinstance(values.get("vars"), h5py.Group):
            for position, name in enumerate(names):
                if isinstance(values["vars"].get(str(position)), h5py.Dataset):
                    weights[f"{layer}/{name}"] = values["vars"][str(position)]
    stored = layers.get("normalization/vars")
    for position, name in enumerate(NORMALISATION):
        if isinstance(stored, h5py.Group) and str(position) in stored:
            weights[f"normalization/{name}"] = stored[str(position)]
    return weights


def _read_weight(weights: Weights, name: str, shape: tuple[int, ...], where: Path) -> torch.Tensor:
    """Return one weight with the axes in torch's order."""
    if name not in weights:
        raise WeightsError(
            f"The file lacks {name}: these are not the weights of an EfficientNet-B0",
            where=where,
            next="This command converts EfficientNet-B0 only",
        )
    stored = weights[name]
    # Keras: (height, width, in, out), depthwise (height, width, channels, 1); torch: (out, in, height, width)
    axes = None if len(shape) != 4 else (2, 3, 0, 1) if name.endswith("dwconv/kernel") else (3, 2, 0, 1)
    expected = shape if axes is None else tuple(shape[axes.index(axis)] for axis in range(4))
    values = _values(stored, name, expected, where)
    return torch.from_numpy(np.ascontiguousarray(values if axes is None else values.transpose(axes)))


def _values(stored: h5py.Dataset, name: str, shape: tuple[int, ...], where: Path) -> NDArray[np.float32]:
    """Return the values of a stored weight after checking them."""
    if stored.shape != shape or stored.dtype.kind != "f":
        raise WeightsError(
            f"{name} has the shape {stored.shape}; EfficientNet-B0's has {shape}",
            where=where,
            next="This command converts EfficientNet-B0 only",
        )
    if stored.external or stored.is_virtual:
        raise WeightsError(f"{name} is stored in another file", where=where)
    values = stored[()].astype(np.float32)
    if not np.isfinite(values).all():
        raise WeightsError(f"{name} contains values that are not finite numbers", where=where)
    return values


def _normalisation(weights: Weights, where: Path) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation, for pixels in [0, 1], of the normalisation layer in the file."""
    if "normalization/mean" not in weights:
        return [0.0] * 3, [1.0] * 3
    mean, variance = (
        _values(weights[f"normalization/{name}"], f"normalization/{name}", (3,), where) for name in NORMALISATION
    )
    if np.allclose(variance, IMAGENET_STD, atol=1e-4):
        # in Keras' ImageNet file the variances are standard deviations, and its network divides by their root twice
        return mean.tolist(), variance.tolist()
    return mean.tolist(), np.maximum(np.sqrt(variance), KERAS_EPSILON).tolist()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
