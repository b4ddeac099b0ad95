"""Shows the progress of training while it runs."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..builder import console
from ..builder.progress import progress
from . import run_folder
from .pace import duration

SECONDS_BETWEEN_LINES = 60  # at least, in the log file of a run without a terminal


class ProgressCallback(TrainerCallback):
    """Shows a progress bar; per epoch prints a line and writes `history.csv`; writes TensorBoard events.

    Prints the expected time when it is first known. Without a terminal there is no bar: then a line is printed now and
    then.

    Parameters
    ----------
    folder : Path
        The run folder.
    images : int
        Number of images of all epochs and processes together.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, folder: Path, images: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.images, self.clock = folder, images, clock
        self.speed = ""  # of the latest steps, in words
        self.waiting = ""
        self._line_at: float | None = None  # time of the latest line about steps
        self._close: Callable[[], object] = lambda: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the progress bar and the TensorBoard events."""
        if not state.is_world_process_zero:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=state.global_step or None)
        shown = progress("train", self.images)
        self.bar = shown.__enter__()
        self._close = lambda: shown.__exit__(None, None, None)
        self.images_per_step = self.images // max(state.max_steps, 1)
        self.bar.skip(self.images_per_step * state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the progress bar."""
        if state.is_world_process_zero:
            self.bar.advance(self.images_per_step, remark=self.waiting)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write logged numbers to TensorBoard; print the expected time."""
        if not state.is_world_process_zero or not hasattr(self, "events"):
            return
        numbers = logs or {}
        for name, value in numbers.items():
            if isinstance(value, (int, float)):
                self.events.add_scalar(name, value, state.global_step)
        if "images_per_second" in numbers:
            self._show_speed(numbers, state)

    def _show_speed(self, numbers: dict[str, Any], state: Any) -> None:
        rate = numbers["images_per_second"]
        self.waiting = f"{numbers['waiting_share']:.0%} of the time waiting for images"
        self.speed = f"{rate:,.0f} images/s, {self.waiting}"
        left = (state.max_steps - state.global_step) * self.images_per_step / max(rate, 1e-9)
        now = self.clock()
        if self._line_at is None:
            console.err.print(f"Expected time: {duration(left)}, without evaluations ({self.speed}).", markup=False)
        elif not sys.stderr.isatty() and now - self._line_at >= SECONDS_BETWEEN_LINES:
            console.err.print(
                f"step {state.global_step:,}/{state.max_steps:,}: loss {numbers['loss']:.3f}; {self.speed}; "
                f"{duration(left)} left",
                markup=False,
            )
        else:
            return
        self._line_at = now

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the table of epochs; print the epoch that was just completed."""
        if not state.is_world_process_zero:
            return
        table = run_folder.history(state.log_history)
        run_folder.write_table(self.folder / run_folder.HISTORY, table)
        if len(table) and table.iloc[-1]["step"] == state.global_step:
            line = _epoch_line(table.iloc[-1].to_dict(), round(state.num_train_epochs))
            console.err.print(f"{line}; {self.speed}" if self.speed else line, markup=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close the progress bar and the TensorBoard events."""
        self.close()

    def close(self) -> None:
        """Close the progress bar and the TensorBoard events, also after an error."""
        if hasattr(self, "events"):
            self._close()
            self._close = lambda: None
            self.events.close()


def _epoch_line(row: dict[Any, Any], epochs: int) -> str:
    line = (
        f"epoch {int(row['epoch'])}/{epochs}: train loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.1%}"
    )
    if not math.isnan(row["validation_accuracy"]):
        line += f"; validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
        if row["validation_accuracy_any_label"] > row["validation_accuracy"]:
            line += f" (any of its labels {row['validation_accuracy_any_label']:.1%})"
        if not math.isnan(row["validation_top7"]):
            line += f", top 7 {row['validation_top7']:.1%}"
    return line
