"""Checkpoints are written in the background, with the values of their step; incomplete ones are not used."""

from __future__ import annotations

import json
import threading

import pytest
import torch
from cytoimagenet.training import checkpoints
from cytoimagenet.training.checkpoints import COMPLETE, CheckpointWriter, checkpoint_folder, newest_checkpoint, to_host
from safetensors.torch import load_file


@pytest.fixture
def writer(tmp_path):
    writer = CheckpointWriter(tmp_path)
    yield writer
    writer.close()


def write(writer, step, weight):
    optimizer = {"state": {0: {"exp_avg": weight, "step": torch.tensor(3.0)}}, "param_groups": [{"params": [0]}]}
    writer.write(
        {"step": step, "parts": []},
        weights={"a": weight, "shared with a": weight},
        extra={"counts": torch.ones(3)},
        optimizer=optimizer,
        schedule={"last_epoch": step},
        trainer_state="{}",
        config="{}",
        preprocessor="{}",
    )


def test_training_continues_while_a_checkpoint_is_written(writer, tmp_path, monkeypatch):
    may_write = threading.Event()
    save = checkpoints.save_file
    monkeypatch.setattr(checkpoints, "save_file", lambda *args: (may_write.wait(60), save(*args)))
    weight = torch.ones(2, 3)
    write(writer, 7, weight)  # returns although nothing can be written yet
    weight.zero_()  # the next step of the training
    assert newest_checkpoint(tmp_path) is None or not (checkpoint_folder(tmp_path, 7) / COMPLETE).exists()
    checkpoint_folder(tmp_path, 7).mkdir(exist_ok=True)  # newest_checkpoint removed what was incomplete
    may_write.set()
    writer.wait()
    folder = newest_checkpoint(tmp_path)
    assert folder == checkpoint_folder(tmp_path, 7)
    stored = load_file(folder / "model.safetensors")
    assert stored["a"].tolist() == stored["shared with a"].tolist() == [[1, 1, 1], [1, 1, 1]]
    optimizer = torch.load(folder / "optimizer.pt", weights_only=True)
    assert optimizer["state"][0]["exp_avg"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert json.loads((folder / COMPLETE).read_text()) == {"step": 7, "parts": []}


def test_two_checkpoints_are_kept(writer, tmp_path):
    for step in (5, 40, 300, 1000):
        write(writer, step, torch.full((1,), float(step)))
    writer.wait()
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-1000", "checkpoint-300"]
    assert newest_checkpoint(tmp_path).name == "checkpoint-1000"


def test_an_incomplete_checkpoint_is_removed_and_the_one_before_it_used(writer, tmp_path):
    for step in (5, 40):
        write(writer, step, torch.ones(1))
    writer.wait()
    (tmp_path / "checkpoint-40" / COMPLETE).unlink()
    assert newest_checkpoint(tmp_path).name == "checkpoint-5"
    assert not (tmp_path / "checkpoint-40").exists()


@pytest.mark.parametrize("then", ["write", "wait", "close"])
def test_a_failed_write_is_raised_and_leaves_the_checkpoint_incomplete(tmp_path, monkeypatch, then):
    def full(*_):
        raise OSError(28, "No space left on device")

    writer = CheckpointWriter(tmp_path)
    write(writer, 1, torch.ones(1))
    writer.wait()
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_file", full)
        write(writer, 2, torch.ones(1))
        actions = {"write": lambda: write(writer, 3, torch.ones(1)), "wait": writer.wait, "close": writer.close}
        with pytest.raises(OSError, match="No space left"):
            actions[then]()
    assert newest_checkpoint(tmp_path).name == "checkpoint-1"
    writer.close()


def test_copies_do_not_change_with_their_originals():
    values = {"a": torch.ones(2), "b": [torch.zeros(1), 3, "text"], "c": {"d": (torch.ones(1), None)}}
    copies, arrived = to_host(values)
    arrived()
    values["a"].zero_()
    values["b"][0].fill_(9)
    assert copies["a"].tolist() == [1, 1]
    assert copies["b"][0].tolist() == [0]
    assert copies["b"][1:] == [3, "text"]
    assert copies["c"]["d"][1] is None
