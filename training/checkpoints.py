"""Checkpoints of a run: copied from the device without waiting, and written by a thread while training continues.

A checkpoint is complete if it contains the file that is written last. It has the layout that the Trainer of
`transformers` reads, with one file of tensors more, and is a model folder. All its numbers are finite.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch.utils._pytree import tree_leaves
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..builder.storage import write_atomic
from .best import best_folder, remove_others
from .divergence import is_finite
from .normalisation import PREPROCESSOR

COMPLETE = "whole.json"  # written last: a checkpoint without it is incomplete
WEIGHTS = "model.safetensors"
EXTRA_STATE = "extra.safetensors"  # the moving average, and the counts of the epoch so far
CHECKPOINTS_KEPT = 2  # a crash can leave the newest incomplete; the one before it is complete


def checkpoint_folder(run: Path, step: int) -> Path:
    """Return the folder of a checkpoint: `checkpoint-<step>` in the run folder."""
    return run / f"{PREFIX_CHECKPOINT_DIR}-{step}"


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Return the contents of the file that marks a checkpoint as complete."""
    return json.loads((checkpoint / COMPLETE).read_text())


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest complete checkpoint of a run; remove incomplete ones, which a crash left."""
    for checkpoint in run.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if not (checkpoint / COMPLETE).is_file():
            shutil.rmtree(checkpoint, ignore_errors=True)
    complete = _complete(run)
    return complete[-1] if complete else None


def _complete(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run, the newest last."""
    found = [path.parent for path in run.glob(f"{PREFIX_CHECKPOINT_DIR}-*/{COMPLETE}")]
    return sorted(found, key=lambda checkpoint: read_progress(checkpoint)["step"])


def to_host(values: Any) -> tuple[Any, Callable[[], None]]:
    """Copy all tensors of nested dicts and lists to host memory without waiting for the device.

    Returns
    -------
    copies : the same nested dicts and lists
        They may be read when `arrived` has returned, also after the originals have changed.
    arrived : callable
        Waits until the device has copied them.
    """
    on_gpu = False

    def copied(value: Any) -> Any:
        nonlocal on_gpu
        if isinstance(value, torch.Tensor):
            if value.device.type == "cpu":
                return value.detach().clone()
            on_gpu = True
            host = torch.empty_like(value, device="cpu", pin_memory=True)
            return host.copy_(value.detach(), non_blocking=True)
        if isinstance(value, dict):
            return {key: copied(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(copied(item) for item in value)
        return value

    copies = copied(values)
    if not on_gpu:
        return copies, lambda: None
    event = torch.cuda.Event()
    event.record()  # later work of the device comes after the copies
    return copies, event.synchronize


def _write_model(folder: Path, weights: dict[str, torch.Tensor], config: str, preprocessor: str) -> None:
    """Write a model folder, and wait until it is on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    _save_tensors(weights, folder / WEIGHTS)
    (folder / "config.json").write_text(config)
    (folder / PREPROCESSOR).write_text(preprocessor)
    _sync(folder)


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, {"format": "pt"})


def _sync(folder: Path) -> None:
    for file in folder.iterdir():
        with open(file, "rb") as written:
            os.fsync(written.fileno())


class CheckpointWriter:
    """Writes checkpoints in a thread, one after the other. A failed write is raised by the next call.

    Parameters
    ----------
    run : Path
        The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cytoimagenet-checkpoint")
        self._writing: Future[None] | None = None

    def write(
        self,
        progress: dict[str, Any],
        *,
        weights: dict[str, torch.Tensor],
        extra: dict[str, torch.Tensor],
        optimizer: dict[str, Any],
        schedule: dict[str, Any],
        trainer_state: str,
        config: str,
        preprocessor: str,
        best: dict[str, torch.Tensor] | None = None,
    ) -> None:
        """Start to write a checkpoint; wait only if the one before is not written yet.

        If a number is not finite, the checkpoint stays incomplete, and earlier ones are kept.

        Parameters
        ----------
        progress : dict
            Written last, as JSON; `step` is the number of steps so far, `best` the best evaluation.
        weights, extra : dict of Tensor
        optimizer, schedule : dict
            What `state_dict` returned.
        trainer_state, config : str
            JSON of the Trainer's state and of the model's configuration.
        preprocessor : str
            JSON of the normalisation, see `normalisation.preprocessor_config`.
        best : dict of Tensor, optional
            Weights to evaluate and save, if the evaluation of this step is the best one.
        """
        self.wait()
        folder = checkpoint_folder(self.run, progress["step"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / COMPLETE).unlink(missing_ok=True)
        (weights, extra, optimizer, best), arrived = to_host([weights, extra, optimizer, best])

        def write_files() -> None:
            arrived()
            tensors = [value for value in tree_leaves([weights, extra, optimizer]) if isinstance(value, torch.Tensor)]
            if not all(map(is_finite, tensors)):
                return
            if best is not None:
                _write_model(best_folder(self.run, progress["step"]), best, config, preprocessor)
            _write_model(folder, weights, config, preprocessor)
            _save_tensors(extra, folder / EXTRA_STATE)
            torch.save(optimizer, folder / OPTIMIZER_NAME)
            torch.save(schedule, folder / SCHEDULER_NAME)
            (folder / TRAINER_STATE_NAME).write_text(trainer_state)
            _sync(folder)
            write_atomic(folder / COMPLETE, json.dumps(progress).encode())
            if best is not None:
                remove_others(self.run, progress["step"])
            for older in _complete(self.run)[:-CHECKPOINTS_KEPT]:
                shutil.rmtree(older, ignore_errors=True)

        self._writing = self._pool.submit(write_files)

    def wait(self) -> None:
        """Wait until the last checkpoint is written."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def close(self) -> None:
        """Wait until the last checkpoint is written, and end the thread."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
