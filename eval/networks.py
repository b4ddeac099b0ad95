"""Score a network: compute its features for the samples of a task, then score these."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from ..builder.errors import UsageError
from .features import backbones
from .features.backbones import Backbone
from .features.extract import Key, extract
from .features.image_samples import ImageSamples
from .features.table import Features
from .score_features import score_features
from .sets.samples import Samples

if TYPE_CHECKING:
    from .own_images import OwnImages
    from .protocols.settings import EvaluationSettings
    from .results.score import Result
    from .tasks.record import Task

NETWORK_SETTINGS = ("input_size", "weights", "images", "engine", "full_scale", "constant_channels")
"""The settings of features that are stored with each score."""


def features_of(
    task: Task,
    samples: Samples,
    networks: Sequence[Backbone],
    *,
    size: int | Literal["native"] | None = None,
    **options: Any,
) -> dict[Key, Features]:
    """Return the features of the samples of a task.

    Parameters
    ----------
    task, samples, networks
    size : int or "native", optional
        Side in pixels to which images are resized; by default `task.input_size`.
    **options
        Others of `features.extract.extract`.
    """
    side = task.input_size if size is None else None if size == "native" else size
    if side is None and isinstance(samples, ImageSamples):
        samples = replace(samples, shape=samples.first_shape)
    return extract(samples, networks, size=side, **options)


def settings_of(features: Features) -> dict[str, Any]:
    """Return the settings of features that are stored with each score."""
    return {name: features.settings[name] for name in NETWORK_SETTINGS if name in features.settings}


def score_network(
    task: Task,
    samples: str | PathLike[str] | Samples | None,
    network: Any,
    settings: EvaluationSettings,
    *,
    own: OwnImages | None = None,
    model: str | None = None,
    preprocess: str = "concat-norm",
    size: int | Literal["native"] | None = None,
    cache: str | PathLike[str] | None = None,
    engine: str = "auto",
    workers: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Score one network on a task; the parameters are those of `evaluate.evaluate`."""
    settings = task.resolve(settings, task.network_standardisation)
    if not isinstance(samples, Samples):
        if samples is None:
            raise UsageError(
                f"A network needs the images of {task.name}", next="Name their folder: evaluate(task, network, folder)"
            )
        samples = task.read(samples, settings)
    if isinstance(network, str | PathLike):
        network = backbones.load(str(network))
    elif not isinstance(network, Backbone):
        network = backbones.backbone(network, model or "network")
    with tempfile.TemporaryDirectory(prefix="cytoimagenet-features-") as temporary:
        (features,) = features_of(
            task,
            samples,
            [network],
            size=size,
            methods=[preprocess],
            cache=cache or temporary,
            engine=engine,
            workers=workers,
        ).values()
        if own and features.refused:
            usable = own.usable(features)
            samples, rejected = usable.samples, usable.table.rejected
            warnings.warn(f"{len(rejected):,} of {usable.table.offered:,} samples can't be used", stacklevel=3)
        return score_features(
            task,
            features.to_table(),
            samples,
            settings,
            model=model or network.name,
            preprocess=preprocess,
            about={**settings_of(features), **(about or {})},
        )
