"""The best epoch is kept in addition to the last one, or instead of it; training can stop early."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from cytoimagenet.builder.errors import SettingsChangedError, UsageError
from cytoimagenet.training import run_folder, trainer
from cytoimagenet.training import train as module
from cytoimagenet.training.best import best_folder, remove_others
from cytoimagenet.training.confusion import Confusion
from cytoimagenet.training.model import load_backbone
from cytoimagenet.training.train import train
from safetensors.torch import load_file
from transformers import TrainerCallback

TINY = {"size": 32, "epochs": 4, "batch_size": 90, "workers": 0}  # 3 steps per epoch
ACCURACIES = [0.2, 0.6, 0.4, 0.6]


class CutOff(Exception):
    """Simulates a power failure."""


class Record(TrainerCallback):
    """Copies the weights that are evaluated after each epoch; may end the process after an epoch."""

    def __init__(self, cut=None):
        self.weights, self.cut = {}, cut

    def on_evaluate(self, args, state, control, model=None, **_):
        self.weights[round(state.epoch)] = {name: value.clone() for name, value in self.network().state_dict().items()}

    def on_epoch_begin(self, args, state, control, **_):
        if round(state.epoch or 0) == self.cut:
            raise CutOff


@pytest.fixture(autouse=True)
def scripted(monkeypatch):
    """Evaluations of epochs 1, 2, ... have these accuracies of ten images, of which the first class is the first half.

    Returns the networks that were evaluated.
    """
    evaluated = []

    def count_answers(network, objective, loader):
        evaluated.append(network)
        right = round(10 * accuracies[min(current.state.global_step // 3, 4) - 1])
        pairs = np.zeros((5, 5), np.int64)
        pairs[0, 0], pairs[0, 1] = right, 10 - right
        return Confusion(pairs, np.array([10, 0, 0, 0, 0]), 5.0)

    accuracies = list(ACCURACIES)
    make = module.make_trainer

    def made(*args, **kwargs):
        nonlocal current
        current = make(*args, **kwargs)
        for callback in current.callback_handler.callbacks:
            if isinstance(callback, Record):
                callback.network = current.evaluated_network
        return current

    current = None
    monkeypatch.setattr(trainer, "count_answers", count_answers)
    monkeypatch.setattr(module, "make_trainer", made)
    for name in ("plot_history", "plot_per_class"):
        monkeypatch.setattr(module, name, lambda *_: None)
    return evaluated


def same(folder, weights):
    stored = load_file(folder / "model.safetensors")
    return stored.keys() == weights.keys() and all(torch.equal(stored[name], weights[name]) for name in stored)


def facts_of(folder):
    return json.loads((folder / "run.json").read_text())


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_the_best_and_the_last_epoch(small_dataset, small_model, tmp_path, keep, average):
    record = Record()
    chosen = {**TINY, "model": small_model, "average": average}
    run = train(small_dataset, tmp_path / "run", **chosen, keep=keep, callbacks=[record])
    assert not same(run.folder, record.weights[3])
    assert same(run.folder, record.weights[4 if keep == "last" else 2])
    assert run.metrics["epoch"] == facts_of(run.folder)["kept_epoch"] == (4 if keep == "last" else 2)
    assert run.metrics["validation_accuracy"] == pytest.approx(0.6)
    # of equal accuracies the earlier one
    assert facts_of(run.folder)["best"] == {"epoch": 2, "step": 6, "accuracy": 0.6}
    assert len(pd.read_csv(run.folder / "history.csv")) == 4
    assert (run.folder / "best").exists() == (keep == "last")
    if keep == "last":
        assert same(run.folder / "best", record.weights[2])
        assert load_backbone(run.folder / "best")(torch.rand(1, 3, 32, 32)).shape == (1, 320)
    assert not [*run.folder.glob("best-*"), *run.folder.glob("checkpoint-*")]
    card = (run.folder / "README.md").read_text()
    assert f"| weights | of epoch {4 if keep == 'last' else 2} of 4" in card


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_interrupted_run_keeps_the_same_epoch(small_dataset, small_model, tmp_path, cut):
    record = Record()
    chosen = {**TINY, "model": small_model, "keep": "best"}
    train(small_dataset, tmp_path / "whole", **chosen, callbacks=[record])
    with pytest.raises(CutOff):
        train(small_dataset, tmp_path / "run", **chosen, callbacks=[Record(cut)])
    # weights of an evaluation whose checkpoint was not completed
    (tmp_path / "run" / "best-99").mkdir()
    train(small_dataset, tmp_path / "run", **chosen, callbacks=[Record()])
    assert same(tmp_path / "run", record.weights[2])
    assert facts_of(tmp_path / "run")["best"]["epoch"] == 2


def test_training_stops_early_and_a_stopped_run_is_not_trained_further(
    small_dataset, small_model, tmp_path, monkeypatch, capsys
):
    chosen = {**TINY, "epochs": 9, "model": small_model, "patience": 1}
    finish = module._finish
    with monkeypatch.context() as patched, pytest.raises(CutOff):
        patched.setattr(module, "_finish", lambda *_: (_ for _ in ()).throw(CutOff))
        train(small_dataset, tmp_path / "run", **chosen)
    assert module._finish is finish
    record = Record()
    run = train(small_dataset, tmp_path / "run", **chosen, callbacks=[record])
    assert record.weights == {}, "no epoch was trained or evaluated again"
    assert pd.read_csv(run.folder / "history.csv")["epoch"].tolist() == [1, 2, 3]
    assert (run.folder / "best").is_dir() and run.metrics["epoch"] == 3
    assert "Stopped early: the validation accuracy of epoch 2 was not exceeded in 1 evaluation." in (
        capsys.readouterr().err
    )


def test_settings_that_decide_which_weights_stay_may_not_change(small_dataset, small_model, tmp_path):
    chosen = {**TINY, "epochs": 1, "model": small_model}
    train(small_dataset, tmp_path / "last", **chosen)
    train(small_dataset, tmp_path / "last", **chosen, evaluate_every=2)
    train(small_dataset, tmp_path / "best", **chosen, keep="best")
    for changed in ({"keep": "last"}, {"keep": "best", "evaluate_every": 2}, {"keep": "best", "patience": 3}):
        with pytest.raises(SettingsChangedError):
            train(small_dataset, tmp_path / "best", **chosen, **changed)


@pytest.mark.parametrize("changes", [{"keep": "best"}, {"patience": 2}])
def test_without_validation_images_there_is_no_best_epoch(small_dataset, small_model, tmp_path, monkeypatch, changes):
    monkeypatch.setattr(module, "_validation", lambda *_: None)
    with pytest.raises(UsageError, match="need validation images"):
        train(small_dataset, tmp_path / "run", **TINY, model=small_model, **changes)
    assert not (tmp_path / "run").exists()


def test_other_folders_stay(tmp_path):
    for name in ("best", "best-3", "best-6", "checkpoint-3"):
        (tmp_path / name).mkdir()
    remove_others(tmp_path, 6)
    assert best_folder(tmp_path, 6).exists()
    remove_others(tmp_path, None)
    assert {path.name for path in tmp_path.iterdir()} == {"best", "checkpoint-3"}
    assert run_folder.RUN == "run.json"
