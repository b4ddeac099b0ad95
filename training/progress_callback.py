"""Shows the progress of training while it runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..builder import console
from ..builder.progress import progress
from . import run_folder


class ProgressCallback(TrainerCallback):
    """Shows a progress bar; per epoch prints a line and writes `history.csv`; writes TensorBoard events.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : int
        Number of images of all epochs and processes together.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder, self.images = folder, images

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the progress bar and the TensorBoard events."""
        if not state.is_world_process_zero:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=state.global_step or None)
        self.progress = progress("train", self.images)
        self.bar = self.progress.__enter__()
        self.images_per_step = self.images // max(state.max_steps, 1)
        self.bar.advance(self.images_per_step * state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the progress bar."""
        if state.is_world_process_zero:
            self.bar.advance(self.images_per_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write logged numbers to TensorBoard."""
        if state.is_world_process_zero and hasattr(self, "events"):
            for name, value in (logs or {}).items():
                if isinstance(value, (int, float)):
                    self.events.add_scalar(name, value, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the table of epochs; print the epoch that was just completed."""
        if not state.is_world_process_zero:
            return
        table = run_folder.history(state.log_history)
        run_folder.write_table(self.folder / run_folder.HISTORY, table)
        if len(table) and table.iloc[-1]["step"] == state.global_step:
            console.err.print(_epoch_line(table.iloc[-1].to_dict(), round(state.num_train_epochs)))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the progress bar and the TensorBoard events."""
        if state.is_world_process_zero:
            self.progress.__exit__(None, None, None)
            self.events.close()


def _epoch_line(row: dict[Any, Any], epochs: int) -> str:
    line = (
        f"epoch {int(row['epoch'])}/{epochs}: train loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.1%}"
    )
    if not math.isnan(row["validation_accuracy"]):
        line += f"; validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
        if not math.isnan(row["validation_top7"]):
            line += f", top 7 {row['validation_top7']:.1%}"
    return line
