"""The head of an image classifier: the linear layers that turn features into scores of the classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..builder.errors import UsageError


def head_names(network: nn.Module) -> list[str]:
    """Return the names of the layers of the head.

    These are the linear layers with one output per class outside the body of the network. A network with two heads, of
    which one learns from a teacher (DeiT, LeViT, SwiftFormer), returns the mean of both. Where the body has no name of
    its own, the head is the last such layer.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier.

    Raises
    ------
    UsageError
        If there is no such layer.

    Examples
    --------
    >>> from transformers import ResNetConfig, ResNetForImageClassification
    >>> config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=3)
    >>> head_names(ResNetForImageClassification(config))
    ['classifier.1']
    """
    classes: int = network.config.num_labels  # type: ignore[union-attr, assignment]
    fitting = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    if not fitting:
        raise UsageError(
            f"{type(network).__name__} has no linear classification layer", next="Use another image classifier"
        )
    body = f"{getattr(network, 'base_model_prefix', '')}."
    outside = [name for name in fitting if not name.startswith(body)]
    return outside or fitting[-1:]


def remove_head(network: nn.Module) -> None:
    """Replace the layers of the head by Identity, so that the network returns features. Without classes there are none.

    Examples
    --------
    >>> from transformers import ResNetConfig, ResNetForImageClassification
    >>> config = ResNetConfig(embedding_size=4, hidden_sizes=[6], depths=[1], layer_type="basic", num_labels=3)
    >>> network = ResNetForImageClassification(config).eval()
    >>> remove_head(network)
    >>> import torch
    >>> network(torch.zeros(2, 3, 32, 32)).logits.shape
    torch.Size([2, 6])
    """
    config: Any = network.config
    if not config.num_labels:
        return
    for name in head_names(network):
        parent, _, last = name.rpartition(".")
        owner = network.get_submodule(parent)
        if last.isdigit() and isinstance(owner, nn.Sequential):
            owner[int(last)] = nn.Identity()
        else:
            setattr(owner, last, nn.Identity())
