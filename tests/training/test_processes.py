"""Several processes share the work; an interrupted run continues, also with another number of processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.loaders.index import read_index
from cytoimagenet.loaders.order import random_access
from cytoimagenet.training.division import divide
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.train import train
from safetensors.torch import load_file

from . import spied_training

CASES = {
    "stream": {"loader": "stream", "accumulation": 2, "batch_size": 32, "workers": None},
    "map": {"loader": "map", "accumulation": 4, "batch_size": 8, "workers": 2},
}
STEPS = {"stream": 4, "map": 8}
# 270 images, 32 per step: 8 steps per epoch, 14 images are left out of each
ELASTIC = {"loader": "map", "workers": 0, "save_every": 1, "seed": 5, "schedule": "cosine"}
CUTS = random.Random(7)


@pytest.fixture(scope="module")
def runs(small_dataset, small_model, tmp_path_factory):
    """Two processes, started once by `torchrun`: nothing is inherited. Returns the folder of all runs.

    They train each of CASES without and with an interruption, start a run that one process continues, and continue a
    run that one process started. The last run has a network with weights that are not used.
    """
    folder = tmp_path_factory.mktemp("runs")
    chosen = {"model": small_model, "size": 32, "epochs": 2, "average": 0.9}
    one = {**chosen, **ELASTIC, "batch_size": 16, "accumulation": 2}
    cut = CUTS.randrange(2, 15)
    spied_training.run(small_dataset, folder / "from-one", cut=cut, record=folder / "from-one-before", **one)
    jobs = []
    for name, case in CASES.items():
        interrupted = {**chosen, **case, "save_every": 1, "cut": CUTS.randrange(2, STEPS[name])}
        jobs += [(f"{name}-whole", {**chosen, **case}), (f"{name}-cut", interrupted)]
        jobs += [(f"{name}-cut", {"resume": True}), (f"{name}-cut", {"resume": True})]
    two = {**chosen, **ELASTIC, "batch_size": 16, "cut": CUTS.randrange(2, 15)}
    jobs += [("from-two", {**two, "record": "from-two-before"})]
    jobs += [("from-one", {"resume": True, "record": "from-one-after"})]
    network = transformers.Dinov2Config(
        image_size=32, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=1
    )
    transformers.Dinov2ForImageClassification(network).save_pretrained(folder / "network")
    jobs += [("unused-weights", {**chosen, "model": str(folder / "network"), "batch_size": 45, "keep": "best"})]
    (folder / "jobs.json").write_text(json.dumps({"data_dir": str(small_dataset), "jobs": jobs}))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [*launch, spied_training.__file__, str(folder)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr[-30_000:]
    spied_training.run(small_dataset, folder / "from-two", resume=True, record=folder / "from-two-after")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_share_the_work_and_resume_with_identical_weights(runs, name):
    metrics = [json.loads(line) for rank in (0, 1) for line in (runs / f"metrics-{rank}").read_text().splitlines()]
    # uninterrupted, resumed, and asked for again, in both processes
    mine = [line["metrics"] for line in metrics if line["run"].startswith(name) and line["metrics"]]
    assert len(mine) == 6
    assert all(line == mine[0] for line in mine)
    one, other = (load_file(runs / f"{name}-{which}" / "model.safetensors") for which in ("whole", "cut"))
    assert all(torch.equal(one[weight], other[weight]) for weight in one)
    table = pd.read_csv(runs / f"{name}-whole" / "per_class.csv")
    assert table["evaluated"].tolist() == [6] * 5, "every validation image was counted once"
    # 270 images: 4 batches of 32 for each process, two per step; or 16 batches of 8, four per step
    history = pd.read_csv(runs / f"{name}-whole" / "history.csv")
    assert history["step"].tolist() == [STEPS[name] // 2, STEPS[name]]
    facts = json.loads((runs / f"{name}-cut" / "run.json").read_text())
    assert facts["processes"] == 2
    assert len(facts["divisions"]) == 1


def test_unused_weights_and_the_best_epoch(runs):
    metrics = [json.loads(line) for rank in (0, 1) for line in (runs / f"metrics-{rank}").read_text().splitlines()]
    one, other = (line["metrics"] for line in metrics if line["run"] == "unused-weights")
    facts = json.loads((runs / "unused-weights" / "run.json").read_text())
    assert one == other == facts["metrics"]
    assert one["validation_accuracy"] == facts["best"]["accuracy"] and one["epoch"] == facts["kept_epoch"]


def steps_of(runs: Path, name: str) -> dict[int, list[int]]:
    """Return the images of each step of all processes together."""
    steps: dict[int, list[int]] = {}
    for file in runs.glob(f"{name}.*"):
        for line in file.read_text().splitlines():
            entry = json.loads(line)
            steps.setdefault(entry["step"], []).extend(entry["images"])
    return steps


@pytest.mark.parametrize(("name", "before", "after"), [("from-one", (1, 2), (2, 1)), ("from-two", (2, 1), (1, 2))])
def test_another_number_of_processes_sees_every_image_once(runs, small_dataset, name, before, after):
    facts = json.loads((runs / name / "run.json").read_text())
    first, second = facts["divisions"]
    assert (first["processes"], first["accumulation"]) == before
    assert (second["processes"], second["accumulation"]) == after
    assert facts["processes"] == after[0]
    checkpoint = second["from_step"]
    assert 1 <= checkpoint <= 14
    steps = {step: ids for step, ids in steps_of(runs, f"{name}-before").items() if step <= checkpoint}
    resumed = steps_of(runs, f"{name}-after")
    assert min(resumed) == checkpoint + 1
    steps |= resumed
    assert sorted(steps) == list(range(1, 17))
    assert {len(ids) for ids in steps.values()} == {32}
    index = read_index(small_dataset)
    for epoch in (0, 1):
        seen = [image for step in range(8 * epoch + 1, 8 * epoch + 9) for image in steps[step]]
        expected = random_access(index, ELASTIC["seed"], epoch)[:256]
        assert sorted(seen) == sorted(expected.tolist()), "every image of the epoch exactly once"
    history = pd.read_csv(runs / name / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    assert history["step"].tolist() == [8, 16]
    # the schedule continues: half of a cosine from 0.002 after a tenth of warm-up, 0 at the end
    expected = 0.002 * (1 + np.cos(np.pi * (8 - 2) / (16 - 2))) / 2
    assert history["learning_rate"].tolist() == pytest.approx([expected, 0], abs=1e-9)
    log = json.loads((runs / name / "trainer_state.json").read_text())["log_history"]
    accuracies = [entry["train_accuracy"] for entry in log if "train_accuracy" in entry]
    assert [256 * accuracy % 1 for accuracy in accuracies] == [0, 0], "each counts the images of its epoch"


def test_accumulation_keeps_the_images_per_step():
    chosen = settings("paper", batch_size=64, accumulation=2)
    assert divide(chosen, 256, 2, accumulation=2) is chosen
    assert divide(chosen, 256, 1, accumulation=2).accumulation == 4
    assert divide(chosen, 256, 4, accumulation=2).accumulation == 1
    other = settings("paper", batch_size=32, accumulation=8)
    assert divide(other, 256, 1, accumulation=2) is other, "chosen on purpose"


@pytest.mark.parametrize(
    ("images_per_step", "world", "changes", "remedy"),
    [
        (64, 2, {}, "--set batch_size=32 --set accumulation=1, or --set batch_size=16 --set accumulation=2"),
        (96, 1, {}, "--set batch_size=48 --set accumulation=2, or --set batch_size=32 --set accumulation=3"),
        (256, 3, {}, "another number of processes, for example 1 or 2 or 4"),
        (256, 4, {"accumulation": 3}, "--set batch_size=64 --set accumulation=1"),
    ],
)
def test_numbers_that_do_not_divide_are_refused_with_those_that_do(images_per_step, world, changes, remedy):
    with pytest.raises(UsageError) as caught:
        divide(settings("paper", **changes), images_per_step, world, accumulation=1)
    assert remedy in str(caught.value)
    for words in remedy.split(", or "):  # what is suggested works
        if "batch_size" in words:
            named = dict(word.split("=") for word in words.split() if "=" in word)
            suggested = settings("paper", **{key: int(value) for key, value in named.items()})
            assert divide(suggested, images_per_step, world, accumulation=99) is suggested


def test_a_run_is_not_divided_otherwise_unseen(small_dataset, small_model, tmp_path):
    chosen = {"model": small_model, "size": 32, "epochs": 1, "batch_size": 32, "workers": 0, "save_every": 1}
    spied_training.run(small_dataset, tmp_path / "run", cut=3, **chosen)
    with pytest.raises(UsageError, match="trains on 32 images per step, which 1 process can't do with batch_size=64"):
        train(small_dataset, tmp_path / "run", **{**chosen, "batch_size": 64})
    done = train(small_dataset, tmp_path / "run", **{**chosen, "batch_size": 16})
    divisions = json.loads((done.folder / "run.json").read_text())["divisions"]
    assert divisions == [
        {"from_step": 0, "processes": 1, "batch_size": 32, "accumulation": 1},
        {"from_step": 2, "processes": 1, "batch_size": 16, "accumulation": 2},
    ]
