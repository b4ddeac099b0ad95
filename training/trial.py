"""Try a network with one small batch before a run begins, so that it does not fail after hours of training."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ..builder.errors import UsageError
from .head import remove_head

IMAGES = 2  # of the batch; BatchNorm needs two values of each channel
_ADVICE = "Use another image classifier"


def try_network(network: nn.Module, name: str, *, size: int, channels: int, classes: int) -> list[str]:
    """Train a copy of a network with one small batch on the CPU, and compute features with it.

    The network itself, and torch's random numbers, stay as they are.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier.
    name : str
        Its name, for error messages.
    size : int
        Side of the images in pixels.
    channels : int
        Number of channels of its input.
    classes : int
        Number of classes.

    Returns
    -------
    list of str
        Names of the weights on which the scores do not depend. They can't be trained.

    Raises
    ------
    UsageError
        If the network does not take such images, does not give one score per class, can't be trained, or does not give
        features without its head.

    Examples
    --------
    >>> from cytoimagenet.training.efficientnet import build_b0
    >>> network = build_b0(["actin", "golgi"], seed=0, width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=320)
    >>> try_network(network, "small", size=32, channels=3, classes=2)
    []
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.rand(IMAGES, channels, size, size)
        tried = copy.deepcopy(network).train()
        logits = _scores(tried, images, name, size)
        if logits.shape != (IMAGES, classes):
            raise UsageError(
                f"This network returns scores of the shape {tuple(logits.shape[1:])} for each image, and there are "
                f"{classes:,} classes",
                where=name,
                next=_ADVICE,
            )
        try:
            functional.cross_entropy(logits.float(), torch.arange(IMAGES) % classes).backward()
        except Exception as error:
            raise UsageError(f"This network can't be trained: {_shortened(error)}", where=name, next=_ADVICE) from error
        unused = [key for key, weight in tried.named_parameters() if weight.requires_grad and weight.grad is None]
        tried.eval()
        remove_head(tried)
        with torch.no_grad():
            try:
                features = tried(pixel_values=images).logits
                fit = features.ndim >= 2 and len(features) == IMAGES
                reason = "" if fit else f": what is left returns the shape {tuple(features.shape)}"
            except Exception as error:
                fit, reason = False, f": {_shortened(error)}"
    if not fit:
        raise UsageError(
            f"This network gives no features when its last layer is removed{reason}", where=name, next=_ADVICE
        )
    return unused


def _scores(network: nn.Module, images: torch.Tensor, name: str, size: int) -> torch.Tensor:
    try:
        return network(pixel_values=images).logits
    except Exception as error:
        config: Any = network.config
        own_size = getattr(config, "image_size", None)
        fits = own_size is None or own_size in (size, [size, size], (size, size))
        raise UsageError(
            f"This network does not take images of {size} x {size} pixels: {_shortened(error)}",
            where=name,
            next=_ADVICE if fits else f"Use the size of the network: {_size_option(own_size)}",
        ) from error


def _size_option(own_size: Any) -> str:
    sides = {own_size} if isinstance(own_size, int) else {*own_size}
    if len(sides) > 1:
        return f"its images are {' x '.join(map(str, own_size))}, and here all are squares"
    return f"--size {sides.pop()}"


def _shortened(error: Exception, characters: int = 200) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= characters else text[: characters - 4] + " ..."
