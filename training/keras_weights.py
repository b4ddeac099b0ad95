"""Read the weights of a Keras EfficientNet-B0 from an HDF5 file. Needs no torch: `convert` calls it in a child process.

A damaged HDF5 file can make libhdf5 run without end, and no signal reaches Python then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..builder.errors import CytoImageNetError

Weights = dict[str, "h5py.Dataset"]

BATCH_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
IMAGENET_STD = (0.229, 0.224, 0.225)
NORMALISATION = ("mean", "variance")
KERAS_EPSILON = 1e-7  # smallest standard deviation by which Keras' Normalization layer divides


class WeightsError(CytoImageNetError):
    """An HDF5 file does not contain the weights of an EfficientNet-B0."""


def read_weights(
    source: Path, layers: Sequence[tuple[str, str]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, NDArray[np.float32]], list[float], list[float]]:
    """Read weights and normalisation.

    Parameters
    ----------
    source : Path
        The HDF5 file.
    layers : sequence of (name, kind)
        Keras' name and kind of each layer, in the order of the network.
    shapes : mapping of str to tuple of int
        Keras' name of each weight to read (`stem_conv/kernel`), and the shape that it must have.

    Returns
    -------
    weights : dict of str to array
    mean, std : list of float
        Of the normalisation layer, for pixels in [0, 1]; 0 and 1 if the file has none.

    Raises
    ------
    WeightsError
        If the file is not HDF5, is damaged, or contains the weights of another network.
    """
    try:
        opened = h5py.File(source, "r")
    except OSError as error:
        raise WeightsError(
            "Not an HDF5 file", where=source, next="Give a Keras weights file, .h5 or .weights.h5"
        ) from error
    try:
        with opened:
            found = _by_name(opened, layers, source)
            weights = {name: _read_weight(found, name, shape, source) for name, shape in shapes.items()}
            return weights, *_normalisation(found, source)
    except WeightsError:
        raise
    except Exception as error:  # h5py raises errors of every kind for damaged files
        raise WeightsError(f"This HDF5 file is damaged: {type(error).__name__}: {error}", where=source) from error


def _by_name(file: h5py.File, layers: Sequence[tuple[str, str]], where: Path) -> Weights:
    """Return the weights by their names in the older layout, whichever layout the file has."""
    root = file["model_weights"] if isinstance(file.get("model_weights"), h5py.Group) else file
    if "layer_names" in root.attrs:
        return _older_layout(root, where)
    stored = file.get("layers", file.get("_layer_checkpoint_dependencies"))
    if isinstance(stored, h5py.Group):
        return _newer_layout(stored, layers)
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


def _newer_layout(stored: h5py.Group, layers: Sequence[tuple[str, str]]) -> Weights:
    """Return the weights of a file with numbered layers: number n of a kind is the nth of that kind in the network."""
    weights: Weights = {}
    last_number: dict[str, int] = {}
    for layer, kind in layers:
        number = last_number[kind] = last_number.get(kind, -1) + 1
        values = stored.get(f"{kind}_{number}" if number else kind)
        names = tuple(BATCH_NORM) if kind == "batch_normalization" else ("kernel", "bias")
        if isinstance(values, h5py.Group) and isinstance(values.get("vars"), h5py.Group):
            for position, name in enumerate(names):
                if isinstance(values["vars"].get(str(position)), h5py.Dataset):
                    weights[f"{layer}/{name}"] = values["vars"][str(position)]
    statistics = stored.get("normalization/vars")
    for position, name in enumerate(NORMALISATION):
        if isinstance(statistics, h5py.Group) and str(position) in statistics:
            weights[f"normalization/{name}"] = statistics[str(position)]
    return weights


def _read_weight(weights: Weights, name: str, shape: tuple[int, ...], where: Path) -> NDArray[np.float32]:
    """Return one weight, in Keras' order of the axes."""
    if name not in weights:
        raise WeightsError(
            f"The file lacks {name}: these are not the weights of an EfficientNet-B0",
            where=where,
            next="This command converts EfficientNet-B0 only",
        )
    return _values(weights[name], name, shape, where)


def _values(stored: h5py.Dataset, name: str, shape: tuple[int, ...], where: Path) -> NDArray[np.float32]:
    """Return the values of a stored weight after checking them."""
    if stored.shape != shape or stored.dtype.kind != "f":
        raise WeightsError(
            f"{name} has the shape {stored.shape}; EfficientNet-B0's has {shape}",
            where=where,
            next="This command converts EfficientNet-B0 only",
        )
    if stored.external or stored.is_virtual or stored.file.filename != str(where):
        raise WeightsError(f"{name} is stored in another file", where=where)
    values: NDArray[np.float32] = stored[()].astype(np.float32)
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
