"""EfficientNet-B0 from `transformers`, changed so that it trains from scratch as in Keras.

`transformers` 5.23 ports EfficientNet for inference. Four defects prevent training; each is corrected here:

1. Its initialisation samples BatchNorm weights from N(0, 0.02). Sixteen such layers reduce the features to about 5e-31,
   and the loss stays at ln(classes). Here every layer starts as in Keras, which the preprint used.
2. Its BatchNorm momentum is 0.99, which is Keras' convention (torch's is 1 - 0.99), and the expansion layers ignore the
   configuration. Here the momentum is 0.01 everywhere.
3. Its `forward` accepts keyword arguments that it does not use. The Trainer concludes that the model itself divides the
   loss by the number of items, so loss and gradient would grow with accumulation steps and processes.
4. Its drop connect zeroes single elements. Here it drops complete samples, as stochastic depth is defined.
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
    0.87962566103423978  # std of a unit normal truncated at +-2; Keras divides by it to get the intended variance
)
FEATURE_COUNT = 1280  # width of the pooled features of EfficientNet-B0
IMAGE_SIZE = 224  # side in pixels; preprint, 3.1


class DropConnect(nn.Module):
    """Set a residual branch to zero for random samples in training; scale up the branch of the others.

    Parameters
    ----------
    p : float
        Probability of zero, in [0, 1).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`, shape (N, C, H, W), with each of its N samples set to zero with probability `p`."""
        if not self.training or self.p == 0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)

    def extra_repr(self) -> str:
        """Show the probability in the printed model."""
        return f"p={self.p}"


class _KerasInitialisation:
    """Mixin for both classes below: Keras' random weights, and a flag for the Trainer."""

    accepts_loss_kwargs = False  # otherwise the Trainer multiplies the loss by accumulation steps x processes

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
            norm: Any = module  # for the type checker its statistics are optional
            init.ones_(norm.weight)
            init.zeros_(norm.bias)
            init.zeros_(norm.running_mean)
            init.ones_(norm.running_var)
            init.zeros_(norm.num_batches_tracked)
        elif isinstance(module, nn.Linear):
            limit = math.sqrt(1 / module.out_features)  # variance 1/(3 fan out), uniform
            init.uniform_(module.weight, -limit, limit)
            init.zeros_(module.bias)


class KerasEfficientNetModel(_KerasInitialisation, EfficientNetModel):
    """The network without its head: images in, 1280 pooled features out."""

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(config)
        self.loss_type = (
            "ForImageClassification"  # tracing reads the loss of every submodule, and this one's is unknown
        )
        # the parent pools with a window of `hidden_dim` pixels: the same mean, but exporters do not support it
        if config.pooling_type == "mean":
            pooler: Any = nn.AdaptiveAvgPool2d(1)
            self.pooler = pooler
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = BATCH_NORM_MOMENTUM
        for block in self.encoder.blocks:
            branch: Any = block.projection
            branch.dropout = DropConnect(branch.dropout.p)


class KerasEfficientNetForImageClassification(_KerasInitialisation, EfficientNetForImageClassification):
    """The network with a linear head, one output per class.

    Unchanged `transformers` reads saved folders too: the names of the weights are the same.
    """

    def __init__(self, config: EfficientNetConfig) -> None:
        super().__init__(config)
        self.efficientnet = KerasEfficientNetModel(config)
        self.post_init()


def b0_config(class_names: list[str], **changes: Any) -> EfficientNetConfig:
    """Return the configuration of EfficientNet-B0 for the given classes.

    Parameters
    ----------
    class_names : list of str
        Names of the classes; the labels are indices into it. Empty for a network without a head.
    **changes
        Fields of `transformers.EfficientNetConfig`; to change; `width_coefficient` and `hidden_dim` shrink the network.
    """
    fields: dict[str, Any] = {
        "num_channels": 3,
        "image_size": IMAGE_SIZE,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "hidden_dim": FEATURE_COUNT,
        "dropout_rate": 0.2,
        "drop_connect_rate": 0.2,
        "batch_norm_eps": BATCH_NORM_EPSILON,
        "batch_norm_momentum": BATCH_NORM_MOMENTUM,
        "depthwise_padding": [],  # pad right and below only, as Keras does for images of even size
        "id2label": dict(enumerate(class_names)),
        "label2id": {name: index for index, name in enumerate(class_names)},
    }
    return EfficientNetConfig(**{**fields, **changes})


def build_b0(class_names: list[str], *, seed: int | None = None, **changes: Any) -> nn.Module:
    """Build EfficientNet-B0 with random weights as in Keras (5,152,762 weights for 894 classes).

    Parameters
    ----------
    class_names : list of str
        Names of the classes; the labels are indices into it. Empty for a network without a head.
    seed : int, optional
        Random seed of the weights; torch's global generator is not changed. Without a seed it is used.
    **changes
        Fields of the configuration to change, see `b0_config`.
    """
    if seed is None:
        return KerasEfficientNetForImageClassification(b0_config(class_names, **changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KerasEfficientNetForImageClassification(b0_config(class_names, **changes))
