"""Decides when a run logs, evaluates and saves."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback


class EpochSchedule(TrainerCallback):
    """Decides when to log, evaluate and save; sets the epoch of the batches.

    Parameters
    ----------
    trainer : EpochTrainer
        The trainer that adds this callback.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch of the batches."""
        # `state.epoch` is steps / steps per epoch; at an epoch boundary rounding must not give the epoch before
        self.trainer.train_dataset.set_epoch(state.global_step // self.trainer.steps_per_epoch)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Update the averaged weights; save within an epoch if the settings ask for it."""
        trainer = self.trainer
        if state.global_step == trainer.resumed_at + 1:  # the first step also measures and compiles kernels
            trainer.begin_to_measure()
        if trainer.average is not None:
            trainer.average.update()
        every = trainer.settings.save_every
        # the last step of an epoch is saved in on_epoch_end, after the evaluation: a resumed run needs its result
        control.should_save = (
            bool(every) and state.global_step % every == 0 and state.global_step % trainer.steps_per_epoch != 0
        )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Log the counts of the epoch; evaluate if it is time to, and save."""
        trainer = self.trainer
        trainer.log({**trainer.counts.metrics(), "rate": trainer._get_learning_rate()})
        trainer.counts.reset()
        epoch = round(state.epoch)
        last = state.global_step >= state.max_steps
        control.should_evaluate = trainer.eval_dataset is not None and (
            last or epoch % trainer.settings.evaluate_every == 0
        )
        control.should_save = True
