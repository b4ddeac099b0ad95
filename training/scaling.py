"""Rules that fit the learning rate to the images per step, and the moving average to the length of the run."""

from __future__ import annotations

import math

from .recipes import Settings

RATE_IMAGES = 64  # images per step for which the learning rates of the recipes are given; preprint, 3.1
_FACTORS = {"none": lambda ratio: 1.0, "sqrt": math.sqrt, "linear": float}


def scaled_rate(chosen: Settings, images_per_step: int) -> float:
    """Return the learning rate for a number of images per step of all processes together.

    `sqrt` multiplies the learning rate by the square root of images per step / 64. With Adam this keeps the noise of
    training the same when the batch grows (Malladi et al. 2022, On the SDEs and scaling rules for adaptive gradient
    algorithms). `linear` multiplies it by the ratio itself, the rule for SGD (Goyal et al. 2017).

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> scaled_rate(settings("modern"), 64), scaled_rate(settings("modern"), 256), scaled_rate(settings("paper"), 256)
    (0.002, 0.004, 0.001)
    """
    return chosen.learning_rate * _FACTORS[chosen.scale_rate](images_per_step / RATE_IMAGES)


def average_decay(chosen: Settings, steps: int) -> float:
    """Return the decay of the moving average for a run of a number of steps; 0 for no averaging.

    An average with the decay d covers about the last 1 / (1 - d) steps. With `average_share` these are at most that
    share of the run, as in pycls and torchvision, which keep the share constant when batch size or length change.
    Google's code trains EfficientNet with 0.9999 over 218,949 steps of 2,048 images: a share of 0.046.

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> average_decay(settings("modern"), 75_000), average_decay(settings("modern"), 500)
    (0.9998666666666667, 0.98)
    """
    if not chosen.average or not chosen.average_share:
        return chosen.average
    return min(chosen.average, 1 - 1 / max(1.0, chosen.average_share * steps))


def describe(chosen: Settings, *, images_per_step: int, world: int, steps: int) -> str:
    """Return what the rules give, for the log of a run.

    Examples
    --------
    >>> from cytoimagenet.training.recipes import settings
    >>> print(describe(settings("modern", batch_size=128), images_per_step=256, world=2, steps=5000))
    256 images per step: batch_size 128 x 2 processes. Learning rate 0.004: 0.002 x sqrt(256 / 64), Malladi et al. 2022.
    Averaged weights: decay 0.998, the last 500 of 5,000 steps.
    """
    factors = [f"batch_size {chosen.batch_size}"]
    factors += [f"{world} processes"] if world > 1 else []
    factors += [f"accumulation {chosen.accumulation}"] if chosen.accumulation > 1 else []
    lines = [f"{images_per_step} images per step: {' x '.join(factors)}. Learning rate"]
    rate = scaled_rate(chosen, images_per_step)
    ratio = f"{images_per_step} / {RATE_IMAGES}"
    lines[0] += {
        "none": f" {rate:.4g}.",
        "sqrt": f" {rate:.4g}: {chosen.learning_rate:.4g} x sqrt({ratio}), Malladi et al. 2022.",
        "linear": f" {rate:.4g}: {chosen.learning_rate:.4g} x {ratio}, Goyal et al. 2017.",
    }[chosen.scale_rate]
    decay = average_decay(chosen, steps)
    if decay:
        span = min(steps, round(1 / (1 - decay)))
        lines.append(f"Averaged weights: decay {decay:.6g}, the last {span:,} of {steps:,} steps.")
    return "\n".join(lines)
