"""A model's name means the same everywhere, and a wrong path is found without asking the Hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from cytoimagenet import load_backbone
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.features import backbones
from cytoimagenet.training.model import build_model, imagenet_backbone, random_backbone
from cytoimagenet.training.model_names import ModelName, resolve


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def runs():
    """Two run folders below ./runs, as far as names go."""
    for name in ("first", "second"):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.json").write_text("{}")


@pytest.mark.parametrize("name", ["imagenet", "random", "random:7", "efficientnet-b0"])
def test_names_of_networks_mean_the_same_in_python_and_in_the_commands(name, images):
    expected = {
        "imagenet": imagenet_backbone,
        "random": random_backbone,
        "random:7": lambda: random_backbone(7),
        "efficientnet-b0": random_backbone,
    }[name]()
    with torch.no_grad():
        wanted = expected(images)
        assert torch.equal(load_backbone(name)(images), wanted)
        network = backbones.load(name)
        assert torch.equal(network.module(images), wanted)
    assert (network.name, network.source) == (name, name)


def test_training_takes_the_same_names():
    names = ["actin", "golgi"]
    same, _ = build_model("random", names, seed=3)
    b0, _ = build_model("efficientnet-b0", names, seed=3)
    seeded, _ = build_model("random:3", names, seed=0)
    for one, two, three in zip(same.parameters(), b0.parameters(), seeded.parameters(), strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


def test_a_folder_of_a_network_s_name_is_reached_by_its_path(images):
    config = transformers.ResNetConfig(
        num_labels=3, hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], embedding_size=8, layer_type="basic"
    )
    transformers.ResNetForImageClassification(config).save_pretrained("imagenet")
    assert resolve("imagenet").kind == "imagenet"
    assert resolve("./imagenet") == ModelName("folder", "imagenet")
    assert load_backbone("./imagenet")(images).shape == (2, 8)
    assert backbones.load("./imagenet").name == "imagenet"
    assert load_backbone(Path("./imagenet/").resolve())(images).shape == (2, 8)


@pytest.mark.parametrize("name", ["google/vit-base-patch16-224", "microsoft/resnet-18", "vit", "me/my.model_2"])
def test_other_names_are_of_the_hub(name):
    assert resolve(name) == ModelName("hub", name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("runs/nope", "There are runs/first, runs/second"),
        ("first", "Did you mean runs/first?"),
        ("./nope", "A run folder or another model folder"),
        ("/nowhere/at/all", "A run folder or another model folder"),
        ("a/b/c", "A run folder or another model folder"),
        ("runs\\nope", "A run folder or another model folder"),
        ("~/nope", "A run folder or another model folder"),
    ],
)
def test_an_absent_folder_is_named_before_the_hub_is_asked(runs, monkeypatch, name, advice):
    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("asked the Hub"))
    for load in (load_backbone, backbones.load, lambda name: build_model(name, ["a"])):
        with pytest.raises(UsageError, match="There is no such model folder") as found:
            load(name)
        assert found.value.where == name and found.value.next.startswith(advice)


def test_a_file_is_no_model():
    Path("weights.h5").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"convert-weights weights\.h5 OUT"):
        load_backbone("weights.h5")
    Path("notes.txt").write_bytes(b"x")
    with pytest.raises(UsageError, match="a model is a folder"):
        load_backbone("notes.txt")


def test_many_folders_are_not_all_listed():
    for number in range(9):
        Path("models", f"m{number}").mkdir(parents=True)
        Path("models", f"m{number}", "config.json").write_text("{}")
    with pytest.raises(UsageError) as found:
        resolve("models/x")
    assert found.value.next.endswith("models/m4")


def test_resolving_a_name_needs_no_torch():
    code = (
        "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from cytoimagenet.training.model_names import resolve\nprint(resolve('random:2').seed)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "2"), ran.stderr
