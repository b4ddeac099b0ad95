"""Build classifiers by name, load saved ones, and remove their head to get a backbone that computes features.

A saved model is a folder in the layout of `transformers`: `config.json` (with the class names), `model.safetensors` and
`preprocessor_config.json` (with the mean and standard deviation for the normalisation of the images). Weights are read
as safetensors or with `weights_only=True`; no pickled code is executed.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetFinalBlockLayer

from ..builder.errors import UsageError
from ..builder.hf.hub_errors import quiet_client
from . import efficientnet_lite as lite
from .efficientnet import KerasEfficientNetForImageClassification, b0_config, build_b0
from .efficientnet_lite import build_lite
from .head import head_names, remove_head
from .model_names import ModelName, resolve, why_not_from_hub
from .normalisation import IDENTITY, for_channels, read_normalisation


class Backbone(nn.Module):
    """A network without its head: images in, features out.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier without its head, or any module that returns a tensor (N, D).
    mean, std : sequence of float
        Normalisation of the network's input, for pixels in [0, 1]: 3 values, or one for a network with one channel.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (N, D), of images, shape (N, 3, H, W), float in [0, 1].

        A network with one channel gets the mean of the three.
        """
        if self.mean.shape[1] == 1:
            images = images.mean(1, keepdim=True)
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
        A name of `training/model_names.py`: `efficientnet-b0` (random weights), `imagenet` (EfficientNet-Lite0 with the
        weights of the extra `[imagenet]`), or the folder or Hub name of any `transformers` image classifier.
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
        Normalisation of its input, for pixels in [0, 1]: one value for each channel of the network, 3 or 1.

    Raises
    ------
    UsageError
        If there is no such model or it is not an image classifier.
    """
    named_model = resolve(model)
    if named_model.kind == "random":
        return build_b0(class_names, seed=seed if named_model.seed is None else named_model.seed, **changes), IDENTITY
    if named_model.kind == "imagenet":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build_lite(class_names), lite.NORMALISATION
    named = b0_config(class_names)
    fields = {"id2label": named.id2label, "label2id": named.label2id, **changes}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _load(named_model, weights=pretrained, **fields)
    return network, for_channels(read_normalisation(named_model.where) if pretrained else IDENTITY, network)


def load_classifier(path: str | PathLike[str]) -> nn.Module:
    """Load a saved classifier, in evaluation mode.

    Parameters
    ----------
    path : str or path
        A run folder, a folder written by `convert-weights`, or a Hub name.
    """
    named = resolve(path)
    if named.kind not in ("folder", "hub"):
        raise UsageError("This network has no classes", where=path, next="Give a run folder or a Hub name")
    return _load(named).eval()


def load_backbone(name: str | PathLike[str]) -> Backbone:
    """Load a network without its head, to compute features.

    Parameters
    ----------
    name : str or path
        `imagenet`; `random` or `random:SEED`; a run folder or a folder written by `convert-weights`; or the folder or
        Hub name of any `transformers` image classifier. The commands take the same names (`training/model_names.py`).

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
    named = resolve(name)
    if named.kind == "random":
        return random_backbone(named.seed or 0)
    if named.kind == "imagenet":
        return imagenet_backbone()
    network = _load(named).eval()
    remove_head(network)
    return Backbone(network, *for_channels(read_normalisation(named.where), network))


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


@quiet_client()
def _load(named: ModelName, *, weights: bool = True, **changes: Any) -> nn.Module:
    transformers.utils.logging.disable_progress_bar()
    name, folder = named.where, Path(named.where)
    if named.kind == "folder" and not (folder / "config.json").is_file():
        unfinished = any(folder.glob("checkpoint-*"))
        raise UsageError(
            "The training run is not finished" if unfinished else "There is no model in this folder",
            where=name,
            next="Continue it: cytoimagenet train DIR --out RUN --resume"
            if unfinished
            else "A model folder contains config.json and model.safetensors",
        )
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
        for name in head_names(network):
            network.get_submodule(name).weight.mul_(head_scale)  # type: ignore[operator]
