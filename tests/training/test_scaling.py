"""The rules for learning rate and average, what is printed of them, and that a run uses them."""

from __future__ import annotations

import json

import pytest
from cytoimagenet.loaders.index import read_index
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.scaling import average_decay, describe, scaled_rate
from cytoimagenet.training.setup import make_trainer
from cytoimagenet.training.train import train


@pytest.mark.parametrize(
    ("rule", "images", "factor"), [("none", 1024, 1), ("sqrt", 1024, 4), ("linear", 1024, 16), ("sqrt", 16, 0.5)]
)
def test_the_rate_follows_the_images_per_step(rule, images, factor):
    assert scaled_rate(settings("paper", scale_rate=rule), images) == pytest.approx(1e-3 * factor)


@pytest.mark.parametrize(
    ("average", "share", "steps", "decay"),
    [
        (0.999, 0.0, 10, 0.999),  # no rule
        (0.999, 0.1, 5_000, 0.998),  # the last 500 steps
        (0.999, 0.1, 100_000, 0.999),  # long enough
        (0.999, 0.1, 5, 0.0),  # less than a step: no average
        (0.0, 0.1, 5_000, 0.0),
    ],
)
def test_the_average_covers_a_share_of_the_run(average, share, steps, decay):
    chosen = settings("paper", average=average, average_share=share)
    assert average_decay(chosen, steps) == pytest.approx(decay)


def test_the_rules_are_on_in_modern_and_off_in_paper():
    paper, modern = settings("paper"), settings("modern")
    assert (paper.scale_rate, paper.average_share) == ("none", 0)
    assert (modern.scale_rate, modern.average_share) == ("sqrt", 0.1)
    assert scaled_rate(modern, 64) == modern.learning_rate == 2e-3, "the rate of the recipe is that of its own batch"


def test_what_is_printed_of_the_rules():
    text = describe(settings("paper"), images_per_step=64, world=1, steps=10)
    assert text == "64 images per step: batch_size 64. Learning rate 0.001."
    chosen = settings("modern", batch_size=32, accumulation=2, scale_rate="linear", average=0.9)
    assert describe(chosen, images_per_step=256, world=4, steps=100).splitlines() == [
        "256 images per step: batch_size 32 x 4 processes x accumulation 2. "
        "Learning rate 0.008: 0.002 x 256 / 64, Goyal et al. 2017.",
        "Averaged weights: decay 0.9, the last 10 of 100 steps.",
    ]


def test_a_run_uses_the_rules_and_prints_them(small_dataset, small_model, tmp_path, capsys):
    chosen = {"model": small_model, "size": 32, "epochs": 2, "batch_size": 16, "workers": 0, "evaluate_every": 2}
    trainer = make_trainer(tmp_path / "unused", settings("modern", **chosen), read_index(small_dataset), None, 0, 1, ())
    assert trainer.args.learning_rate == pytest.approx(1e-3), "half of 0.002 for a quarter of 64 images"
    assert trainer.average.decay == pytest.approx(1 - 1 / 3.2), "a tenth of 32 steps"
    capsys.readouterr()
    changes = {"scale_rate": "linear", "schedule": "constant", "warmup": 0.0}
    done = train(small_dataset, tmp_path / "run", recipe="modern", **chosen, **changes)
    assert "Learning rate 0.0005: 0.002 x 16 / 64" in capsys.readouterr().err
    log = json.loads((done.folder / "trainer_state.json").read_text())["log_history"]
    assert {entry["learning_rate"] for entry in log if "learning_rate" in entry} == {0.0005}
