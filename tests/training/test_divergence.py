"""Training that diverges stops with an error, is never finished, and leaves only good checkpoints."""

from __future__ import annotations

import json
import math

import pytest
import torch
import typer
from cytoimagenet.training import commands
from cytoimagenet.training.checkpoints import CheckpointWriter, newest_checkpoint
from cytoimagenet.training.divergence import DivergedError, not_finite
from cytoimagenet.training.model import load_backbone
from cytoimagenet.training.train import train
from safetensors.torch import load_file
from transformers import TrainerCallback
from typer.testing import CliRunner

TINY = {"size": 32, "epochs": 2, "batch_size": 32, "workers": 0}  # 8 steps per epoch


class Poison(TrainerCallback):
    """Makes a weight of the network not a number after a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, model=None, **_):
        if state.global_step == self.step:
            with torch.no_grad():
                next(model.parameters()).fill_(math.nan)


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    for name in ("plot_history", "plot_per_class"):
        monkeypatch.setattr(f"cytoimagenet.training.train.{name}", lambda *_: None)


def test_the_command_fails_and_says_why(small_dataset, small_model, tmp_path):
    app = typer.Typer()
    commands.add_to(app)
    run = tmp_path / "run"
    options = ["--out", str(run), "--model", small_model, "--size", "32", "--epochs", "1", "--workers", "0"]
    result = CliRunner().invoke(app, ["train", str(small_dataset), *options, "--set", "learning_rate=1e9"])
    error = result.exception
    assert isinstance(error, DivergedError) and error.exit_code == 1
    assert "Trained" not in result.output
    assert "with the learning rate" in error.what and " of 8" in error.what
    assert "--set learning_rate=1e+08" in error.next and "There is no good checkpoint." in error.next
    assert not (run / "config.json").exists() and not json.loads((run / "run.json").read_text())["finished"]


def test_the_last_good_checkpoint_is_named_and_works(small_dataset, small_model, tmp_path, capsys):
    folder = tmp_path / "run"
    chosen = {**TINY, "model": small_model, "save_every": 2}
    with pytest.raises(DivergedError) as caught:
        train(small_dataset, folder, **chosen, callbacks=[Poison(5)])
    checkpoint = folder / "checkpoint-4"
    # found when the epoch is logged; checkpoint-6 was begun before that
    assert "at step 8 of 16" in caught.value.what and "the loss over an epoch is nan" in caught.value.what
    assert f"The last good checkpoint is {checkpoint};" in caught.value.next
    assert newest_checkpoint(folder) == checkpoint
    assert all(torch.isfinite(value).all() for value in load_file(checkpoint / "model.safetensors").values())
    assert load_backbone(checkpoint)(torch.rand(1, 3, 32, 32)).shape == (1, 320)
    whole = train(small_dataset, tmp_path / "whole", **chosen)
    again = train(small_dataset, folder, **chosen)
    assert again.metrics == whole.metrics, "what made it diverge is gone: it continues after the good checkpoint"


@pytest.mark.parametrize("labels", [None, "validation"])
def test_weights_that_break_in_the_last_step_are_found(small_dataset, small_model, tmp_path, monkeypatch, labels):
    if labels is None:  # without validation images the training images are evaluated
        monkeypatch.setattr("cytoimagenet.training.train._validation", lambda *_: None)
    with pytest.raises(DivergedError, match="the loss of the evaluation is nan"):
        train(small_dataset, tmp_path / "run", **{**TINY, "epochs": 1}, model=small_model, callbacks=[Poison(8)])
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["finished"]
    assert newest_checkpoint(tmp_path / "run") is None


@pytest.mark.parametrize("bad", ["weights", "extra", "optimizer"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_complete_a_checkpoint(tmp_path, bad, value):
    parts = {name: {"a": torch.zeros(3), "n": torch.tensor(2)} for name in ("weights", "extra", "optimizer")}
    rest = {"schedule": {}, "trainer_state": "{}", "config": "{}", "preprocessor": "{}"}
    writer = CheckpointWriter(tmp_path)
    writer.write({"step": 1}, **parts, **rest)
    parts[bad] = {"a": torch.tensor([0.0, value, 0.0])}
    writer.write({"step": 2}, **parts, **rest, best={"a": torch.zeros(1)})
    writer.close()
    assert newest_checkpoint(tmp_path).name == "checkpoint-1"
    assert not (tmp_path / "best-2").exists()


def test_only_losses_and_norms_are_watched():
    assert not_finite({"eval_loss": math.inf}) == "the loss of the evaluation is inf"
    assert not_finite({"grad_norm": math.nan, "loss": 1.0}) == "the norm of the gradient is nan"
    assert not_finite({"images_per_second": math.inf, "loss": 1.0}) == ""
