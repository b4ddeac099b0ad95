"""Training that can be interrupted and records the images of each step. Started by torchrun, it runs a list of jobs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.training import train as module
from cytoimagenet.training.trainer import EpochTrainer
from transformers import TrainerCallback


class CutOff(Exception):
    """Stands for a power cut."""


class Cut(TrainerCallback):
    """Interrupts a training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise CutOff


def run(data_dir, folder, *, cut: int | None = None, record: str | Path | None = None, **options):
    """Train; return the metrics, or None if the run was cut off. Record one line per batch in `<record>.<rank>`."""
    iterate, step = Batches.__iter__, EpochTrainer.training_step

    def with_ids(batches: Batches):
        plan = batches.plan(int(batches._position[0]))
        for ids, batch in zip(plan, iterate(batches), strict=True):
            yield {**batch, "ids": torch.from_numpy(ids)}

    def recorded(trainer: EpochTrainer, model, inputs, *rest):
        if record is not None:
            with open(f"{record}.{trainer.args.process_index}", "a") as file:
                entry = {"step": trainer.state.global_step + 1, "images": inputs["ids"].tolist()}
                file.write(json.dumps(entry) + "\n")
        return step(trainer, model, inputs, *rest)

    no_plots = {"plot_history": mock.DEFAULT, "plot_per_class": mock.DEFAULT}  # they take half of the time
    with (
        mock.patch.object(Batches, "__iter__", with_ids),
        mock.patch.object(EpochTrainer, "training_step", recorded),
        mock.patch.multiple(module, **no_plots),
    ):
        try:
            return module.train(data_dir, folder, callbacks=[Cut(cut)] if cut else [], **options).metrics
        except CutOff:
            # the process of rank 0 writes it, and another process may get here before that is done
            written = (Path(folder) / f"checkpoint-{cut - 1}" / "whole.json").exists()
            assert cut < 2 or written or os.environ.get("RANK", "0") != "0"
            return None


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    todo = json.loads((place / "jobs.json").read_text())
    with open(place / f"metrics-{os.environ['RANK']}", "w") as lines:
        for name, options in todo["jobs"]:
            if "record" in options:
                options["record"] = place / options["record"]
            metrics = run(todo["data_dir"], place / name, **options)
            lines.write(json.dumps({"run": name, "metrics": metrics}) + "\n")
