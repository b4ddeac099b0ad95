"""Models by name: built anew, read from a folder, or without their head as a backbone for features.

A saved model is a folder in `transformers`' layout: `config.json` (with the class names), `model.safetensors` and
`preprocessor_config.json`, whose mean and standard deviation are what the images were normalised with.
Weights are read as safetensors, or with `weights_only=True`; nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetFinalBlockLayer

from ..builder.errors import UsageError
from ..builder.storage import write_atomic
from . import efficientnet_lite as lite
from .efficientnet import IMAGE_SIZE, KerasEfficientNetForImageClassification, b0_config, build_b0
from .efficientnet_lite import build_lite

B0 = "efficientnet-b0"
IMAGENET = "imagenet"
PREPROCESSOR = "preprocessor_config.json"
IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # preprint, 3.1: pixels / 255 and nothing more


class Backbone(nn.Module):
    """A network without its head that takes plain images.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier whose head was taken off, or any module that returns a tensor (N, D).
    mean, std : sequence of 3 float
        What the network's images were normalised with, for pixels in [0, 1].
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn images, shape (N, 3, H, W), float in [0, 1], into features, shape (N, D)."""
        answer = self.network((images - self.mean) / self.std)
        features = answer if isinstance(answer, torch.Tensor) else answer.logits
        return features.flatten(1)


def build_model(
    model: str, class_names: list[str], *, seed: int = 0, pretrained: bool = True, **changes: Any
) -> tuple[nn.Module, tuple[Sequence[float], Sequence[float]]]:
    """Make a classifier with a fresh head for the given classes.

    Parameters
    ----------
    model : str
        `efficientnet-b0` for random weights, `imagenet` for EfficientNet-Lite0 with the weights of the extra
        `[imagenet]`, or a folder or Hub name of any `transformers` image classifier.
    class_names : list of str
        In index order.
    seed : int
        Of the random weights.
    pretrained : bool
        For a folder or Hub name: start from its weights, or from random ones of the same architecture.
    **changes
        Fields of the model's configuration.

    Returns
    -------
    model : Module
        Its `config` knows the class names.
    normalisation : (mean, std)
        What its images are normalised with, for pixels in [0, 1].

    Raises
    ------
    UsageError
        If there is no such model or it is no image classifier.
    """
    if model == B0:
        return build_b0(class_names, seed=seed, **changes), IDENTITY
    if model == IMAGENET:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_lite(class_names), lite.NORMALISATION
    named = b0_config(class_names)
    fields = {"id2label": named.id2label, "label2id": named.label2id, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _read(model, weights=pretrained, **fields)
    return network, normalisation(model) if pretrained else IDENTITY


def load_classifier(path: str | PathLike[str]) -> nn.Module:
    """Read a saved classifier, in evaluation mode.

    Parameters
    ----------
    path : str or path
        A run folder, a folder of `convert-weights`, or a Hub name.
    """
    return _read(fspath(path)).eval()


def load_backbone(path: str | PathLike[str]) -> Backbone:
    """Read a saved classifier and take off its head.

    Parameters
    ----------
    path : str or path
        A run folder, a folder of `convert-weights`, or a Hub name of any `transformers` image classifier.

    Returns
    -------
    Backbone
        Maps images (N, 3, H, W), float in [0, 1], to what the head saw: (N, 1280) for EfficientNet-B0. The
        normalisation that was stored with the weights is done inside. In evaluation mode.

    Raises
    ------
    UsageError
        If there is no such model.
    """
    network = load_classifier(path)
    _behead(network)
    return Backbone(network, *normalisation(path))


def random_backbone(seed: int = 0) -> Backbone:
    """Make an EfficientNet-B0 with Keras' random weights and no head: the lower bound of every comparison.

    Its features are about 1e-5 (BatchNorm statistics are those of no data): scale them before a distance that minds.
    """
    return Backbone(build_b0([], seed=seed), *IDENTITY)


def imagenet_backbone() -> Backbone:
    """Make the ImageNet features that need no network: EfficientNet-Lite0 from the extra `[imagenet]`, 1280 wide.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    return Backbone(build_lite([]), *lite.NORMALISATION)


def normalisation(path: str | PathLike[str]) -> tuple[Sequence[float], Sequence[float]]:
    """Read the mean and standard deviation, for pixels in [0, 1], that a saved model's images are normalised with."""
    try:
        stored, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(fspath(path))
    except OSError:
        return IDENTITY
    if not stored.get("do_normalize", True) or "image_mean" not in stored:
        return IDENTITY
    mean, std = stored["image_mean"], stored["image_std"]
    if stored.get("include_top") and stored.get("image_processor_type", "").startswith("EfficientNet"):
        std = [value * value for value in std]  # Google's EfficientNets divide twice
    return mean, std


def write_normalisation(
    folder: str | PathLike[str], mean: Sequence[float], std: Sequence[float], size: int = IMAGE_SIZE
) -> None:
    """Write `preprocessor_config.json` beside the weights, as `transformers`' pipelines read it."""
    plain = (tuple(mean), tuple(std)) == IDENTITY
    described = {
        "image_processor_type": "EfficientNetImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 2,  # bilinear, preprint, 3.1
        "do_center_crop": False,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": not plain,
        "image_mean": list(mean),
        "image_std": list(std),
        "include_top": False,
    }
    write_atomic(Path(folder) / PREPROCESSOR, (json.dumps(described, indent=2) + "\n").encode())


def _read(name: str, *, weights: bool = True, **changes: Any) -> nn.Module:
    transformers.utils.logging.disable_progress_bar()
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        unfinished = any(folder.glob("checkpoint-*"))
        raise UsageError(
            "The training run is not finished" if unfinished else "There is no model in this folder",
            where=name,
            next="Go on with: cytoimagenet train DIR --out RUN --resume"
            if unfinished
            else "A model folder holds config.json and model.safetensors",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(name, **changes)
        kind: Any = transformers.AutoModelForImageClassification
        if config.model_type == "efficientnet":
            kind = KerasEfficientNetForImageClassification
        if not weights:
            return kind.from_config(config) if hasattr(kind, "from_config") else kind(config)
        return kind.from_pretrained(
            name, config=config, dtype=torch.float32, ignore_mismatched_sizes=bool(changes), use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Can't read a model: {str(error).splitlines()[0]}",
            where=name,
            next="Give a run folder, or the Hub name of an image classifier with safetensors weights",
        ) from error


def adjust(network: nn.Module, *, norm_momentum: float, head_scale: float, residual_scale: float = 1.0) -> None:
    """Set the momentum of all BatchNorm layers, and scale the first weights of the head and the residual branches.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier.
    norm_momentum : float
        The weight of a new batch.
    head_scale : float
        1 leaves the head as it was drawn.
    residual_scale : float
        Of the last BatchNorm of every EfficientNet block that adds to its input; 0 makes such a block pass its input
        on unchanged. For a network with random weights only.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = norm_momentum
    with torch.no_grad():
        for block in network.modules():
            if isinstance(block, EfficientNetFinalBlockLayer) and block.apply_dropout:  # that is: it adds its input
                block.project_bn.weight.mul_(residual_scale)
        network.get_submodule(_head(network)).weight.mul_(head_scale)  # type: ignore[operator]


def _head(network: nn.Module) -> str:
    """Name the last linear layer: the one with an output a class."""
    config: Any = network.config
    heads = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == config.num_labels
    ]
    if not heads:
        raise UsageError(f"{type(network).__name__} has no linear head")
    return heads[-1]


def _behead(network: nn.Module) -> None:
    """Put nothing in the place of the head."""
    config: Any = network.config
    if not config.num_labels:
        return
    parent, _, last = _head(network).rpartition(".")
    owner = network.get_submodule(parent)
    if last.isdigit() and isinstance(owner, nn.Sequential):
        owner[int(last)] = nn.Identity()
    else:
        setattr(owner, last, nn.Identity())
