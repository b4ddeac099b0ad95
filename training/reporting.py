"""Send the log of a run to Weights & Biases or MLflow, by the callbacks of `transformers`."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import asdict
from typing import Any

from transformers import TrainerCallback

from ..builder.errors import UsageError
from .recipes import Settings

_PROJECT = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}
"""Package -> environment variable with the name under which it collects runs."""


def check_installed(report_to: str) -> None:
    """Raise UsageError if the package to which a run is to be reported is not installed.

    Examples
    --------
    >>> check_installed("none")
    """
    if report_to != "none" and importlib.util.find_spec(report_to) is None:
        raise UsageError(f"report_to={report_to} needs the package {report_to}", next=f"pip install {report_to}")


def callbacks(chosen: Settings) -> list[TrainerCallback]:
    """Return the callback that reports our settings, for a run that is reported.

    Runs are collected under `cytoimagenet`, unless `$WANDB_PROJECT` or `$MLFLOW_EXPERIMENT_NAME` has another name. The
    other variables of these packages work as well, e.g. `WANDB_MODE=offline`.
    """
    if chosen.report_to == "none":
        return []
    os.environ.setdefault(_PROJECT[chosen.report_to], "cytoimagenet")
    return [_SettingsReport(chosen)]


class _SettingsReport(TrainerCallback):
    """Reports the settings of a run; the callback of `transformers` reports only the Trainer's arguments."""

    def __init__(self, chosen: Settings) -> None:
        self.chosen = chosen
        self.own_wandb_run = False  # whether the Trainer's callback will start a run, which then ends with training
        if chosen.report_to == "wandb":
            import wandb

            self.own_wandb_run = wandb.run is None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add the settings to the run that the Trainer's own callback has started before."""
        if not state.is_world_process_zero:
            return
        named = {f"settings/{name}": value for name, value in asdict(self.chosen).items()}
        if self.chosen.report_to == "wandb":
            import wandb

            wandb.config.update(named, allow_val_change=True)
        else:
            import mlflow

            mlflow.log_params(named)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the run of Weights & Biases, unless the caller of `train` started it. MLflow's callback ends its own."""
        if self.own_wandb_run and state.is_world_process_zero:
            import wandb

            wandb.finish()
