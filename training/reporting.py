"""Send the log of a run to Weights & Biases or MLflow, by the callbacks of `transformers`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from transformers import TrainerCallback
from transformers.integrations import MLflowCallback, WandbCallback

from ..builder.errors import UsageError
from .recipes import Settings

_PROJECT = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}
"""Package -> environment variable with the name under which it collects runs."""
_WANDB_NAMES = {"train_loss": "epoch_loss", "train_accuracy": "accuracy"}
"""Our name -> the name that becomes `train/epoch_loss`; `train_loss` would be a single number, the Trainer's mean."""


def check(report_to: str) -> None:
    """Raise UsageError if the package to which a run is to be reported is not installed or can't store runs.

    Examples
    --------
    >>> check("none")
    """
    if report_to == "none":
        return
    if importlib.util.find_spec(report_to) is None:
        raise UsageError(f"report_to={report_to} needs the package {report_to}", next=f"pip install {report_to}")
    if report_to == "mlflow":
        import mlflow

        try:
            mlflow.MlflowClient()  # opens a database or a folder; a server is not asked yet
        except Exception as error:  # MLflow's own error, SQLAlchemy's, or that SQLAlchemy is not installed
            raise UsageError(
                f"MLflow can't store runs: {(str(error).strip().splitlines() or [type(error).__name__])[0]}",
                where=mlflow.get_tracking_uri(),
                next="Set MLFLOW_TRACKING_URI, e.g. to sqlite:///mlflow.db, or install the complete package mlflow",
            ) from error


def callbacks(chosen: Settings) -> list[TrainerCallback]:
    """Return the callback that reports a run: its settings, then its log.

    Runs are collected under `cytoimagenet`, unless `$WANDB_PROJECT` or `$MLFLOW_EXPERIMENT_NAME` has another name. The
    other variables of these packages work as well, e.g. `WANDB_MODE=offline`.
    """
    if chosen.report_to == "none":
        return []
    os.environ.setdefault(_PROJECT[chosen.report_to], "cytoimagenet")
    return [(_Wandb if chosen.report_to == "wandb" else _Mlflow)(chosen)]


def end_failed(callbacks: Iterable[TrainerCallback], error: BaseException) -> None:
    """Mark the reported run as failed, or interrupted; it would else end as finished, or continue with the next one."""
    for callback in callbacks:
        if isinstance(callback, _Mlflow | _Wandb):
            callback.end_failed(error)


def _named(chosen: Settings) -> dict[str, Any]:
    return {f"settings/{name}": value for name, value in asdict(chosen).items()}


def _reported(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a log entry that are reported.

    Left out are the Trainer's summary at the end, whose `train_loss` is the mean over the run, not of an epoch, and
    whose images per second count a batch as one image; and `rate`, which `learning_rate` contains more often.

    Examples
    --------
    >>> _reported({"train_loss": 1.5, "rate": 0.1, "epoch": 1.0}), _reported({"train_loss": 1.7, "train_runtime": 9.1})
    ({'train_loss': 1.5, 'epoch': 1.0}, {})
    """
    return {} if "train_runtime" in logs else {name: value for name, value in logs.items() if name != "rate"}


class _Mlflow(MLflowCallback):
    """Reports to MLflow; the callback of `transformers` reports only the Trainer's arguments as parameters."""

    def __init__(self, chosen: Settings) -> None:
        super().__init__()
        self.chosen = chosen

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Start a run unless the caller of `train` has started one; add the settings."""
        # without the network: the names of 900 classes in its configuration are longer than a parameter may be, and
        # would be printed in a warning
        super().on_train_begin(args, state, control, **more)
        if state.is_world_process_zero:
            self._ml_flow.log_params(_named(self.chosen))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, model: Any = None, **more: Any) -> None:
        """Report numbers."""
        if numbers := _reported(logs):
            super().on_log(args, state, control, numbers, **more)

    def end_failed(self, error: BaseException) -> None:
        """End the run, unless the caller of `train` started it."""
        if self._auto_end_run and self._ml_flow.active_run():
            self._ml_flow.end_run("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


class _Wandb(WandbCallback):
    """Reports to Weights & Biases; the callback of `transformers` reports only the Trainer's arguments as settings."""

    def __init__(self, chosen: Settings) -> None:
        super().__init__()
        self.chosen = chosen
        self.own_run = self._wandb.run is None  # whether we start a run, which then ends with training

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Start a run unless the caller of `train` has started one; add the settings."""
        super().on_train_begin(args, state, control, model, **more)
        if state.is_world_process_zero:
            self._wandb.config.update(_named(self.chosen), allow_val_change=True)

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **more: Any) -> None:
        """Report numbers."""
        if numbers := _reported(logs):
            renamed = {_WANDB_NAMES.get(name, name): value for name, value in numbers.items()}
            super().on_log(args, state, control, model, renamed, **more)

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, processing_class: Any = None, **more: Any
    ) -> None:
        """End the run."""
        super().on_train_end(args, state, control, model, processing_class, **more)
        self._finish(0)

    def end_failed(self, error: BaseException) -> None:
        """End the run, unless the caller of `train` started it."""
        self._finish(1)

    def _finish(self, exit_code: int) -> None:
        if self.own_run and self._wandb.run is not None:
            self._wandb.finish(exit_code)
