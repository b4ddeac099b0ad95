"""Networks of other families are tried before a run begins: they train and give features, or are refused."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training.head import head_names
from cytoimagenet.training.model import build_model, load_backbone
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.setup import make_network
from cytoimagenet.training.train import train
from cytoimagenet.training.trial import try_network
from torch.nn.parallel import DistributedDataParallel

CLASSES = 7  # of the saved networks; the dataset has 5
VIT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "patch_size": 8}
LEVIT = {
    "hidden_sizes": [16, 24, 32],
    "num_attention_heads": [2, 2, 2],
    "depths": [1, 1, 1],
    "key_dim": [4, 4, 4],
    "drop_path_rate": 0,
    "mlp_ratio": [2, 2, 2],
    "attention_ratio": [2, 2, 2],
    "down_ops": [["Subsample", 4, 4, 2, 2, 2], ["Subsample", 4, 6, 2, 2, 2]],
    "image_size": 64,
}
FAMILIES = {
    "vit": (transformers.ViTForImageClassification, transformers.ViTConfig(image_size=32, **VIT)),
    "grey vit": (transformers.ViTForImageClassification, transformers.ViTConfig(image_size=32, num_channels=1, **VIT)),
    "deit with teacher": (
        transformers.DeiTForImageClassificationWithTeacher,
        transformers.DeiTConfig(image_size=32, **VIT),
    ),
    "levit with teacher": (transformers.LevitForImageClassificationWithTeacher, transformers.LevitConfig(**LEVIT)),
    "swiftformer": (
        transformers.SwiftFormerForImageClassification,
        transformers.SwiftFormerConfig(depths=[1, 1, 1, 1], embed_dims=[8, 8, 16, 16], mlp_ratio=1),
    ),
    "dinov2": (
        transformers.Dinov2ForImageClassification,
        transformers.Dinov2Config(image_size=32, mlp_ratio=1, **{**VIT, "intermediate_size": 16}),
    ),
    "pvt": (
        transformers.PvtForImageClassification,
        transformers.PvtConfig(
            image_size=32,
            hidden_sizes=[8, 8, 8, 8],
            depths=[1, 1, 1, 1],
            num_attention_heads=[1, 1, 1, 1],
            mlp_ratios=[1, 1, 1, 1],
        ),
    ),
    "convnext": (
        transformers.ConvNextForImageClassification,
        transformers.ConvNextConfig(hidden_sizes=[4, 4, 4, 8], depths=[1, 1, 1, 1]),
    ),
}
HEADS = {
    "vit": ["classifier"],
    "grey vit": ["classifier"],
    "deit with teacher": ["cls_classifier", "distillation_classifier"],
    "levit with teacher": ["classifier.linear", "classifier_distill.linear"],
    "swiftformer": ["head", "dist_head"],
    "dinov2": ["classifier"],
    "convnext": ["classifier"],
}
SIZES = {"levit with teacher": 64, "swiftformer": 64}


def network_of(family, **changes):
    """Return a tiny network with random weights."""
    kind, config = FAMILIES[family]
    config = type(config).from_dict({**config.to_dict(), "num_labels": CLASSES, **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(config).eval()


@pytest.fixture
def saved(tmp_path):
    def save(family):
        folder = tmp_path / "models" / family.replace(" ", "-")
        network_of(family).save_pretrained(folder)
        return str(folder)

    return save


@pytest.mark.parametrize("family", HEADS)
def test_a_network_is_built_tried_saved_and_gives_features(saved, tmp_path, family):
    size = SIZES.get(family, 32)
    chosen = settings("quick", model=saved(family), size=size)
    built = make_network(chosen, ["a", "b", "c", "d", "e"])
    assert head_names(built.module) == HEADS[family]
    assert built.frozen == (("dinov2.embeddings.mask_token",) if family == "dinov2" else ())
    assert all(weight.requires_grad != (name in built.frozen) for name, weight in built.module.named_parameters())
    channels = 1 if family == "grey vit" else 3
    assert len(built.normalisation[0]) == len(built.normalisation[1]) == channels
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(1))
    features = load_backbone(chosen.model)(images)
    assert features.shape[0] == 3 and features.shape[1] != CLASSES and torch.isfinite(features).all()
    # the features are the input of the head, here of one layer for both heads of a network with a teacher
    network = network_of(family)
    inputs = {}
    for name in HEADS[family]:
        network.get_submodule(name).register_forward_hook(lambda _, got, __, name=name: inputs.update({name: got[0]}))
    with torch.no_grad():
        network(pixel_values=images[:, :channels] if channels == 3 else images.mean(1, keepdim=True))
    expected = sum(inputs.values()) / len(inputs)
    assert torch.allclose(features, expected, atol=1e-5)


def test_a_layer_as_wide_as_the_classes_is_no_head():
    network = network_of("vit", num_labels=16)
    assert sum(isinstance(m, torch.nn.Linear) and m.out_features == 16 for m in network.modules()) > 1
    assert head_names(network) == ["classifier"]


def test_the_trial_changes_nothing():
    network = network_of("convnext").train()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    before = torch.get_rng_state()
    assert try_network(network, "it", size=32, channels=3, classes=CLASSES) == []
    assert torch.equal(torch.get_rng_state(), before)
    assert network.training and all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert head_names(network) == ["classifier"]


@pytest.mark.parametrize(
    ("family", "size", "what", "advice"),
    [
        ("vit", 64, "does not take images of 64 x 64 pixels: ValueError", "--size 32"),
        ("grey vit", 64, "does not take images of 64 x 64 pixels: ValueError", "--size 32"),
        ("pvt", 32, r"returns scores of the shape \(7,\) for each image, and there are 5 classes", "another image"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_the_folder_is_claimed(
    small_dataset, saved, tmp_path, family, size, what, advice
):
    model = saved(family)
    with pytest.raises(UsageError, match=what) as caught:
        train(small_dataset, tmp_path / "run", model=model, size=size, epochs=1, workers=0)
    assert caught.value.where == model and advice in caught.value.next
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        (lambda network: setattr(network, "forward", lambda **_: 1 / 0), "does not take images.*ZeroDivisionError"),
        (lambda network: network.requires_grad_(False), "can't be trained: RuntimeError"),
        (lambda network: setattr(network.convnext, "forward", lambda *_, **__: None), "does not take images"),
    ],
)
def test_other_failures_are_named(broken, what):
    network = network_of("convnext")
    broken(network)
    with pytest.raises(UsageError, match=what):
        try_network(network, "it", size=32, channels=3, classes=CLASSES)


def test_a_network_of_four_channels_is_refused(tmp_path):
    network_of("vit", num_channels=4).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="takes 4 channels"):
        build_model(str(tmp_path), ["a", "b"])


def test_frozen_weights_keep_several_processes_from_failing(saved, tmp_path):
    chosen = settings("quick", model=saved("dinov2"), size=32)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        for trained in (make_network(chosen, ["a", "b"]).module, network_of("dinov2").train()):
            parallel = DistributedDataParallel(trained)
            is_frozen = not trained.dinov2.embeddings.mask_token.requires_grad
            images = torch.rand(2, 3, 32, 32)
            parallel(pixel_values=images).logits.sum().backward()
            if is_frozen:
                parallel(pixel_values=images).logits.sum().backward()
                continue
            with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
                parallel(pixel_values=images)
    finally:
        torch.distributed.destroy_process_group()


def test_a_network_of_one_channel_trains(small_dataset, saved, tmp_path):
    chosen = {"size": 32, "epochs": 1, "batch_size": 90, "workers": 0}
    run = train(small_dataset, tmp_path / "run", model=saved("grey vit"), **chosen)
    assert json.loads((run.folder / "config.json").read_text())["num_channels"] == 1
    assert json.loads((run.folder / "preprocessor_config.json").read_text())["image_mean"] == [0.0]
    grey = torch.rand(2, 1, 32, 32)
    features = load_backbone(run.folder)(grey.expand(-1, 3, -1, -1))
    assert features.shape == (2, 16) and torch.isfinite(features).all()
