"""What is seen of a training while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ..builder import console
from ..builder.progress import progress
from . import run_folder as run


class Reporter(TrainerCallback):
    """Shows how training goes: a bar, a line and a row of `history.csv` an epoch, TensorBoard events.

    Parameters
    ----------
    folder : Path
    images : int
        That all epochs will have seen.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self.folder, self.images = folder, images
        self.seen = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the bar and the events file."""
        if not state.is_world_process_zero:
            return
        from torch.utils.tensorboard import SummaryWriter

        self.events = SummaryWriter(str(self.folder / "tensorboard"), purge_step=state.global_step or None)
        self.showing = progress("train", self.images)
        self.bar = self.showing.__enter__()
        self.per_step = self.images // max(state.max_steps, 1)
        self.bar.advance(self.per_step * state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Move the bar."""
        if state.is_world_process_zero:
            self.bar.advance(self.per_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Pass numbers on to TensorBoard."""
        if state.is_world_process_zero and hasattr(self, "events"):
            for name, value in (logs or {}).items():
                if isinstance(value, (int, float)):
                    self.events.add_scalar(name, value, state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the table of epochs."""
        if not state.is_world_process_zero:
            return
        table = run.history(state.log_history)
        run.write_table(self.folder / run.HISTORY, table)
        if len(table) and table.iloc[-1]["step"] == state.global_step:
            console.err.print(_line(table.iloc[-1].to_dict(), round(state.num_train_epochs)))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Close both."""
        if state.is_world_process_zero:
            self.showing.__exit__(None, None, None)
            self.events.close()


def _line(row: dict[Any, Any], epochs: int) -> str:
    said = (
        f"epoch {int(row['epoch'])}/{epochs}: train loss {row['train_loss']:.3f}, accuracy {row['train_accuracy']:.1%}"
    )
    if row["validation_accuracy"] == row["validation_accuracy"]:
        said += f"; validation loss {row['validation_loss']:.3f}, accuracy {row['validation_accuracy']:.1%}"
        said += f", top 7 {row['validation_top7']:.1%}"
    return said
