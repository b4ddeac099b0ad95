"""How to train: every setting with its reason, and three sets of them.

A recipe is a name for values of `Settings`. A YAML file and the command line change single values; a name that is no
setting is an error, so that a slip of the keyboard does not train the wrong thing for a week.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from ..builder.errors import UsageError
from ..builder.storage import read_bytes


@dataclass(frozen=True)
class Settings:
    """What a training run depends on, beside the dataset."""

    recipe: str = "paper"  # the name the values below started from
    model: str = "efficientnet-b0"  # preprint, 3.1; or imagenet, or a folder or Hub name of a classifier
    pretrained: bool = True  # start a named model from its weights; efficientnet-b0 has none and starts random
    size: int = 224  # side of the input in pixels; preprint, 3.1
    epochs: int = 24  # preprint, 3.1
    batch_size: int = 64  # images a step and process; preprint, 3.1
    accumulation: int = 1  # steps whose gradients are added up before the weights move
    seed: int = 0  # of weights, order and augmentation

    learning_rate: float = 1e-3  # preprint, 3.1
    schedule: Literal["constant", "cosine"] = "constant"  # preprint, 3.1
    warmup: float = 0.0  # share of all steps over which the rate rises from 0
    weight_decay: float = 0.0  # 0 is Adam, above it AdamW; never on biases and BatchNorm
    epsilon: float = 1e-7  # Keras' Adam; torch's default is 1e-8
    clip: float = 0.0  # largest norm of the gradient; 0 for no limit
    label_smoothing: float = 0.0  # weak labels are often wrong; 0.1 keeps the network from believing them wholly
    mixup: float = 0.0  # alpha of the Beta distribution; 0 for none
    cutmix: float = 0.0  # the same for CutMix; with both, a coin decides for each batch
    average: float = 0.0  # decay of the moving average of the weights that is evaluated and kept; 0 for none
    dropout: float = 0.2  # before the head; EfficientNet-B0's own
    norm_momentum: float = 0.01  # weight of a batch in BatchNorm's statistics, Keras'; a short run needs faster ones
    head_scale: float = 1.0  # of the head's first weights; Keras' are large where classes are few
    residual_scale: float = 1.0  # of what efficientnet-b0's blocks add at first; 0 halved the steps in one trial
    drop_connect: float = 0.2  # of the last residual branch, growing with depth; EfficientNet-B0's own

    rotation: float = 360.0  # degrees; cells have no up; preprint, 3.1
    flips: bool = False  # nor a left
    zoom: float = 0.0  # magnifications between 1 / (1 + zoom) and 1 + zoom
    contrast: float = 0.0  # gamma between 1 / (1 + contrast) and 1 + contrast: exposure differs between plates

    balance: Literal["none", "sampling", "loss"] = "none"  # even out the classes by drawing, or by weighing the loss
    category: str | None = None  # train on the classes of one category
    labels: str | tuple[str, ...] | None = None  # ... on these classes; toy20 and toy50 are the authors' subsets
    source: str | None = None  # ... on the images of one database

    loader: Literal["auto", "stream", "map", "cache"] = "auto"  # map on a local disk, else stream
    cache_dir: str | None = None  # where the decoded cache lies; else the user's cache folder
    workers: int | None = None  # threads that decode; by default 2
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # bf16 where a GPU has it; slower than fp32 on CPUs
    channels_last: bool = True  # 1.4 times as fast on CPUs, and what tensor cores like
    compile: Literal["none", "inductor", "eager"] = "none"  # inductor takes minutes to start: for long runs on GPUs
    evaluate_every: int = 1  # epochs between two passes over the validation images
    save_every: int = 0  # steps between two checkpoints within an epoch; 0 saves after epochs only


RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup": 0.05,
        "weight_decay": 0.05,
        "epsilon": 1e-8,
        "clip": 1.0,  # bf16 and a high rate: one odd batch must not throw the weights far
        "label_smoothing": 0.1,
        "mixup": 0.2,
        "average": 0.999,
        "flips": True,
        "zoom": 0.25,
        "contrast": 0.3,
        "compile": "none",
    },
    "quick": {
        "size": 64,
        "epochs": 10,
        "batch_size": 32,  # more steps out of few images
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "warmup": 0.1,
        "weight_decay": 0.02,
        "epsilon": 1e-8,
        "clip": 1.0,
        "label_smoothing": 0.1,
        "norm_momentum": 0.1,
        "head_scale": 0.1,
        "residual_scale": 0.0,
        "drop_connect": 0.0,  # a short run can't afford to drop what it learns
        "flips": True,
        "zoom": 0.1,
        "contrast": 0.2,
        "precision": "fp32",
    },
}
"""What each recipe sets apart from the defaults, which are the preprint's."""

_KINDS = typing.get_type_hints(Settings)
_LEAST: dict[str, float] = {"size": 8, "epochs": 1, "batch_size": 1, "accumulation": 1, "evaluate_every": 1}
_BELOW_ONE = ("warmup", "label_smoothing", "average", "dropout", "drop_connect", "norm_momentum")


def settings(recipe: str | PathLike[str] = "quick", **changes: Any) -> Settings:
    """Make settings from a recipe and changes to it.

    Parameters
    ----------
    recipe : str or path
        `paper`, `modern` or `quick`, or a YAML file that names one of them under `recipe` and changes it.
    **changes
        Fields of `Settings`.

    Raises
    ------
    UsageError
        If the recipe or a setting is not known, or a value is of another type or out of its range.

    Examples
    --------
    >>> settings("paper", epochs=3).learning_rate
    0.001
    """
    values: dict[str, Any] = {}
    name = str(recipe)
    if name.endswith((".yaml", ".yml")):
        values = read_yaml(name)
        name = str(values.pop("recipe", "paper"))
    if name not in RECIPES:
        raise UsageError(f"No recipe {name!r}", next=f"There are {', '.join(RECIPES)}, or give a .yaml file")
    return Settings(
        **{key: _checked(key, value) for key, value in {"recipe": name, **RECIPES[name], **values, **changes}.items()}
    )


def read_yaml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read settings from a YAML file: a mapping of names to values.

    Raises
    ------
    UsageError
        If it is not one.
    """
    import yaml

    try:
        values = yaml.safe_load(read_bytes(path))
    except FileNotFoundError as error:
        raise UsageError("There is no such file of settings", where=path) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"Not YAML: {error}", where=path) from error
    if not isinstance(values, Mapping):
        raise UsageError("A file of settings holds lines `name: value`", where=path)
    return {str(key): value for key, value in values.items()}


def to_yaml(chosen: Settings) -> str:
    """Write settings as YAML, every one of them, in the order of `Settings`."""
    import yaml

    plain = {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(chosen).items()
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def parse(assignments: list[str]) -> dict[str, Any]:
    """Read `name=value` pairs of the command line; values are written as in YAML.

    Raises
    ------
    UsageError
        If one is no pair, or its name is no setting.
    """
    import yaml

    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is not of the form name=value", next="For example: --set learning_rate=0.002")
        try:
            changes[name.strip()] = _checked(name.strip(), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise UsageError(f"Not a value: {value!r}", where=name) from error
    return changes


def _checked(name: str, value: Any) -> Any:
    """Return the value in the type of its setting, or refuse it."""
    if name not in _KINDS:
        near = _near(name)
        raise UsageError(
            f"No setting {name!r}", next=f"Did you mean {near}?" if near else f"There are: {', '.join(_KINDS)}"
        )
    kind = _KINDS[name]
    if isinstance(value, str) and float in _parts(kind):  # YAML reads 1e-3 as text
        try:
            value = float(value)
        except ValueError:
            pass
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in _parts(kind):
        value = float(value)
    if not _fits(value, kind):
        raise UsageError(f"{name} can't be {value!r}", next=f"It is {_describe(kind)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "seed":
        least = _LEAST.get(name, 0)
        if not (least <= value < float("inf")) or (name in _BELOW_ONE and value >= 1):
            bound = " and below 1" if name in _BELOW_ONE else ""
            raise UsageError(f"{name} can't be {value!r}", next=f"It is at least {least}{bound}")
    return value


def _parts(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    for part in _parts(kind):
        if typing.get_origin(part) is Literal:
            if value in typing.get_args(part):
                return True
        elif typing.get_origin(part) is tuple:
            if isinstance(value, tuple) and all(isinstance(item, str) for item in value):
                return True
        elif type(value) is part:
            return True
    return False


def _describe(kind: Any) -> str:
    said = []
    for part in _parts(kind):
        if typing.get_origin(part) is Literal:
            said += [repr(choice) for choice in typing.get_args(part)]
        elif typing.get_origin(part) is tuple:
            said.append("a list of texts")
        else:
            said.append(
                {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(part, "null")
            )
    return " or ".join(said)


def _near(name: str) -> str:
    import difflib

    return ", ".join(difflib.get_close_matches(name.replace("-", "_"), _KINDS, n=2))
