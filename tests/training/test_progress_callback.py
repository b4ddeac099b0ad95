"""What a training run prints and writes while it runs, driven without a Trainer."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest
from cytoimagenet.training import progress_callback
from cytoimagenet.training.progress_callback import ProgressCallback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

EPOCH_1 = {"epoch": 1.0, "step": 4, "rate": 0.001, "train_loss": 1.5, "train_accuracy": 0.25}
VALIDATION_1 = {"epoch": 1.0, "step": 4, "eval_loss": 1.25, "eval_accuracy": 0.5, "eval_top7": 1.0}


def state(step, log=(), *, first=True):
    """Return a stand-in for the Trainer's state of a run with 2 epochs of 4 steps."""
    return SimpleNamespace(
        is_world_process_zero=first, global_step=step, max_steps=8, num_train_epochs=2, log_history=list(log)
    )


@pytest.fixture
def advanced(monkeypatch):
    """Numbers of images by which the progress bar was advanced; the total comes first."""
    calls = []

    class Bar:
        def skip(self, images):
            calls.append(("skipped", images))

        def advance(self, images, *, remark):
            calls.append((images, remark))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            calls.append("closed")

    monkeypatch.setattr(progress_callback, "progress", lambda name, total: (calls.append(total), Bar())[1])
    return calls


def test_the_bar_counts_images_and_starts_at_the_resumed_step(tmp_path, advanced):
    callback = ProgressCallback(tmp_path, images=800)
    callback.on_train_begin(None, state(3), None)
    callback.on_step_end(None, state(4), None)
    callback.on_train_end(None, state(4), None)
    # 800 images in 8 steps: 3 steps were done before
    assert advanced == [800, ("skipped", 300), (100, ""), "closed"]


def test_an_epoch_is_written_and_printed_when_it_is_saved(tmp_path, capsys):
    callback = ProgressCallback(tmp_path, images=800)
    callback.on_save(None, state(4, [EPOCH_1, VALIDATION_1]), None)
    table = pd.read_csv(tmp_path / "history.csv")
    assert table[["epoch", "validation_accuracy"]].to_numpy().tolist() == [[1, 0.5]]
    line = "epoch 1/2: train loss 1.500, accuracy 25.0%; validation loss 1.250, accuracy 50.0%, top 7 100.0%"
    assert capsys.readouterr().err.strip() == line


def test_without_validation_the_line_has_no_validation_scores(tmp_path, capsys):
    ProgressCallback(tmp_path, images=800).on_save(None, state(4, [EPOCH_1]), None)
    assert capsys.readouterr().err.strip() == "epoch 1/2: train loss 1.500, accuracy 25.0%"


def test_a_checkpoint_within_an_epoch_prints_nothing(tmp_path, capsys):
    ProgressCallback(tmp_path, images=800).on_save(None, state(6, [EPOCH_1, VALIDATION_1]), None)
    assert capsys.readouterr().err == ""
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1


def test_logged_numbers_are_tensorboard_events(tmp_path, advanced):
    callback = ProgressCallback(tmp_path, images=800)
    callback.on_train_begin(None, state(0), None)
    callback.on_log(None, state(2), None, {"loss": 1.75, "note": "text is left out"})
    callback.on_log(None, state(4), None, {"loss": 1.5})
    callback.on_train_end(None, state(4), None)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert events.Tags()["scalars"] == ["loss"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(2, 1.75), (4, 1.5)]


def test_other_processes_write_and_print_nothing(tmp_path, advanced, capsys):
    callback = ProgressCallback(tmp_path, images=800)
    other = state(4, [EPOCH_1], first=False)
    callback.on_train_begin(None, other, None)
    callback.on_step_end(None, other, None)
    callback.on_log(None, other, None, {"loss": 1.0})
    callback.on_save(None, other, None)
    callback.on_train_end(None, other, None)
    assert not list(tmp_path.iterdir())
    assert advanced == []
    assert capsys.readouterr().err == ""


SPEED = {"loss": 1.25, "images_per_second": 50.0, "waiting_share": 0.25}


def test_the_expected_time_is_printed_once_and_the_speed_is_in_the_bar(tmp_path, advanced, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    callback = ProgressCallback(tmp_path, images=800, clock=iter(range(0, 9000, 1000)).__next__)
    callback.on_train_begin(None, state(0), None)
    for step in (2, 4):
        callback.on_log(None, state(step), None, SPEED)
    callback.on_step_end(None, state(5), None)
    callback.on_train_end(None, state(5), None)
    # 600 images are left after 2 steps of 100
    expected = "Expected time: 12 s, without evaluations (50 images/s, 25% of the time waiting for images)."
    assert capsys.readouterr().err.strip() == expected
    assert advanced[2] == (100, "25% of the time waiting for images")


def test_a_log_file_gets_a_line_a_minute_and_the_speed_of_each_epoch(tmp_path, advanced, capsys):
    times = iter([0.0, 59.0, 60.0, 61.0])
    callback = ProgressCallback(tmp_path, images=800, clock=lambda: next(times))
    callback.on_train_begin(None, state(0), None)
    for step in (1, 2, 3, 4):
        callback.on_log(None, state(step), None, SPEED)
    callback.on_save(None, state(4, [EPOCH_1]), None)
    callback.on_train_end(None, state(4), None)
    speed = "50 images/s, 25% of the time waiting for images"
    assert capsys.readouterr().err.splitlines() == [
        f"Expected time: 14 s, without evaluations ({speed}).",
        f"step 3/8: loss 1.250; {speed}; 10 s left",
        f"epoch 1/2: train loss 1.500, accuracy 25.0%; {speed}",
    ]


def test_an_error_closes_the_bar_once(tmp_path, advanced):
    callback = ProgressCallback(tmp_path, images=800)
    callback.close()
    callback.on_train_begin(None, state(0), None)
    callback.close()
    callback.on_train_end(None, state(0), None)
    assert advanced == [800, ("skipped", 0), "closed"]


def test_the_accuracy_by_any_label_is_printed_where_images_have_several(tmp_path, capsys):
    several = {**VALIDATION_1, "eval_accuracy_any_label": 0.625}
    for validation in (several, {**several, "eval_accuracy_any_label": 0.5}):
        ProgressCallback(tmp_path, images=800).on_save(None, state(4, [EPOCH_1, validation]), None)
    one, other = capsys.readouterr().err.strip().splitlines()
    assert one.endswith("validation loss 1.250, accuracy 50.0% (any of its labels 62.5%), top 7 100.0%")
    assert other.endswith("validation loss 1.250, accuracy 50.0%, top 7 100.0%")
