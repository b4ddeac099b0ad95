"""Build classifiers by name, load saved ones, and remove their head to get a backbone that computes features.

A saved model is a folder in the layout of `transformers`: `config.json` (with the class names), `model.safetensors` and
`preprocessor_config.json` (with the mean and standard deviation for the normalisation of the images). Weights are read
as safetensors or with `weights_only=True`; no pickled code is executed.
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
from ..builder.hf.hub_errors import quiet_client
from ..builder.storage import write_atomic
from . import efficientnet_lite as lite
from .efficientnet import IMAGE_SIZE, KerasEfficientNetForImageClassification, b0_config, build_b0
from .efficientnet_lite import build_lite
from .model_names import check_model_name, why_not_from_hub

B0 = "efficientnet-b0"
IMAGENET = "imagenet"
PREPROCESSOR = "preprocessor_config.json"
IDENTITY = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))  # mean and std; preprint, 3.1: pixels / 255, no normalisation


class Backbone(nn.Module):
    """A network without its head: images in, features out.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier without its head, or any module that returns a tensor (N, D).
    mean, std : sequence of 3 float
        Normalisation of the network's input, for pixels in [0, 1].
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
        """Return the features, shape (N, D), of images, shape (N, 3, H, W), float in [0, 1]."""
        output = self.network((images - self.mean) / self.std)
        features = output if isinstance(output, torch.Tensor) else output.logits
        return features.flatten(1)


def build_model(
    model: str, class_names: list[str], *, seed: int = 0, pretrained: bool = True, **changes: Any
) -> tuple[nn.Module, tuple[Sequence[float], Sequence[float]]]:
    """Build a classifier with a new head for the given classes.

    Parameters
    ----------
    model : str
        `efficientnet-b0` (random weights), `imagenet` (EfficientNet-Lite0 with the weights of the extra
        `[imagenet]`), or the folder or Hub name of any `transformers` image classifier.
    class_names : list of str
        Names of the classes; the labels are indices into it.
    seed : int
        Random seed of the weights that are not loaded.
    pretrained : bool
        For a folder or Hub name: load its weights. False: random weights of the same architecture.
    **changes
        Fields of the model's configuration to change.

    Returns
    -------
    model : Module
        The classifier; `config` contains the class names.
    normalisation : (mean, std)
        Normalisation of its input, for pixels in [0, 1].

    Raises
    ------
    UsageError
        If there is no such model or it is not an image classifier.
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
        network = _load(model, weights=pretrained, **fields)
    return network, normalisation(model) if pretrained else IDENTITY


def load_classifier(path: str | PathLike[str]) -> nn.Module:
    """Load a saved classifier, in evaluation mode.

    Parameters
    ----------
    path : str or path
        A run folder, a folder written by `convert-weights`, or a Hub name.
    """
    return _load(fspath(path)).eval()


def load_backbone(path: str | PathLike[str]) -> Backbone:
    """Load a saved classifier without its head, to compute features.

    Parameters
    ----------
    path : str or path
        A run folder, a folder written by `convert-weights`, or the Hub name of any `transformers` image classifier.

    Returns
    -------
    Backbone
        Module in evaluation mode. Maps images, shape (N, 3, H, W), float in [0, 1], to features, shape (N, D); D is
        1280 for EfficientNet-B0. It applies the normalisation that was saved with the weights.

    Raises
    ------
    UsageError
        If there is no such model.

    Examples
    --------
    >>> features = load_backbone("runs/first")(torch.rand(2, 3, 224, 224))                    # doctest: +SKIP
    >>> features.shape                                                                        # doctest: +SKIP
    torch.Size([2, 1280])
    """
    network = load_classifier(path)
    _remove_head(network)
    return Backbone(network, *normalisation(path))


def random_backbone(seed: int = 0) -> Backbone:
    """Return an EfficientNet-B0 with random weights and no head, the lower bound of every comparison.

    Weights are sampled as in Keras. Features are about 1e-5, since the BatchNorm statistics are those of no data: use a
    distance that does not depend on the scale, or standardise them.

    Parameters
    ----------
    seed : int
        Random seed of the weights.
    """
    return Backbone(build_b0([], seed=seed), *IDENTITY)


def imagenet_backbone() -> Backbone:
    """Return EfficientNet-Lite0 with ImageNet weights and no head; its features have 1280 columns.

    The weights are part of the extra `[imagenet]`: nothing is downloaded.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    return Backbone(build_lite([]), *lite.NORMALISATION)


def normalisation(path: str | PathLike[str]) -> tuple[Sequence[float], Sequence[float]]:
    """Return the mean and standard deviation, for pixels in [0, 1], with which a saved model normalises images."""
    try:
        stored, _ = transformers.image_processing_base.ImageProcessingMixin.get_image_processor_dict(
            fspath(path), local_files_only=bool(why_not_from_hub(fspath(path)))
        )
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
    """Write `preprocessor_config.json` into a model folder, in the form that `transformers` reads."""
    is_identity = (tuple(mean), tuple(std)) == IDENTITY
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
    write_atomic(Path(folder) / PREPROCESSOR, (json.dumps(config, indent=2) + "\n").encode())


@quiet_client()
def _load(name: str, *, weights: bool = True, **changes: Any) -> nn.Module:
    transformers.utils.logging.disable_progress_bar()
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        unfinished = any(folder.glob("checkpoint-*"))
        raise UsageError(
            "The training run is not finished" if unfinished else "There is no model in this folder",
            where=name,
            next="Continue it: cytoimagenet train DIR --out RUN --resume"
            if unfinished
            else "A model folder contains config.json and model.safetensors",
        )
    check_model_name(name)
    unreachable = why_not_from_hub(name)
    offline = {"local_files_only": bool(unreachable)}  # then only a model that was loaded before is found
    try:
        config = transformers.AutoConfig.from_pretrained(name, **changes, **offline)
        model_class: Any = transformers.AutoModelForImageClassification
        if config.model_type == "efficientnet":
            model_class = KerasEfficientNetForImageClassification
        if not weights:
            return model_class.from_config(config) if hasattr(model_class, "from_config") else model_class(config)
        return model_class.from_pretrained(
            name,
            config=config,
            dtype=torch.float32,
            ignore_mismatched_sizes=bool(changes),
            use_safetensors=True,
            **offline,
        )
    except (OSError, ValueError) as error:
        if unreachable:
            raise UsageError(
                f"There is no such model folder or model in the cache, and the Hub can't be reached ({unreachable})",
                where=name,
                next="Check the name, or run the same command with a network",
            ) from error
        raise UsageError(
            f"Can't read a model: {str(error).splitlines()[0]}",
            where=name,
            next="Give a run folder, or the Hub name of an image classifier with safetensors weights",
        ) from error


def prepare_for_training(
    network: nn.Module, *, norm_momentum: float, head_scale: float, residual_scale: float = 1.0
) -> None:
    """Set the momentum of all BatchNorm layers; scale the initial weights of the head and the residual branches.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier.
    norm_momentum : float
        Weight of a new batch in the running statistics, in [0, 1].
    head_scale : float
        Factor of the head's weights; 1 leaves them unchanged.
    residual_scale : float
        Factor of the last BatchNorm of every EfficientNet block that adds its input to its output. With 0 such a block
        returns its input unchanged. Only for networks with random weights.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = norm_momentum
    with torch.no_grad():
        for block in network.modules():
            if (
                isinstance(block, EfficientNetFinalBlockLayer) and block.apply_dropout
            ):  # set if and only if the block adds its input
                block.project_bn.weight.mul_(residual_scale)
        network.get_submodule(_head_name(network)).weight.mul_(head_scale)  # type: ignore[operator]


def _head_name(network: nn.Module) -> str:
    """Return the name of the head: the last linear layer with one output per class."""
    config: Any = network.config
    heads = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == config.num_labels
    ]
    if not heads:
        raise UsageError(
            f"{type(network).__name__} has no linear classification layer", next="Use another image classifier"
        )
    return heads[-1]


def _remove_head(network: nn.Module) -> None:
    """Replace the classification layer by Identity, so that the network returns features."""
    config: Any = network.config
    if not config.num_labels:
        return
    parent, _, last = _head_name(network).rpartition(".")
    owner = network.get_submodule(parent)
    if last.isdigit() and isinstance(owner, nn.Sequential):
        owner[int(last)] = nn.Identity()
    else:
        setattr(owner, last, nn.Identity())
