"""Training whose numbers are no longer finite: it stops, and is never a finished run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from ..builder.errors import CytoImageNetError
from .recipes import Settings

_WATCHED = {
    "loss": "the loss",
    "grad_norm": "the norm of the gradient",
    "train_loss": "the loss over an epoch",
    "eval_loss": "the loss of the evaluation",
}
"""Name of a logged number -> what it is."""

DEFAULT_CLIP = 1.0  # as in the recipe modern


class DivergedError(CytoImageNetError):
    """A number of the training is infinite or not a number."""


def not_finite(logs: Mapping[str, float]) -> str:
    """Return which of the logged numbers is not finite, with its value; empty if all are.

    Examples
    --------
    >>> not_finite({"loss": math.nan, "epoch": 1.0}), not_finite({"loss": 2.5})
    ('the loss is nan', '')
    """
    for name, words in _WATCHED.items():
        if name in logs and not math.isfinite(logs[name]):
            return f"{words} is {logs[name]}"
    return ""


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether all values of a tensor are finite; reads them."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def diverged(
    reason: str, folder: Path, chosen: Settings, *, step: int, steps: int, rate: float, checkpoint: Path | None
) -> DivergedError:
    """Return the error of a training that has diverged.

    Parameters
    ----------
    reason : str
        From `not_finite`.
    folder : Path
        The run folder.
    chosen : Settings
    step, steps : int
        Number of steps so far, and of the run.
    rate : float
        Learning rate of the latest step.
    checkpoint : Path, optional
        The newest checkpoint, of which all numbers are finite.

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> where = {"step": 40, "steps": 900, "rate": 0.5, "checkpoint": Path("runs/a/checkpoint-30")}
    >>> print(diverged("the loss is nan", Path("runs/a"), settings("paper", learning_rate=0.5), **where))
    Training has diverged at step 40 of 900, with the learning rate 0.5: the loss is nan [runs/a]
    Train into a new folder with a lower rate: --out NEW --set learning_rate=0.05 --set clip=1. The last good checkpoint is runs/a/checkpoint-30; --model runs/a/checkpoint-30 starts from its weights.
    """  # noqa: E501 - a line of output
    clip = "" if chosen.clip else f" --set clip={DEFAULT_CLIP:g}"
    advice = f"Train into a new folder with a lower rate: --out NEW --set learning_rate={chosen.learning_rate / 10:g}"
    good = (
        "There is no good checkpoint."
        if checkpoint is None
        else f"The last good checkpoint is {checkpoint}; --model {checkpoint} starts from its weights."
    )
    return DivergedError(
        f"Training has diverged at step {step:,} of {steps:,}, with the learning rate {rate:.4g}: {reason}",
        where=folder,
        next=f"{advice}{clip}. {good}",
    )
