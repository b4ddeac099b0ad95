"""Makes `datasets.load_dataset("cytoimagenet")` mean this dataset, from the moment `cytoimagenet` is imported.

`datasets` has no plugins, so the function by which it looks a name up is wrapped: `dataset_module_factory`, private,
in the releases named below. Nothing is imported here: if `datasets` is not loaded yet, the wrapping waits until it is.
`uninstall` undoes all of it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "cytoimagenet"
FUNCTION = "dataset_module_factory"
MODULES = ("datasets.load", "datasets.inspect")
"""Where `datasets` keeps the function under that name."""
AT_LEAST, BELOW = (5,), (6,)


def install() -> None:
    """Wrap now if `datasets` is loaded, else as soon as it is. Safe to call twice."""
    if _loaded():
        wrap()
    elif not any(isinstance(finder, _Waiter) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiter())


def uninstall() -> None:
    """Give `datasets` its own function back, and stop waiting for it."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Waiter)]
    for name in MODULES:
        module = sys.modules.get(name)
        wrapped = getattr(getattr(module, FUNCTION, None), "_before_cytoimagenet", None)
        if wrapped is not None:
            setattr(module, FUNCTION, wrapped)


def wrap() -> bool:
    """Wrap the look-up of a loaded `datasets`; say whether that could be done."""
    version = getattr(sys.modules["datasets"], "__version__", "")
    problem = unfit(version)
    if problem:
        warnings.warn(
            f'load_dataset("cytoimagenet") is left to datasets itself: {problem}. '
            "Use cytoimagenet.load_dataset(...) or CytoImageNet, which need no hook.",
            stacklevel=2,
        )
        return False
    for name in MODULES:
        module = sys.modules[name]
        original = getattr(module, FUNCTION)
        if not hasattr(original, "_before_cytoimagenet"):
            setattr(module, FUNCTION, _wrapper(original))
    return True


def unfit(version: str) -> str:
    """Say why a loaded `datasets` of this version can't be hooked; empty if it can."""
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if not AT_LEAST <= numbers < BELOW:
        return f"datasets {version} is not >={AT_LEAST[0]},<{BELOW[0]}"
    absent = [name for name in MODULES if not callable(getattr(sys.modules.get(name), FUNCTION, None))]
    return f"datasets {version} has no {', '.join(f'{name}.{FUNCTION}' for name in absent)}" if absent else ""


def _wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
    from functools import wraps
    from inspect import signature

    takes = signature(original)

    @wraps(original)
    def look_up(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != NAME:
            return original(path, *args, **kwargs)
        from .load import dataset_module

        given = takes.bind(path, *args, **kwargs).arguments
        return dataset_module(**{name: value for name, value in given.items() if name != "path"})

    look_up._before_cytoimagenet = original  # type: ignore[attr-defined]
    return look_up


def _loaded() -> bool:
    return all(name in sys.modules for name in ("datasets", *MODULES))


class _Waiter(importlib.abc.MetaPathFinder):
    """Lets every import pass, and wraps once `datasets` is loaded."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing, but for `datasets` what the other finders find, with a note to come back after its loading."""
        if fullname != "datasets" or self._asking:
            return None
        self._asking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asking = False
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return None
        loader, load = spec.loader, spec.loader.exec_module

        def load_and_wrap(module: ModuleType) -> None:
            del loader.exec_module  # the class's own is there again
            load(module)
            # some other package of that name, say a folder of the user's, is none of our business
            if _loaded():
                sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
                wrap()

        loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec
