"""What the value of a setting may be: its type and its range."""

from __future__ import annotations

import difflib
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from ..builder.errors import UsageError

_MINIMUM: dict[str, float] = {"size": 8, "epochs": 1, "batch_size": 1, "accumulation": 1, "evaluate_every": 1}
_MAXIMUM: dict[str, float] = {"size": 4096, "batch_size": 2**16, "accumulation": 2**16, "seed": 2**32 - 1}
_MAXIMUM_NUMBER = 10**9  # of the other settings
_MAXIMUM_FLOAT = 10**300
_MUST_BE_BELOW_ONE = (
    "warmup",
    "label_smoothing",
    "average",
    "average_share",
    "distill",
    "dropout",
    "drop_connect",
    "norm_momentum",
    "crop",
)


def checked(name: str, value: Any, settings: Mapping[str, Any]) -> Any:
    """Return the value of a setting, converted to its type.

    Parameters
    ----------
    name : str
    value : object
        As the command line, a YAML file or Python gives it.
    settings : mapping
        Name of each setting -> its type.

    Raises
    ------
    UsageError
        If there is no such setting, or the value has the wrong type or is out of range.

    Examples
    --------
    >>> checked("learning_rate", "1e-3", {"learning_rate": float})
    0.001
    """
    if name not in settings:
        similar = ", ".join(difflib.get_close_matches(name.replace("-", "_"), settings, n=2))
        raise UsageError(
            f"No setting {name!r}", next=f"Did you mean {similar}?" if similar else f"There are: {', '.join(settings)}"
        )
    kind = settings[name]
    if isinstance(value, str) and float in _alternatives(kind):  # YAML reads 1e-3 as text
        try:
            value = float(value)
        except ValueError:
            pass
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in _alternatives(kind):
        value = float(value) if abs(value) < _MAXIMUM_FLOAT else math.inf
    if not _fits(value, kind):
        # a list may contain itself, or a billion entries by reference: it is not shown whole
        raise UsageError(f"{name} can't be {reprlib.repr(value)}", next=f"It must be {_describe(kind)}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        minimum, maximum = _MINIMUM.get(name, 0), _MAXIMUM.get(name, _MAXIMUM_NUMBER)
        if not (minimum <= value <= maximum) or (name in _MUST_BE_BELOW_ONE and value >= 1):
            bound = " and below 1" if name in _MUST_BE_BELOW_ONE else f" and at most {maximum:,}"
            raise UsageError(f"{name} can't be {reprlib.repr(value)}", next=f"It must be at least {minimum}{bound}")
    return value


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    for part in _alternatives(kind):
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
    texts: list[str] = []
    for part in _alternatives(kind):
        if typing.get_origin(part) is Literal:
            texts += [repr(choice) for choice in typing.get_args(part)]
        elif typing.get_origin(part) is tuple:
            texts.append("a list of texts")
        else:
            texts.append(
                {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(part, "null")
            )
    return " or ".join(texts)
