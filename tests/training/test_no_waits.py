"""Training never waits for the device, except where something is logged; see meta_device.py."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import torch
from cytoimagenet.loaders.index import read_index
from cytoimagenet.training.confusion import ConfusionCounter
from cytoimagenet.training.feeding import data_loader
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.setup import make_trainer
from transformers import ResNetConfig, ResNetForImageClassification, TrainerCallback

from .meta_device import DEVICE, Places, Spy, on_device

CASES = {
    "paper": ("paper", {}),
    "modern": ("modern", {}),
    "quick": ("quick", {}),
    "mixup, CutMix and balance": ("modern", {"cutmix": 1.0, "balance": "loss"}),
    "accumulation": ("modern", {"accumulation": 2, "batch_size": 27}),
    "distillation": ("modern", {"distill": 0.5}),
    "crop, blur and noise": ("modern", {"crop": 0.5, "blur": 1.0, "noise": 0.05}),
}
# 0.1 of 10 steps would be one step: no average
SMALL = {"size": 32, "batch_size": 54, "workers": 0, "epochs": 2, "average_share": 0.5}


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A network of three convolutions, since every operation is noted in Python."""
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=2)
    folder = tmp_path_factory.mktemp("model") / "tiny"
    ResNetForImageClassification(config).save_pretrained(folder)
    return str(folder)


def trained(small_dataset, model, folder, recipe, **changes):
    """Return what a spy saw of a training of 10 steps on the device, of which the last is logged; and the trainer."""
    chosen = settings(recipe, model=model, cache_dir=str(folder), **{**SMALL, **changes})
    train, validation = (read_index(small_dataset, split, alternatives=True) for split in ("train", "validation"))
    # that every image could be of the class 0 or 2 as well
    validation = replace(validation, alternatives=np.tile(np.int32([0, 2]), (len(validation), 1)))
    spy = Spy()
    trainer = on_device(make_trainer, folder, chosen, train, validation, 0, 1, [Places(spy)])
    # as the fused one on a GPU: some operations for all weights together
    weights = [*trainer.network.parameters()]
    trainer.optimizer = torch.optim.AdamW(weights, lr=0.01, foreach=True)
    with spy:
        trainer.train()
    return spy, trainer


def test_a_step_does_not_look_for_packages_on_the_disk(small_dataset, tiny_model, tmp_path, monkeypatch):
    asked = []
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda *name: asked.append(name[0]) or find(*name))

    class Reset(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if state.global_step == 2:
                asked.clear()
            control.should_training_stop = state.global_step == 4

    chosen = settings("quick", model=tiny_model, cache_dir=str(tmp_path), **{**SMALL, "batch_size": 27})
    trainer = make_trainer(tmp_path, chosen, read_index(small_dataset), None, 0, 1, [Reset()])
    trainer._save_checkpoint = lambda *_, **__: None
    trainer.train()
    assert trainer.state.global_step == 4
    assert "lomo_optim" not in asked


@pytest.mark.parametrize("case", CASES)
def test_a_step_does_not_wait(small_dataset, tiny_model, tmp_path, case):
    recipe, changes = CASES[case]
    spy, trainer = trained(small_dataset, tiny_model, tmp_path, recipe, **changes)
    assert (trainer.average is not None) == (recipe == "modern")
    steps = [place for place in spy.operations if place.startswith("step")]
    assert len(steps) == 10
    for step in steps[:-1]:
        assert step not in spy.waits, spy.waits[step]
    allowed = 2 if trainer.settings.clip else 1
    assert sum(spy.waits["step 10, logged"].values()) == allowed, "loss, and norm of the gradient"
    waits = 2 * (1 + 3) + 1
    assert sum(spy.waits["epoch"].values()) == waits, "counts of an epoch, three of its evaluation; loss of the run"
    assert "between epochs" not in spy.waits


def alone(network, optimizer, images):
    """Return the number of operations of a step of the network alone."""
    spy = Spy()
    for number in range(2):
        spy.place = f"step {number}"
        with spy:
            logits = network(pixel_values=torch.zeros(images, 3, 32, 32, device=DEVICE)).logits
            labels = torch.zeros(images, dtype=torch.int64, device=DEVICE)
            torch.nn.functional.cross_entropy(logits, labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert not spy.waits
    return spy.operations["step 1"]


@pytest.mark.parametrize(("recipe", "bound"), [("paper", 20), ("modern", 60)])
def test_a_step_launches_few_operations_besides_the_network(small_dataset, small_model, tmp_path, recipe, bound):
    spy, trainer = trained(small_dataset, small_model, tmp_path, recipe, epochs=1)
    counts = {spy.operations[f"step {step}"] for step in (3, 4, 5)}
    assert len(counts) == 1, "every step is alike"
    network = alone(trainer.network, trainer.optimizer, 54)
    assert network > 200
    assert counts.pop() - network <= bound


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_evaluation_waits_at_its_end(small_dataset, tiny_model, tmp_path, average):
    _, trainer = trained(small_dataset, tiny_model, tmp_path, "paper", epochs=1, average=average)
    loader = data_loader(trainer.eval_dataset, DEVICE)
    batches = [batch for batch in loader for _ in range(3)]
    seen = []
    for some in (batches[:1], batches):
        spy = Spy()
        with spy:
            trainer.confusion(some)
        seen.append(sum(spy.waits[""].values()))
    assert "alternatives" in batches[0]
    assert seen == [3, 3], "pairs, right answers and loss, however many batches"


def test_the_confusion_is_that_of_a_loop(rng):
    logits = torch.from_numpy(rng.normal(size=(50, 12)).astype("float32"))
    labels = torch.from_numpy(rng.integers(0, 12, 50))
    alternatives = torch.from_numpy(rng.integers(-1, 12, (50, 3)).astype("int32"))
    counter, without = (ConfusionCounter(12, torch.device("cpu")) for _ in range(2))
    for part in (slice(0, 20), slice(20, 50)):
        counter.add(logits[part], labels[part], alternatives[part])
        without.add(logits[part], labels[part])
    found = counter.total()
    pairs, top, loss, any_label = torch.zeros(12, 12, dtype=torch.int64), [0] * 12, 0.0, [0] * 12
    for row, label, others in zip(logits, labels.tolist(), alternatives.tolist(), strict=True):
        order = row.argsort(descending=True).tolist()
        pairs[label, order[0]] += 1
        top[label] += label in order[:7]
        any_label[label] += order[0] in (label, *others)
        loss -= float(torch.log_softmax(row.double(), 0)[label])
    assert (found.pairs == pairs.numpy()).all()
    assert found.in_top_k.tolist() == top
    assert found.any_label.tolist() == any_label
    assert found.metrics()["accuracy_any_label"] > found.metrics()["accuracy"]
    assert without.total().metrics()["accuracy_any_label"] == found.metrics()["accuracy"]
    assert found.loss == pytest.approx(loss, rel=1e-6)


ON_DEVICE = torch.zeros(4, device=DEVICE)
MASK = torch.zeros(4, dtype=torch.bool, device=DEVICE)


@pytest.mark.parametrize(
    "wait",
    [
        lambda: float(ON_DEVICE[0]),
        lambda: bool(MASK.any()),
        lambda: int(ON_DEVICE.argmax()),
        lambda: ON_DEVICE[MASK],
        lambda: ON_DEVICE.tolist(),
        lambda: ON_DEVICE.cpu(),
        lambda: torch.zeros(3).to(DEVICE),
        lambda: ON_DEVICE.copy_(torch.zeros(4)),
        lambda: torch.tensor(3.0, device=DEVICE),
        lambda: ON_DEVICE.new_tensor(3.0),
        lambda: torch.bincount(ON_DEVICE.to(torch.int64), minlength=4),
        lambda: MASK.nonzero(),
        lambda: torch.isnan(ON_DEVICE[0]) or torch.isinf(ON_DEVICE[0]),
    ],
)
def test_the_spy_catches_a_wait(wait):
    spy = Spy()
    with spy:
        wait()
    assert len(spy.waits) == 1


def test_the_spy_lets_work_pass():
    spy = Spy()
    with spy:
        images = torch.zeros(4, 1).to(DEVICE, non_blocking=True)
        torch.full((3,), 7.0, device=DEVICE)
        images.mul_(2).add(1).view(4)
    assert not spy.waits
    assert spy.operations[""] == 4, "a copy, a fill, a product and a sum; no view"
