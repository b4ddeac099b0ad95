"""The settings of a training run, and four recipes: named sets of settings.

A YAML file or the command line changes single settings of a recipe. An unknown name is an error, so a typing mistake
can't start a long training with the wrong settings.
"""

from __future__ import annotations

import dataclasses
import reprlib
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from ..builder.errors import CytoImageNetError, UsageError
from ..builder.storage import read_bytes
from .setting_values import checked


@dataclass(frozen=True)
class Settings:
    """The settings of a training run. With the dataset they determine its weights."""

    recipe: str = "paper"  # recipe from which the values below started
    model: str = "efficientnet-b0"  # preprint, 3.1; or imagenet, or the folder or Hub name of an image classifier
    pretrained: bool = True  # start from the weights of `model`; efficientnet-b0 has none and starts at random
    size: int = 224  # side of the input in pixels; preprint, 3.1
    epochs: int = 24  # passes over the training images; preprint, 3.1
    batch_size: int = 64  # images per step and process; preprint, 3.1
    accumulation: int = 1  # batches whose gradients are averaged for one update of the weights
    seed: int = 0  # random seed of weights, image order and augmentation

    learning_rate: float = 1e-3  # preprint, 3.1
    scale_rate: Literal["none", "sqrt", "linear"] = "none"  # multiply the rate by (a root of) images per step / 64
    schedule: Literal["constant", "cosine"] = "constant"  # learning rate after the warm-up; preprint, 3.1
    warmup: float = 0.0  # share of all steps over which the learning rate rises from 0
    weight_decay: float = 0.0  # 0 gives Adam, more gives AdamW; never applied to biases and BatchNorm
    epsilon: float = 1e-7  # Adam's epsilon, here that of Keras; torch's default is 1e-8
    clip: float = 0.0  # largest norm of the gradient; 0 for no limit
    label_smoothing: float = 0.0  # share of each label spread over all classes: weak labels are often wrong
    mixup: float = 0.0  # parameter alpha of mixup's Beta distribution; 0 for no mixup
    cutmix: float = 0.0  # the same for CutMix; if both are above 0, each batch uses one of them at random
    average: float = 0.0  # decay per step of the averaged weights, which are evaluated and saved; 0 for no averaging
    average_share: float = 0.0  # largest share of the run that the average covers: lowers `average`; 0 for no limit
    distill: float = 0.0  # share of each label replaced by the answer of the averaged weights (mean teacher)
    dropout: float = 0.2  # probability of dropout before the head; EfficientNet-B0's own
    norm_momentum: float = 0.01  # weight of a new batch in BatchNorm's statistics, as in Keras; short runs need more
    head_scale: float = 1.0  # factor of the head's random weights; below 1 where few classes make them large
    residual_scale: float = 1.0  # factor of efficientnet-b0's residual branches at the start; 0 starts as identity
    drop_connect: float = 0.2  # probability of dropping the last residual branch, growing with depth; B0's own

    rotation: float = 360.0  # largest random rotation in degrees: cells have no up or down; preprint, 3.1
    flips: bool = False  # mirror half of the images: cells have no left or right either
    zoom: float = 0.0  # random magnification between 1 / (1 + zoom) and 1 + zoom
    crop: float = 0.0  # largest share of the area that a random crop leaves out: a cell is known by its parts
    contrast: float = 0.0  # random gamma between 1 / (1 + contrast) and 1 + contrast: plates differ in exposure
    blur: float = 0.0  # largest standard deviation of a random blur, in pixels: microscopes differ in focus
    noise: float = 0.0  # largest standard deviation of random noise, of 1 for white: cameras differ

    balance: Literal["none", "sampling", "loss"] = "none"  # even out the classes by sampling, or in the loss
    category: str | None = None  # train only on the classes of this category
    labels: str | tuple[str, ...] | None = None  # train only on these classes; toy20, toy50: the authors' two subsets
    database: str | None = None  # train only on images of this database (publisher)
    quality: Literal["all", "clean"] = "all"  # clean: without the images that `cytoimagenet audit` flagged

    loader: Literal["auto", "stream", "map", "cache"] = "auto"  # auto: map for a folder on a local disk, else stream
    cache_dir: str | None = None  # folder of the decoded cache; by default the user's cache folder
    cache_bytes: int = 0  # of a URL: bytes of local copies of what was read, in `cache_dir`; 0 keeps none
    workers: int | None = None  # threads, or above 4 processes, that decode; by default two less than the cores
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on GPUs that have it; on CPUs bf16 is slower
    channels_last: bool = True  # memory layout of the images: 1.4 times as fast on CPUs, and suits tensor cores
    compile: Literal["auto", "none", "inductor", "reduce-overhead", "eager"] = "auto"  # auto: on a GPU where it pays
    deterministic: bool = False  # use only GPU kernels that give the same bits in every run; slower. CPUs always do so
    keep: Literal["last", "best"] = "last"  # weights of the run: of the last epoch, or of the best validation accuracy
    patience: int = 0  # stop after this number of evaluations without a better validation accuracy; 0 never stops early
    report_to: Literal["none", "wandb", "mlflow"] = "none"  # also send the log to Weights & Biases or MLflow
    evaluate_every: int = 1  # epochs between two evaluations on the validation images
    save_every: int = 0  # steps between two checkpoints within an epoch; 0 saves after epochs only


FORMER_NAMES = {"source": "database"}
"""Former name of a setting -> its name. `source` means one of the 40 sources everywhere else."""

RECIPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "modern": {
        "learning_rate": 2e-3,
        "scale_rate": "sqrt",  # Malladi et al. 2022: the rule for Adam; see training/scaling.py
        "schedule": "cosine",
        "warmup": 0.05,
        "weight_decay": 0.05,
        "epsilon": 1e-8,
        "clip": 1.0,  # with bf16 and a high learning rate one unusual batch must not move the weights far
        "label_smoothing": 0.1,
        "mixup": 0.2,
        "average": 0.9999,  # of EfficientNet, for long runs
        "average_share": 0.1,  # pycls, torchvision: the average covers a constant share of a run
        "flips": True,
        "zoom": 0.25,
        "contrast": 0.3,
    },
    "quick": {
        "size": 64,
        "epochs": 10,
        "batch_size": 32,  # more steps per epoch, since the demo has few images
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
        "drop_connect": 0.0,  # regularisation slows a short run down
        "flips": True,
        "zoom": 0.1,
        "contrast": 0.2,
        "precision": "fp32",
    },
}
RECIPES["adapt"] = RECIPES["modern"] | {
    "model": "imagenet",  # EfficientNet-Lite0, from the extra [imagenet]
    "learning_rate": 5e-4,  # 0.001 at 256 images per step: a quarter of modern's, since the weights are good already
    "norm_momentum": 0.1,  # the statistics of photographs must be replaced within a short run
}
"""Name of a recipe -> the settings that differ from the defaults. The defaults are those of the preprint."""

_TYPES = typing.get_type_hints(Settings)


def settings(recipe: str | PathLike[str] = "quick", **changes: Any) -> Settings:
    """Return the settings of a recipe with changes.

    Parameters
    ----------
    recipe : str or path
        `adapt`, `paper`, `modern` or `quick`, or a YAML file that names one of them under `recipe` and changes
        settings.
    **changes
        Fields of `Settings`. The former name `source` of `database` gives a DeprecationWarning.

    Raises
    ------
    UsageError
        If the recipe or a setting is unknown, or a value has the wrong type or is out of range.

    Examples
    --------
    >>> settings("paper", epochs=3).learning_rate
    0.001
    """
    values: dict[str, Any] = {}
    name = str(recipe)
    if name.endswith((".yaml", ".yml")):
        values = renamed(read_yaml(name))
        name = str(values.pop("recipe", "paper"))
    if name not in RECIPES:
        raise UsageError(f"No recipe {name!r}", next=f"There are {', '.join(RECIPES)}, or give a .yaml file")
    merged = {"recipe": name, **RECIPES[name], **values, **current_names(changes)}
    chosen = Settings(**{key: checked(key, value, _TYPES) for key, value in merged.items()})
    if chosen.distill and not chosen.average:
        raise UsageError("distill needs averaged weights", next="Set average too, for example average=0.999")
    return chosen


def current_names(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Rename settings given by a former name, with a DeprecationWarning at the caller's caller.

    Raises
    ------
    UsageError
        If a setting is given by both names.
    """
    current = renamed(changes)
    for former in changes.keys() & FORMER_NAMES.keys():
        warnings.warn(f"`{former}` is now called `{FORMER_NAMES[former]}`", DeprecationWarning, stacklevel=3)
    return current


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings by their present names; files of older runs and old commands use former names.

    Raises
    ------
    UsageError
        If a setting is given by both names.
    """
    for former, name in FORMER_NAMES.items():
        if former in values and name in values:
            raise UsageError(f"{former!r} is the former name of {name!r}: give one of them", next=f"Use {name}")
    return {FORMER_NAMES.get(key, key): value for key, value in values.items()}


def read_yaml(path: str | PathLike[str]) -> dict[str, Any]:
    """Read a YAML file of settings, a mapping of names to values.

    Raises
    ------
    UsageError
        If there is no such file or it is not a mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(read_bytes(path))
    except FileNotFoundError as error:
        raise UsageError("There is no such settings file", where=path) from error
    except (OSError, CytoImageNetError):
        raise
    except Exception as error:  # dates, tags and depths that it can't represent make the library raise other errors
        raise UsageError(f"Not YAML: {type(error).__name__}: {error}", where=path) from error
    if not isinstance(values, Mapping):
        raise UsageError("A settings file must contain lines `name: value`", where=path)
    return {str(key): value for key, value in values.items()}


def to_yaml(chosen: Settings) -> str:
    """Return all settings as YAML, in the order of the fields of `Settings`."""
    import yaml

    plain = {
        key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(chosen).items()
    }
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Parse the `name=value` pairs of the command line; values are written as in YAML.

    Raises
    ------
    UsageError
        If a text is not such a pair, or its name is not a setting.

    Examples
    --------
    >>> parse_assignments(["learning_rate=1e-4", "labels=[actin, golgi]"])
    {'learning_rate': 0.0001, 'labels': ('actin', 'golgi')}
    """
    import yaml

    changes: dict[str, Any] = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(
                f"--set {text!r} is not of the form name=value", next="For example: --set learning_rate=0.002"
            )
        name = name.strip()
        try:
            parsed = yaml.safe_load(value)
        except Exception as error:
            raise UsageError(f"{reprlib.repr(value)} is not a value in YAML", where=f"--set {name}") from error
        changes[name] = checked(FORMER_NAMES.get(name, name), parsed, _TYPES)
    return changes
