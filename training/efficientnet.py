"""The network: a `transformers` EfficientNet at the B0 size that trains from scratch as Keras' does.

`transformers` 5.23 ports EfficientNet for inference. Four things stand between it and training, each met here:

1. Its initialisation draws BatchNorm weights from N(0, 0.02): sixteen such layers multiply the signal away (features of
   about 5e-31) and the loss stays at ln K. Here every layer starts as in Keras, which the preprint trained with.
2. BatchNorm momentum 0.99 is Keras' convention, handed on without turning it round, and the expansion layers ignore the
   configuration. Here it is 0.01 everywhere.
3. Its forward takes keyword arguments it does not use, from which the Trainer concludes that the model divides the loss
   by the number of items itself: loss and gradient grow with accumulation steps and processes.
4. Drop connect zeroes single elements. Here it drops whole samples, which is what stochastic depth means.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import EfficientNetConfig, EfficientNetForImageClassification, EfficientNetModel
from transformers import initialization as init

BATCH_NORM_MOMENTUM = 0.01  # torch's convention, the weight of the new batch; Keras calls the same 0.99
BATCH_NORM_EPSILON = 1e-3  # Keras' default, with which the published weights were trained
TRUNCATED_STD = (
    0.87962566103423978  # of a unit normal cut at +-2; Keras divides by it, so that the variance is as asked
)
FEATURES = 1280  # width of the pooled features of EfficientNet-B0
IMAGE_SIZE = 224  # preprint, 3.1


class DropConnect(nn.Module):
    """Drop a residual branch for whole samples in training, and scale up those that stay.

    Parameters
    ----------
    p : float
        Probability of dropping, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` of shape (N, C, H, W) with about `p` x N of its samples set to zero."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability in the printed model."""
        return f"p={self.p}"


class _TrainsAsKeras:
    """What both classes below change in their parents: initialisation and the layers that do not follow Keras."""

    accepts_loss_kwargs = False  # or the Trainer multiplies the loss by accumulation steps x processes

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups > 1
            fan_out = math.prod(module.kernel_size) * (1 if depthwise else module.out_channels)
            std = math.sqrt(2 / fan_out) / TRUNCATED_STD
            init.trunc_normal_(module.weight, 0.0, std, -2 * std, 2 * std)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            norm: Any = module  # its statistics are optional to the type checker, not here
            init.ones_(norm.weight)
            init.zeros_(norm.bias)
            init.zeros_(norm.running_mean)
            init.ones_(norm.running_var)
            init.zeros_(norm.num_batches_tracked)
        elif isinstance(module, nn.Linear):
            limit = math.sqrt(1 / module.out_features)  # variance 1/(3 fan out), uniform
            init.uniform_(module.weight, -limit, limit)
            init.zeros_(module.bias)


class KerasEfficientNetModel(_TrainsAsKeras, EfficientNetModel):
    """The network without its head: images in, 1280 pooled features out."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(config)
        self.loss_type = "ForImageClassification"  # tracing asks every part for its loss, and this one's is unknown
        # the parent pools with a window as wide as the features are many: the same mean, but no exporter follows it
        if config.pooling_type == "mean":
            pooler: Any = nn.AdaptiveAvgPool2d(1)
            self.pooler = pooler
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCH_NORM_MOMENTUM
        for block in self.encoder.blocks:
            branch: Any = block.projection
            branch.dropout = DropConnect(branch.dropout.p)


class KerasEfficientNetForImageClassification(_TrainsAsKeras, EfficientNetForImageClassification):
    """The network with a linear head, one output a class.

    Saved folders load into stock `transformers` too: the names of the weights are the same.
    """

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(config)
        self.efficientnet = KerasEfficientNetModel(config)
        self.post_init()


def b0_config(class_names: list[str], **changes: Any) -> EfficientNetConfig:
    """Describe EfficientNet-B0 for the given classes.

    Parameters
    ----------
    class_names : list of str
        In index order; empty for a network without a head.
    **changes
        Any field of `transformers.EfficientNetConfig`; `width_coefficient` and `hidden_dim` shrink the network.
    """
    fields: dict[str, Any] = {
        "num_channels": 3,
        "image_size": IMAGE_SIZE,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "hidden_dim": FEATURES,
        "dropout_rate": 0.2,
        "drop_connect_rate": 0.2,
        "batch_norm_eps": BATCH_NORM_EPSILON,
        "batch_norm_momentum": BATCH_NORM_MOMENTUM,
        "depthwise_padding": [],  # pads right and below only, as Keras does for even sizes
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: index for index, name in enumerate(class_names)},
    }
    return EfficientNetConfig(**{**fields, **changes})


def build_b0(class_names: list[str], *, seed: int | None = None, **changes: Any) -> nn.Module:
    """Make EfficientNet-B0 with Keras' random weights (5,152,762 of them for 894 classes).

    Parameters
    ----------
    class_names : list of str
        In index order.
    seed : int, optional
        Of the weights; without it torch's global generator decides. The global generator is left as it was.
    **changes
        Fields of the configuration, see `b0_config`.
    """
    if seed is None:
        return KerasEfficientNetForImageClassification(b0_config(class_names, **changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KerasEfficientNetForImageClassification(b0_config(class_names, **changes))
